# SPDX-License-Identifier: MIT
"""What observing costs, measured at each session's start: recording, probes, and one hit of each.

A second's worth of short rounds of getppid, in turn without recording, with it, and with probes
too, so that drift falls on all alike. What a hit costs is the kernel's own account of the time
inside the probe's programs, in rounds of their own, because accounting costs time as well.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from memsc.probes.counters import PROBE as COUNTERS
from memsc.probes.declaration import find
from memsc.runtime.errors import MemscError
from memsc.runtime.files import WORK
from memsc.runtime.launch import Launch
from memsc.runtime.starting import Target
from memsc.tracer.format import Added, AddedByProbes, Hit, Perturbation
from memsc.tracer.session.observe.probe_set import Probing

PAIRS = 8
_T = 2.365  # Student's t of 95 % for eight pairs
_CALLS, _SLOW_CALLS = 4_000, 200
_RING = 1 << 14

Hold = Callable[..., Target]


class Calibration:
    """Measures for one session.

    Args:
        hold: starts a program on hold, as `memsc.runtime.starting.Target`.
        probing: the session's probes, loaded.
        scratch: folder for the rounds' files.
        ns_per_cycle: of the clock's fit.
    """

    def __init__(self, hold: Hold, probing: Probing, scratch: Path, ns_per_cycle: float) -> None:
        self._hold = hold
        self._probing = probing
        self._scratch = scratch
        self._ns = ns_per_cycle

    def attempt(self, arms: Sequence[Launch]) -> Perturbation:
        """As `measure`; where it fails the session goes on, and says why nothing is known."""
        try:
            return self.measure(arms)
        except MemscError as error:
            self._probing.notes.append(f"not calibrated: {error}")
            return Perturbation(reason=error.why)

    def measure(self, arms: Sequence[Launch]) -> Perturbation:
        """All of it, for the arm that observing disturbs most: the fastest that is forwarded.

        Returns:
            What could not be measured is None, with its reason.
        """
        start = time.monotonic()
        launch = min(arms, key=lambda arm: _SPEED.get(arm.arm, len(_SPEED)))
        plain: list[float] = []
        recorded: list[float] = []
        probed: list[float] = []
        steady = self._probing.of_round(check=False)
        half = PAIRS // 2 if steady else 0
        # Half of the rounds with probes come before the others and half after: attaching and
        # detaching takes a tenth of a second.
        probed += [self._round(launch, True, steady) for _ in range(half)]
        self._probing.switch(steady, on=False)
        sides = [(False, plain), (True, recorded)]
        for pair in range(PAIRS):
            for recording, into in sides if pair % 2 == 0 else reversed(sides):
                into.append(self._round(launch, recording, ()))
        self._probing.switch(steady, on=True)
        probed += [self._round(launch, True, steady) for _ in range(half)]
        hits = self._hits(arms)
        by_probes = AddedByProbes(*difference(recorded, probed), names=steady) if steady else None
        return Perturbation(
            arm=launch.arm,
            calls=_calls(launch),
            pairs=PAIRS,
            seconds=time.monotonic() - start,
            recording=Added(*difference(plain, recorded)),
            probes=by_probes,
            probes_reason=UNSET if steady else "no probe is attached",
            hits=hits,
        )

    def _hits(self, arms: Sequence[Launch]) -> dict[str, Hit]:
        """What one hit of each usable probe costs."""
        every = self._probing.of_round(check=True)
        if not every:
            return {}
        disturbing = [name for name in every if find(name).disturbs]
        sample = arms[0]
        with self._probing.accounting() as costs:
            # Sleeping and waking brings what the steady ones look at, a plain call the others.
            for transport in ("ipi", "memsc") if sample.service_cpus else ("direct",):
                self._round(replace(sample, transport=transport, service="inline"), True, every)
            if disturbing:
                self._round(replace(sample, transport="direct"), False, every)
            self._probing.switch(disturbing, on=False)
            found = costs()
        hits = {name: _hit(name, *found.get(name, (0, 0))) for name in every}
        for name in [name for name in hits if find(name).calibrated]:
            # Its trap costs more than its program: the domain `agreement` has it from outside.
            why = "its first events, of known calls, tell"
            hits[name] = Hit(hits[name].hits, reason=why)
        if COUNTERS.name in hits:
            # It has no program: the kernel counts, most of it when it switches threads.
            why = "it has no program; what it adds to a call is above"
            hits[COUNTERS.name] = Hit(0, reason=why)
        return hits

    def _round(self, launch: Launch, recording: bool, probes: Sequence[str]) -> float:
        """One round; the median time of a call in nanoseconds."""
        file = self._scratch / "calibration"
        steered = replace(
            launch,
            recording=recording,
            directory=None,
            ring_records=_RING,
            keep=False,
            probe_every=self._probing.every(probes),
        )
        command = (str(WORK), "sync", str(_calls(launch)), str(file))
        target = self._hold(steered, command, layered=False)
        try:
            self._probing.begin(probes, target.pid)
            target.go()
            status = target.process.wait()
        except BaseException:
            target.end()
            raise
        finally:
            self._probing.end(probes)
        self._probing.discard(probes)
        if status:
            why = f"its workload ended with status {status}"
            raise MemscError("calibrating", why, "see its message, or use --no-calibrate")
        cycles = np.fromfile(file, np.int64)
        file.unlink()
        return _median(cycles) * self._ns


_SPEED = {"memsc": 0, "memsc-scanner": 1, "direct": 2, "ipi": 3}


def _calls(launch: Launch) -> int:
    return _SLOW_CALLS if launch.transport == "ipi" else _CALLS


def _median(cycles: NDArray[np.int64]) -> float:
    """Of a coarse counter, resolved between its ticks, by Parzen's mid-distribution."""
    values, counts = np.unique(cycles, return_counts=True)
    return float(np.interp(len(cycles) / 2, np.cumsum(counts) - counts / 2, values))


def difference(off: Sequence[float], on: Sequence[float]) -> tuple[float, float, float, float]:
    """The median call without, and what is added to it, from rounds side by side: as `Added`."""
    added = np.array(on) - np.array(off)
    half = _T * float(added.std(ddof=1)) / len(added) ** 0.5
    mean = float(added.mean())
    return float(np.mean(off)), mean, mean - half, mean + half


def _hit(name: str, ns: int, hits: int) -> Hit:
    declared = find(name).cost_ns
    if not hits:
        why = "the calibration's calls do not reach it"
        return Hit(0, None, declared, why)
    return Hit(hits, ns / hits, declared)
