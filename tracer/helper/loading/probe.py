# SPDX-License-Identifier: MIT
"""Probes in the helper: which variant of each hook this machine has, loaded and attached.

Each step tries the variants that are left, in the declaration's order: is its place there, does it
load, does it attach. Nobody asks for a version.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from memsc.probes.declaration import Hook, Probe, Variant
from memsc.runtime.errors import MemscError
from memsc.runtime.files import LAYER, LIBRARY, REINSTALL
from memsc.tracer.helper import wire
from memsc.tracer.helper.kernel import perf, tracefs
from memsc.tracer.helper.loading import usdt
from memsc.tracer.helper.loading.cpu_counters import Readings
from memsc.tracer.helper.loading.programs import Attachment, Loaded, Program

_FUNCTIONS = Path("/proc/kallsyms")


class Places:
    """Where programs can sit on this machine.

    Args:
        tracefs_: where it is mounted.
        user: who asks; static probes are looked for only in libraries that are his or root's.
    """

    def __init__(self, tracefs_: Path, user: int) -> None:
        self._tracefs = tracefs_
        self.user = user
        self._functions: set[str] | None = None
        self._libraries: list[Path] | None = None
        self._sites: dict[str, list[tuple[Path, usdt.Site]]] = {}

    def absence(self, variant: Variant) -> str | None:
        """Why a variant does not work here, or None as far as can be told without attaching it."""
        try:
            reasons = [self._absence(variant, place) for place, _ in variant.points]
        except MemscError as error:
            return f"{error.why}; {error.remedy}"
        except OSError as error:
            return error.strerror or str(error)
        return next((reason for reason in reasons if reason), None)

    def _absence(self, variant: Variant, place: str) -> str | None:
        if variant.way in ("tracepoint", "raw"):
            return tracefs.absence(self._tracefs, place, variant.fields)
        if variant.way == "usdt":
            self.static(place)
        elif variant.way == "sample":
            for descriptor in self.samples(place):
                os.close(descriptor)
        elif place not in self._known_functions():
            return f"this kernel has no function {place}"
        elif variant.way == "kprobe":
            os.close(perf.open_kprobe(place))
        return None

    def _known_functions(self) -> set[str]:
        if self._functions is None:
            lines = _FUNCTIONS.read_text(encoding="utf-8").splitlines()
            self._functions = {line.split()[2] for line in lines if line[17:18] in "tTwW"}
        return self._functions

    def static(self, place: str) -> list[tuple[Path, usdt.Site]]:
        """Places of a static probe `provider:name` in memsc's own libraries.

        Raises:
            MemscError: a library lacks it or may not be trusted.
        """
        if place not in self._sites:
            name = place.partition(":")[2]
            self._sites[place] = [
                (library, site)
                for library in self._trusted()
                for site in usdt.own_sites(library, name)
            ]
        return self._sites[place]

    def _trusted(self) -> list[Path]:
        if self._libraries is not None:
            return self._libraries
        found: list[Path] = []
        for library in (LIBRARY, LAYER):
            try:
                # Kept open: what was looked at is what is attached to, whatever its name says then.
                descriptor = os.open(library, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            owner = os.fstat(descriptor).st_uid
            if owner not in (0, self.user):
                raise MemscError(
                    f"reading {library}", f"it belongs to user {owner}", "reinstall memsc"
                )
            found.append(Path(f"/proc/self/fd/{descriptor}"))
        if not found:
            raise MemscError(f"reading {LIBRARY}", "it has not been built", REINSTALL)
        self._libraries = found
        return found

    def samples(self, place: str) -> list[int]:
        """Perf events, disabled, that sample each CPU: `EVENT:HERTZ`."""
        event, _, hertz = place.partition(":")
        opened: list[int] = []
        try:
            for cpu in perf.online_cpus():
                opened += [perf.open_samples(event, int(hertz), cpu)]
        except OSError as error:
            for descriptor in opened:
                os.close(descriptor)
            raise OSError(error.errno, f"this machine cannot sample by {event}") from error
        return opened

    def attach(self, variant: Variant, place: str, program: Program) -> Attachment:
        """Put a program in its place.

        Raises:
            OSError: the kernel refused.
        """
        if variant.way == "sample":
            return program.attach_events(self.samples(place))
        if variant.way == "usdt":
            sites = self.static(place)
            return program.attach_events(_uprobes(sites))
        if variant.way == "kprobe":
            return program.attach_events([perf.open_kprobe(place)])
        if variant.way == "tracepoint":
            number = tracefs.number_of(self._tracefs, place)
            return program.attach_events([perf.open_tracepoint(number)])
        return program.attach(place.partition(":")[2] if variant.way == "raw" else None)


def _uprobes(sites: Iterable[tuple[Path, usdt.Site]]) -> list[int]:
    opened: list[int] = []
    try:
        for library, site in sites:
            opened += [perf.open_uprobe(library, site.offset, site.semaphore)]
    except OSError:
        for descriptor in opened:
            os.close(descriptor)
        raise
    return opened


class LoadedHook:
    """One hook: the variants that may still serve it, and the one that does.

    Args:
        hook: its declaration.
        places: where programs can sit.
    """

    def __init__(self, hook: Hook, places: Places) -> None:
        self.hook = hook
        self._places = places
        self._reasons: list[str] = []
        self.variants: list[Variant] = []
        for variant in hook.variants:
            reason = places.absence(variant)
            if reason is None:
                self.variants.append(variant)
            else:
                self._reasons.append(reason)
        self._loaded: Loaded | None = None
        self._programs: dict[Variant, list[Program]] = {}
        self._attachments: list[Attachment] = []

    @property
    def reason(self) -> str | None:
        """Why none of its variants works here; None while one does."""
        return None if self.variants else "; ".join(self._reasons)

    @property
    def programs(self) -> list[Program]:
        """The programs of the variant in use."""
        return self._programs.get(self.variants[0], []) if self.variants else []

    def refuse(self, reason: str) -> None:
        """No variant is a choice any more."""
        self.variants = []
        self._reasons.append(reason)

    def load(self, loaded: Loaded) -> None:
        """Have the kernel verify the programs of the first variant that it takes.

        What it refuses is no choice any more; what may be needed instead is loaded when it is.
        """
        self._loaded = loaded
        while self.variants and self.variants[0] not in self._programs:
            variant = self.variants[0]
            try:
                self._programs[variant] = [
                    loaded.program(program, variant.way, place) for place, program in variant.points
                ]
            except OSError as error:
                self._reasons.append(f"the kernel refused {error.filename}: {error.strerror}")
                self.variants.pop(0)

    def attach(self) -> None:
        """Attach the first variant that can be; what the kernel refuses is no choice any more."""
        while self.variants and not self._attachments:
            variant = self.variants[0]
            try:
                for (place, _), program in zip(
                    variant.points, self._programs[variant], strict=True
                ):
                    self._attachments.append(self._places.attach(variant, place, program))
            except OSError as error:
                self.detach()
                self.variants.pop(0)
                place = variant.points[0][0]
                self._reasons.append(f"{place} refused: {error.strerror}")
                if self._loaded is not None:
                    self.load(self._loaded)

    def release(self) -> list[Attachment]:
        """The attachments, to be closed by the caller; it can be attached again."""
        released, self._attachments = self._attachments, []
        return released

    def detach(self) -> None:
        """Detach; can be attached again."""
        for attachment in self.release():
            attachment.close()


class LoadedProbe:
    """One probe's hooks.

    Args:
        probe: its declaration.
        places: where programs can sit.
    """

    def __init__(self, probe: Probe, places: Places) -> None:
        self.probe = probe
        self._user = places.user
        self._readings: Readings | None = None
        self.hooks = [LoadedHook(hook, places) for hook in probe.hooks]

    @property
    def absent(self) -> set[str]:
        """C functions that must not be compiled or are not used."""
        every = frozenset[str]().union(*(one.hook.programs for one in self.hooks))
        used = [v.programs for one in self.hooks for v in one.variants]
        return set(every - frozenset[str]().union(*used))

    def refuse(self, reason: str) -> None:
        """It cannot be had."""
        for one in self.hooks:
            one.refuse(reason)

    def load(self, loaded: Loaded) -> None:
        """Have the kernel verify its programs; what it refuses is absent."""
        self._readings = Readings(self.probe, loaded, self._user)
        for one in self.hooks:
            one.load(loaded)

    def attach(self, cpus: Collection[int] = ()) -> None:
        """Attach what was loaded, unless it is; what the kernel refuses is absent.

        Args:
            cpus: where the counters count that it reads.
        """
        if self._readings is not None:
            self._readings.open(cpus)
        for one in self.hooks:
            one.attach()

    def release(self) -> list[Attachment]:
        """What is attached, to be closed by the caller, who then calls `released`."""
        return [a for one in self.hooks for a in one.release()]

    def released(self) -> None:
        """It is detached, and can be attached again."""
        if self._readings is not None:
            self._readings.close()

    def problem(self) -> tuple[str, str] | None:
        """Reason and remedy, if it cannot be attached."""
        lacking = [one for one in self.hooks if one.reason is not None]
        fatal = [one for one in lacking if one.hook.required]
        if not fatal and len(lacking) < len(self.hooks):
            return None
        first = (fatal or lacking)[0]
        return str(first.reason), first.hook.remedy

    def state(self) -> wire.Message:
        """What `memsc.tracer.session.observe.probe_client.Loaded` says of it, but for the name."""
        problem = self.problem()
        # A kind that several hooks make is absent only where none of them is left.
        made = {kind for one in self.hooks if one.reason is None for kind in one.hook.kinds}
        absent = {
            kind: one.reason
            for one in self.hooks
            if one.reason is not None
            for kind in one.hook.kinds
            if kind not in made
        }
        return {
            "usable": problem is None,
            "reason": problem and problem[0],
            "remedy": problem and problem[1],
            "absent": absent,
            "uncounted": dict(self._readings.reasons) if self._readings else {},
            "ways": sorted({one.variants[0].way for one in self.hooks if one.variants}),
        }

    def cost(self) -> tuple[int, int]:
        """Nanoseconds and hits of all its programs, as far as the kernel took account."""
        costs = [program.cost() for one in self.hooks for program in one.programs]
        return sum(ns for ns, _ in costs), sum(hits for _, hits in costs)

    def misses(self) -> int | None:
        """Hits the kernel skipped, of all its programs; None if it does not say of each."""
        counts = [program.misses() for one in self.hooks for program in one.programs]
        known = [count for count in counts if count is not None]
        return sum(known) if len(known) == len(counts) else None


def detach(probes: Sequence[LoadedProbe]) -> None:
    """Detach probes; they can be attached again."""
    attachments = [a for probe in probes for a in probe.release()]
    # Each close waits for the kernel's grace period; together they wait for one.
    with ThreadPoolExecutor(max(len(attachments), 1)) as pool:
        list(pool.map(Attachment.close, attachments))
    for probe in probes:
        probe.released()
