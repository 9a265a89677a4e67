# SPDX-License-Identifier: MIT
"""The figures of the thesis that memsc rebuilds, to be laid beside ours.

I. Stamatis, Reducing System Call Performance Overhead on Paravirtualized L4Linux, TU Dresden, 2020:
Raspberry Pi 3B (4 × Cortex-A53, 1.2 GHz, 32-bit), means of five runs. Its IPI is our arm ipi, its
Memsc our memsc-scanner; memsc, which executes where it polls, it did not try.
"""

from __future__ import annotations

CALLS = (1, 10, 100, 1_000, 10_000, 100_000)
TOTAL_US = {
    "native": (4, 7, 39, 307, 2_938, 25_618),
    "IPI": (36, 278, 2_701, 26_949, 269_664, 2_705_248),
    "Memsc": (27, 143, 1_205, 11_702, 116_112, 1_163_886),
}
"""Microseconds of so many getppid, one after the other."""

BATCHES = (1, 2, 3, 4, 8, 16, 32, 64)
BATCH_MS = (1164, 1195, 856, 301, 196, 115, 82, 77)
"""Milliseconds of 100 000 getppid under Memsc, posted so many at once."""

PER_S = {"IPI": 37_455, "Memsc": 133_397, "batch-4": 485_253, "batch-64": 2_205_457}
"""Calls per second of two processes; in batches under Memsc."""

DD_MB = (10, 50, 100, 150, 200)
DD_S = {"IPI": (1.43, 7.03, 14.02, 20.87, 27.88), "Memsc": (0.83, 3.98, 7.95, 11.9, 15.81)}
"""Seconds of `dd bs=512`."""

LS_FILES = (100, 5_000, 10_000, 15_000)
LS_S = {"IPI": (0.21, 0.9, 1.77, 2.64), "Memsc": (0.16, 0.64, 1.23, 1.84)}
"""Seconds of `ls -l`."""
