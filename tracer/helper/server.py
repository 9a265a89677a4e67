# SPDX-License-Identifier: MIT
"""The privileged helper: compiles and attaches probes for one session, and reads no event.

Runs as root. Imports the standard library, BCC and small parts of memsc only, and believes nothing
it is told. When its socket closes it ends, and the kernel detaches everything. Start it with
`memsc.tracer.session.observe.probe_client.Helper`.
"""

from __future__ import annotations

import mmap
import os
import re
import signal
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from memsc.probes.declaration import Probe, find, loadable
from memsc.runtime import own_name
from memsc.runtime.errors import MemscError, hidden, shortage
from memsc.tracer.helper import capabilities, wire
from memsc.tracer.helper.isolation.isolate import recover
from memsc.tracer.helper.isolation.requests import Isolating
from memsc.tracer.helper.kernel import bpf, tasks, tracefs
from memsc.tracer.helper.loading import walk
from memsc.tracer.helper.loading.headers import find_headers, load_archive
from memsc.tracer.helper.loading.probe import LoadedProbe, Places, detach
from memsc.tracer.helper.loading.programs import Loaded
from memsc.tracer.helper.loading.together import Together
from memsc.tracer.helper.perf_requests import Observing, kernel_stacks

MAX_RING_BYTES = 1 << 30

_REPORT = "report this as a fault of memsc"


def possible_cpus() -> int:
    """One more than the highest CPU the kernel may ever have.

    Raises:
        OSError: the kernel does not tell.
    """
    text = Path("/sys/devices/system/cpu/possible").read_text(encoding="utf-8")
    return max(int(number) for number in re.findall(r"\d+", text)) + 1


def default_ring_bytes(probe: Probe) -> int:
    """The declared size, or less on a machine where that were more than 1/32 of its memory."""
    share = os.sysconf("SC_PHYS_PAGES") * mmap.PAGESIZE // 32
    return min(probe.ring_bytes, 1 << (share.bit_length() - 1))


def _try_bpf() -> None:
    try:
        os.close(bpf.make_ring_buffer())
    except OSError as error:
        why = f"the kernel refuses BPF: {error.strerror}"
        remedy = "use a kernel with CONFIG_BPF_SYSCALL, 5.8 or newer"
        if lack := capabilities.shortfall():
            why, remedy = f"the kernel refuses BPF: {lack}", capabilities.AS_THE_MACHINES_ROOT
        raise MemscError("attaching probes", why, remedy) from error


class Server:
    """Serves one session.

    Args:
        connection: the session's socket.
        user: who asks; 0 may track everything, another user only his own processes.
        asker: his session's process.
        isolation: answers what concerns the isolation of CPUs.
    """

    def __init__(
        self, connection: socket.socket, user: int, asker: int, isolation: Isolating
    ) -> None:
        self._connection = connection
        self._user = user
        self._asker = asker
        self._account: int | None = None
        self._maps: Loaded | None = None
        self._loaded: dict[str, LoadedProbe] = {}
        self._tracking: LoadedProbe | None = None
        self._watched: set[int] = set()
        self._cpus = 0  # that there may be; known once something is loaded
        self._observing = Observing(user)
        self._operations: dict[str, wire.Operation] = {
            "load": self._load,
            "attach": self._attach,
            "detach": self._detach,
            "track": self._track,
            "cpus": self._watch,
            "misses": self._misses,
            "costs": self._costs,
            "sweep": self._sweep,
            **isolation.operations,
            **self._observing.operations,
        }

    def run(self) -> int:
        """Answer until the session goes; returns the exit status."""
        wire.send(self._connection, {"ok": True, "pid": os.getpid(), "user": self._user})
        while True:
            try:
                received = wire.receive(self._connection)
            except ValueError as error:
                wire.send(self._connection, wire.failure(wire.refusal(str(error))))
                continue
            if received is None:
                return 0
            request, descriptors = received
            for descriptor in descriptors:
                os.close(descriptor)
            if request.get("op") == "quit":
                return 0
            reply, descriptors = self._answer(request)
            number = request.get("number")
            reply["number"] = number if type(number) is int else None
            wire.send(self._connection, reply, descriptors)
            self._observing.sent()

    def _answer(self, request: wire.Message) -> tuple[wire.Message, list[int]]:
        operation = self._operations.get(str(request.get("op")))
        try:
            if operation is None:
                raise wire.refusal(f"there is no operation {request.get('op')!r}")
            reply, descriptors = operation(request)
        except MemscError as error:
            return wire.failure(error), []
        except OSError as error:
            why, remedy = hidden(error) or (str(error), shortage(str(error)) or _REPORT)
            return wire.failure(MemscError("asking the helper", why, remedy)), []
        return {"ok": True, **reply}, descriptors

    def _chosen(self, request: wire.Message, known: tuple[str, ...]) -> list[str]:
        value = request.get("probes")
        if not isinstance(value, list):
            raise wire.refusal("a list of probes is needed")
        chosen = cast("list[object]", value)
        names_ = [name for name in chosen if isinstance(name, str) and name in known]
        if len(names_) != len(chosen) or len(set(names_)) != len(names_):
            raise MemscError(
                "choosing probes", f"not all of {chosen} are there", f"choose of {', '.join(known)}"
            )
        return names_

    def _pages(self, request: wire.Message, probes: list[Probe]) -> dict[str, int]:
        value = request.get("ring_bytes", {})
        if not isinstance(value, dict):
            raise wire.refusal("ring sizes by probe are needed")
        given = cast("dict[str, object]", value)
        sizes: dict[str, int] = {}
        for probe in probes:
            size = given.get(probe.name, default_ring_bytes(probe))
            (size,) = wire.integers([size], mmap.PAGESIZE, MAX_RING_BYTES)
            if size & (size - 1):
                raise MemscError(
                    "sizing a ring buffer", f"{size} is no power of two", "choose one that is"
                )
            sizes[probe.name] = size // mmap.PAGESIZE
        return sizes

    def _load(self, request: wire.Message) -> tuple[wire.Message, list[int]]:
        if self._maps is not None:
            raise wire.refusal("probes are loaded once per helper")
        if tasks.id_space():
            raise MemscError(
                "attaching probes",
                "this is a container: the kernel's process ids are others than those seen here",
                "run memsc outside of it, or with the host's process ids (--pid=host)",
            )
        _try_bpf()
        mounted = tracefs.mount()
        places = Places(mounted, self._user)
        self._cpus = possible_cpus()
        candidates = {
            name: LoadedProbe(find(name), places)
            for name in ("tracking", *self._chosen(request, loadable()))
        }
        tracking = candidates.pop("tracking")
        problem = tracking.problem()
        if problem:
            raise MemscError("attaching probes", *problem)
        usable = {name: one for name, one in candidates.items() if one.problem() is None}
        pages = self._pages(request, [one.probe for one in usable.values()])
        headers = find_headers()
        definitions, unwalked = walk.definitions(self._user)
        shows_kernel = kernel_stacks(self._user)
        together = Together(
            tracking,
            headers,
            mounted,
            cpus=self._cpus,
            kernel_stacks=shows_kernel,
            walk=definitions,
        )
        maps = together.load(usable, pages, trying=bool(request.get("trying")))
        problem = tracking.problem()
        if problem:
            raise MemscError("attaching probes", *problem)
        self._maps, self._tracking = maps, tracking
        self._loaded = {name: one for name, one in usable.items() if one.problem() is None}
        tables = ["recording", "tracking_losses"]
        for name in self._loaded:
            tables += [f"{name}_events", f"{name}_losses", *find(name).tables]
        walks = any(find(name).walks for name in self._loaded)
        tables += walk.TABLES if walks else ()
        reply = {
            "probes": {name: one.state() for name, one in candidates.items()},
            "tables": tables,
            "ring_bytes": {name: pages[name] * mmap.PAGESIZE for name in self._loaded},
            "walk_ring_bytes": walk.RING_BYTES if walks else 0,
            "unwalked": unwalked if walks else None,
            "cpus": self._cpus,
            "headers": headers.release,
            "warning": headers.warning,
        }
        return reply, [maps.descriptor(table) for table in tables]

    def _attach(self, request: wire.Message) -> tuple[wire.Message, list[int]]:
        chosen = self._chosen(request, tuple(self._loaded))
        if self._tracking is None:
            raise wire.refusal("load comes before attach")
        self._tracking.attach()
        problem = self._tracking.problem()
        if problem:
            raise MemscError("attaching probes", *problem)
        states: dict[str, Any] = {}
        for name in chosen:
            one = self._loaded[name]
            one.attach(self._watched)
            if one.problem():
                detach([one])
            states[name] = one.state()
        return {"probes": states}, []

    def _detach(self, request: wire.Message) -> tuple[wire.Message, list[int]]:
        detach([self._loaded[name] for name in self._chosen(request, tuple(self._loaded))])
        return {}, []

    def close(self) -> None:
        """Detach all at once; the kernel, left to it, would do so one by one."""
        tracking = [self._tracking] if self._tracking is not None else []
        detach([*self._loaded.values(), *tracking])

    def _track(self, request: wire.Message) -> tuple[wire.Message, list[int]]:
        (pid,) = wire.integers([request.get("pid")], 2, 1 << 22)
        if self._maps is None or self._tracking is None:
            raise wire.refusal("load comes before track")
        # Before the threads are listed, so that one born meanwhile is either inherited or listed.
        self._tracking.attach()
        gone = MemscError("tracking a process", f"there is no process {pid}", "check its number")
        try:
            descriptor = os.pidfd_open(pid)
        except OSError as error:
            raise gone from error
        tracked: set[int] = set()
        try:
            tasks.require_own(pid, self._user, "tracking a process")
            while new := tasks.threads_of(pid) - tracked:
                for tid in new:
                    self._maps.put("tracked", tid, -1)
                tracked |= new
            for tid in tracked - tasks.threads_of(pid):
                self._maps.remove("tracked", tid)
            # Its number may have passed to another user's process since it was looked at.
            signal.pidfd_send_signal(descriptor, 0)
        except OSError as error:
            for tid in tracked:
                self._maps.remove("tracked", tid)
            raise gone from error
        finally:
            os.close(descriptor)
        return {"threads": len(tracked)}, []

    def _watch(self, request: wire.Message) -> tuple[wire.Message, list[int]]:
        if self._maps is None:
            raise wire.refusal("load comes before cpus")
        cpus = set(wire.integers(request.get("cpus"), 0, self._cpus - 1))
        for cpu in self._watched ^ cpus:
            self._maps.put("watched", cpu, int(cpu in cpus))
        self._watched = cpus
        # It may have started before its session left the application's CPUs.
        with suppress(OSError):
            os.sched_setaffinity(0, os.sched_getaffinity(self._asker))
        return {}, []

    def _misses(self, request: wire.Message) -> tuple[wire.Message, list[int]]:
        del request
        return {"misses": {name: one.misses() for name, one in self._loaded.items()}}, []

    def _costs(self, request: wire.Message) -> tuple[wire.Message, list[int]]:
        if bool(request.get("account")) and self._account is None:
            self._account = bpf.account_programs()
        found = {name: one.cost() for name, one in self._loaded.items()}
        if not request.get("account") and self._account is not None:
            os.close(self._account)
            self._account = None
        return {"costs": found}, []

    def _sweep(self, request: wire.Message) -> tuple[wire.Message, list[int]]:
        del request
        return {"removed": tracefs.sweep()}, []


def _leave(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


def serve(user: int, asker: int) -> int:
    """Serve the session on standard input; returns the exit status.

    Args:
        user: who made the socket, as the kernel says.
        asker: the process that made it.
    """
    # Ctrl-C in the user's terminal is for the session, which decides when to detach.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGQUIT, signal.SIG_IGN)
    os.umask(0o022)
    own_name.take(own_name.HELPER)
    load_archive()  # a module, which only the powerful load
    capabilities.drop()
    recover()
    with socket.socket(fileno=os.dup(0)) as connection:
        isolation = Isolating(user, asker)
        # A machine that goes down asks first.
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _leave)
        server = Server(connection, user, asker, isolation)
        try:
            return server.run()
        except OSError:
            # The session is gone; so is the reason to be here.
            return 0
        finally:
            for number in (signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            isolation.release()
            server.close()
