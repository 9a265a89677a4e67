# SPDX-License-Identifier: MIT
"""Counters of CPUs that a probe's programs read: opened and put into its map while it is attached.

Privileged side; standard library only.
"""

from __future__ import annotations

import os
from collections.abc import Collection

from memsc.probes.declaration import Probe
from memsc.tracer.helper.kernel import bpf
from memsc.tracer.helper.kernel.perf_counters import counts_cpu, open_on
from memsc.tracer.helper.loading.programs import Loaded


class Readings:
    """The counters of one probe; nothing for a probe that reads none.

    Args:
        probe: its declaration.
        loaded: its programs and maps.
        user: who asks; of others' doings on a CPU he is told what perf would tell him.

    Attributes:
        reasons: counters that cannot be read, and why; known once they were opened.
    """

    def __init__(self, probe: Probe, loaded: Loaded, user: int) -> None:
        self._table = f"{probe.name}_array"
        self._counters = probe.readings
        self._loaded = loaded
        self._hardware = counts_cpu(user)
        self._opened: dict[int, int] = {}  # by key
        self.reasons: dict[str, str] = {}

    def open(self, cpus: Collection[int]) -> None:
        """Count on these CPUs from now on, where nothing is counted yet."""
        if self._opened or not self._counters:
            return
        for cpu in cpus:
            found, reasons = open_on(cpu, self._counters, hardware=self._hardware)
            self.reasons |= reasons
            for place, counter in enumerate(self._counters):
                if counter.name in found:
                    key = cpu * len(self._counters) + place
                    self._opened[key] = found[counter.name]
        for key, descriptor in self._opened.items():
            self._loaded.put(self._table, key, descriptor)

    def close(self) -> None:
        """Count no longer; can be opened again."""
        while self._opened:
            key, descriptor = self._opened.popitem()
            bpf.forget(self._loaded.descriptor(self._table), key)
            os.close(descriptor)
