# SPDX-License-Identifier: MIT
"""Opens the counters of one thread, or of all that it starts too; says why one is not to be had.

Standard library only: the helper opens them, the session reads them.
"""

from __future__ import annotations

import errno
import os
import re
import struct
from pathlib import Path

from memsc.probes.counters import COUNTERS, REFERENCE, Counter
from memsc.tracer import perf
from memsc.tracer.perf import Flag

EVERYWHERE = -1
"""Instead of a CPU."""

# What reading a descriptor gives: the value, the time it was enabled, and the time it counted
# (PERF_FORMAT_TOTAL_TIME_ENABLED, _RUNNING).
_READ_FORMAT = 1 | 2
READING = struct.Struct("<3Q")
# PERF_SAMPLE_TID and _READ. No sample is taken, but with this wish the kernel does not spare itself
# the switching of inherited events between two threads that have the same, by swapping them: after
# that even the sums of a CPU are wrong. Kernels before 6.12 know no such wish and refuse it.
_APART = 2 | 16

_DEVICES = Path("/sys/bus/event_source/devices")
_PMUS = ("cpu", "cpu_core", "armv8_pmuv3*")


def open_counters(
    tid: int, cpu: int, *, inherit: bool, kernel: bool, on_exec: bool
) -> tuple[dict[str, int], dict[str, str]]:
    """Open every counter there is of a thread.

    Args:
        tid: the thread; 0 is the caller.
        cpu: counted is what it does there; or `EVERYWHERE`.
        inherit: and what all do there that it starts from now on, and they start.
        kernel: hardware counts the time in the kernel, too.
        on_exec: counting begins when the thread executes a program; without, when it is enabled.

    Returns:
        Descriptors by name, and reasons by name of those that are not to be had.

    Raises:
        OSError: not even the first of them: EINVAL if this kernel can inherit no event of a CPU.
    """
    flags = Flag.DISABLED
    flags |= Flag.ENABLE_ON_EXEC if on_exec else Flag(0)
    flags |= Flag.INHERIT if inherit else Flag(0)
    found: dict[str, int] = {}
    reasons: dict[str, str] = {}
    try:
        for counter in COUNTERS:
            hardware = counter.device in ("hardware", "cache")
            only = Flag.EXCLUDE_HV | (Flag(0) if kernel else Flag.EXCLUDE_KERNEL)
            try:
                kind, config = _numbers(counter)
                found[counter.name] = perf.open_event(
                    kind,
                    config,
                    pid=tid,
                    cpu=cpu,
                    flags=flags | (only if hardware else Flag(0)),
                    sample_type=_APART if inherit and cpu != EVERYWHERE else 0,
                    read_format=_READ_FORMAT,
                    group=found.get(counter.group or "", -1),
                )
            except OSError as error:
                if counter.name == REFERENCE:
                    raise
                reasons[counter.name] = reason(counter, error)
    except OSError:
        for descriptor in found.values():
            os.close(descriptor)
        raise
    return found, reasons


def _numbers(counter: Counter) -> tuple[int, int]:
    if counter.device == "software":
        return perf.SOFTWARE, counter.config
    if counter.device == "hardware":
        return perf.HARDWARE, counter.config
    if counter.device == "cache":
        return perf.HARDWARE_CACHE, counter.config
    file = _DEVICES / "msr" / "events" / counter.name
    try:
        (config,) = re.findall(r"^event=(0x[0-9a-f]+)\s*$", file.read_text())
        return perf.kind_of("msr"), int(config, 16)
    except (OSError, ValueError) as error:
        raise OSError(errno.ENODEV, "no such register") from error


def reason(counter: Counter, error: OSError) -> str:
    """Why the kernel refused a counter, in words; the errno's meaning depends on what there is."""
    if counter.device == "msr":
        return f"the kernel shows no register {counter.name} (perf device msr)"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "this user may not count it (sysctl kernel.perf_event_paranoid)"
    absent = error.errno in (errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP, errno.EINVAL)
    if counter.device in ("hardware", "cache") and absent:
        if _pmu():
            return "this processor's PMU does not count it"
        return f"no PMU: {'the hypervisor shows' if _virtual() else 'this machine has'} none"
    return f"the kernel says: {os.strerror(error.errno or 0)}"


def _pmu() -> bool:
    return any(any(_DEVICES.glob(pattern)) for pattern in _PMUS)


def _virtual() -> bool:
    try:
        return " hypervisor" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


def counts_kernel(user: int) -> bool:
    """Whether a user may count what the processor does in the kernel: as perf lets him."""
    if user == 0:
        return True
    try:
        return int(Path("/proc/sys/kernel/perf_event_paranoid").read_text()) <= 1
    except (OSError, ValueError):
        return False
