# SPDX-License-Identifier: MIT
"""Opens the counters of a thread, of all that it starts too, or of a CPU; says why one is lacking.

Standard library only: the helper opens them; the session or a BPF program reads them.
"""

from __future__ import annotations

import errno
import os
import re
import struct
from collections.abc import Collection, Sequence
from pathlib import Path

from memsc.probes.countable import COUNTERS, REFERENCE, Counter, Device
from memsc.tracer.helper.kernel import perf
from memsc.tracer.helper.kernel.perf import Flag

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

_OF_CPU: tuple[Device, ...] = ("hardware", "cache")
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
        Descriptors by name, and reasons by name of those that are not there.

    Raises:
        OSError: not even the first of them: EINVAL if this kernel can inherit no event of a CPU.
    """
    flags = Flag.DISABLED
    flags |= Flag.ENABLE_ON_EXEC if on_exec else Flag(0)
    flags |= Flag.INHERIT if inherit else Flag(0)
    only = Flag.EXCLUDE_HV | (Flag(0) if kernel else Flag.EXCLUDE_KERNEL)
    apart = _APART if inherit and cpu != EVERYWHERE else 0
    return _open(COUNTERS, flags, only, pid=tid, cpu=cpu, sample_type=apart)


def open_on(
    cpu: int, counters: Sequence[Counter], *, hardware: bool
) -> tuple[dict[str, int], dict[str, str]]:
    """Open counters of a CPU, whatever runs there; they count from now on.

    Args:
        cpu: which.
        counters: which; none of them the reference.
        hardware: those of the processor, too.

    Returns:
        As `open_counters`.
    """
    refused = () if hardware else _OF_CPU
    return _open(counters, Flag(0), Flag.EXCLUDE_HV, refused, pid=-1, cpu=cpu)


def _open(
    counters: Sequence[Counter],
    flags: Flag,
    of_hardware: Flag,
    refused: Collection[Device] = (),
    *,
    pid: int,
    cpu: int,
    sample_type: int = 0,
) -> tuple[dict[str, int], dict[str, str]]:
    found: dict[str, int] = {}
    reasons: dict[str, str] = {}
    try:
        for counter in counters:
            try:
                if counter.device in refused:
                    raise OSError(errno.EACCES, "not his to count")
                kind, config = _numbers(counter)
                found[counter.name] = perf.open_event(
                    kind,
                    config,
                    pid=pid,
                    cpu=cpu,
                    sample_type=sample_type,
                    flags=flags | (of_hardware if counter.device in _OF_CPU else Flag(0)),
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
    if counter.device in _OF_CPU and absent:
        if _pmu():
            return "this processor's PMU does not count it"
        return f"no PMU: {'the hypervisor shows' if _virtual() else 'this machine has'} none"
    return f"the kernel says: {os.strerror(error.errno or 0)}"


def _pmu() -> bool:
    return any(any(_DEVICES.glob(pattern)) for pattern in _PMUS)


def _virtual() -> bool:
    try:
        return " hypervisor" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False


def counts_kernel(user: int) -> bool:
    """Whether a user may count what the processor does in the kernel: as perf lets him."""
    return _allowed(user, 1)


def counts_cpu(user: int) -> bool:
    """Whether a user may count what a processor does, whatever runs there: as perf allows it."""
    return _allowed(user, 0)


def _allowed(user: int, most: int) -> bool:
    if user == 0:
        return True
    try:
        return int(Path("/proc/sys/kernel/perf_event_paranoid").read_text(encoding="utf-8")) <= most
    except (OSError, ValueError):
        return False
