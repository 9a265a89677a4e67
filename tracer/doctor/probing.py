# SPDX-License-Identifier: MIT
"""Whether probes can be had here: BPF, headers, BCC, and each tracepoint."""

from __future__ import annotations

import errno
import mmap
import os
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from memsc.probes import declaration
from memsc.runtime.errors import MemscError
from memsc.tracer.doctor import hook_trials
from memsc.tracer.doctor.feature import Feature, attempt
from memsc.tracer.helper.kernel import bpf, tracefs
from memsc.tracer.helper.loading import headers
from memsc.tracer.session.observe.channel import PYTHON, Channel

_AT_ONCE = 8  # tracepoints are tried


def begin() -> Future[list[Feature]]:
    """Try them from now on, in a thread: the helper loads every probe, which takes longest.

    None waits for its end but who asks for what it found: an interrupted command must end.

    Returns:
        What will be found, in the order in which a user wants to read it.
    """
    found = Future[list[Feature]]()

    def try_them() -> None:
        try:
            found.set_result(list(_probes()))
        except BaseException as error:
            found.set_exception(error)

    threading.Thread(target=try_them, daemon=True).start()
    return found


def _probes() -> Iterator[Feature]:
    yield attempt("BPF", _ring, "use a kernel with CONFIG_BPF_SYSCALL, 5.8 or newer, on the host")
    yield attempt("tracefs", _tracefs, "mount -t tracefs tracefs /sys/kernel/tracing")
    found: list[headers.Headers] = []
    yield attempt("kernel headers", lambda: _headers(found), headers.INSTALL)
    if not found:
        yield Feature("BCC", "unknown", "needs kernel headers to tell", "see kernel headers")
        return
    refused: list[Feature] = []
    yield attempt("BCC", lambda: _bcc(refused), "apt install python3-bpfcc")
    yield from refused


def _ring() -> str:
    os.close(bpf.make_ring_buffer())
    os.close(bpf.load_program(bpf.RAW_TRACEPOINT))
    return "programs and ring buffers work"


def _tracefs() -> str:
    mounts = (
        Path("/proc/self/mounts").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    )
    if any(line.split()[2] == "tracefs" for line in mounts):
        return "mounted"
    # Mounting it takes a mount namespace, which a thread has for itself and this process keeps.
    failed: list[BaseException] = []
    thread = threading.Thread(target=_mounted, args=(failed,))
    thread.start()
    thread.join()
    if failed:
        raise OSError(errno.EPERM, "it is not mounted and cannot be")
    return "not mounted; memsc mounts it for itself"


def _mounted(failed: list[BaseException]) -> None:
    try:
        tracefs.mount()
    except (OSError, MemscError) as error:
        failed.append(error)


def _headers(found: list[headers.Headers]) -> str:
    found.append(headers.find_headers())
    where = found[0].folder or f"/lib/modules/{found[0].release}/build"
    return found[0].warning or f"{where}"


def _bcc(refused: list[Feature]) -> str:
    """As a session does: it is the helper that compiles, with the system's Python and its BCC.

    Args:
        refused: gets a feature for each probe that cannot be loaded here.
    """
    find = "import importlib.util as u, sys; sys.exit(u.find_spec('bcc') is None)"
    with subprocess.Popen([PYTHON, "-I", "-c", find]) as finder:
        channel = Channel() if os.geteuid() == 0 else None
    try:
        if finder.returncode:
            raise OSError(errno.ENOENT, f"{PYTHON} has none (a venv's or PyPI's is not used)")
        if channel is None:
            raise OSError(errno.EPERM, "BCC insists on root")
        names = declaration.names()
        sizes = dict.fromkeys(names, mmap.PAGESIZE)
        reply, descriptors = channel.ask("load", probes=list(names), ring_bytes=sizes, trying=True)
        for descriptor in descriptors:
            os.close(descriptor)
    finally:
        if channel is not None:
            channel.close()
    for name, state in reply["probes"].items():
        if not state["usable"]:
            feature = Feature(f"probe {name}", "missing", state["reason"], state["remedy"])
            refused.append(feature)
    return f"compiles; {len(names) - len(refused)} of {len(names)} probes load"


def tracepoints() -> Iterator[Feature]:
    """Each tracepoint that a probe sits at, by name."""
    wanted: dict[str, declaration.Hook] = {}
    for name in (*declaration.names(), "tracking"):
        for hook in declaration.find(name).hooks:
            if hook.variants[0].way in ("tracepoint", "raw"):
                wanted.setdefault(hook.place, hook)

    def tried(hook: declaration.Hook) -> Feature:
        return attempt(hook.place, lambda: hook_trials.attach(hook), hook.remedy)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        yield from pool.map(tried, (wanted[place] for place in sorted(wanted)))
