# SPDX-License-Identifier: MIT
"""How a program is to be started under a transport; `memsc.runtime.starting` does it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from memsc.runtime.errors import USAGE, MemscError
from memsc.runtime.session_socket import End
from memsc.runtime.topology import format_cpus

TRANSPORTS = ("direct", "ipi", "memsc", "adaptive")
MODES = ("inline", "scanner")
HANDOFFS = ("machine", "at-once", "intel", "amd")
POLLED = ("memsc", "adaptive")
"""Transports whose two sides look for each other in memory: they alone have a hand-off."""
NEVER = "never"
"""A time that does not end."""
LONGEST_US = (1 << 32) - 2  # the library's 32 bits, less the value for never


@dataclass(frozen=True)
class Launch:
    """Everything that steers a forwarded program; see docs/design.md for the variables.

    Args:
        transport: one of TRANSPORTS.
        service: one of MODES.
        app_cpus: where the program's threads run; empty leaves them where they are.
        service_cpus: where the service runs; empty for `direct`.
        idle_us: the service parks after so long without a call, or NEVER; None: the library's own.
        spin_us: a caller sleeps after polling so long, likewise.
        session: where the program and all it starts tell of themselves and give their regions.
        directory: folder for region files, without a session; None makes regions anonymous.
        recording: record calls from the start.
        record_every: while it does, one of so many calls, at random; 1: each.
        ring_records: records per call ring.
        ring_policy: `drop` or `wait`.
        keep: leave the region file when the program ends, for a reader.
        probe_every: while static probes are attached, one of so many calls passes them.
        stats: the layer tells the session what it counted, too.
        handoff: how the two sides pass a line, one of HANDOFFS.
        peer: name of another hand-off that stands beside memsc in a benchmark; its program knows
            nothing of memsc.
    """

    transport: str = "memsc"
    service: str = "inline"
    app_cpus: tuple[int, ...] = ()
    service_cpus: tuple[int, ...] = ()
    idle_us: int | str | None = None
    spin_us: int | str | None = None
    session: End | None = None
    directory: Path | None = None
    recording: bool = False
    record_every: int = 1
    ring_records: int = 1 << 17
    ring_policy: str = "drop"
    keep: bool = False
    probe_every: int = 1
    stats: bool = False
    handoff: str = "machine"
    peer: str | None = None

    @property
    def arm(self) -> str:
        """Name of the arm: the transport, with `-scanner` behind it in that service mode."""
        if self.peer is not None:
            return self.peer
        scanner = self.service == "scanner" and self.transport != "direct"
        return f"{self.transport}-scanner" if scanner else self.transport

    @property
    def inert(self) -> bool:
        """Whether nothing of memsc is needed in the program."""
        return self.transport == "direct" and not self.recording and not self.stats

    def environment(self) -> dict[str, str]:
        """The MEMSC_* variables."""
        variables = {
            "MEMSC_TRANSPORT": self.transport,
            "MEMSC_SERVICE": self.service,
            "MEMSC_RECORD": str(self.record_every if self.recording else 0),
            "MEMSC_RING": str(self.ring_records),
            "MEMSC_RING_POLICY": self.ring_policy,
            "MEMSC_KEEP": str(int(self.keep)),
            "MEMSC_PROBE_EVERY": str(self.probe_every),
        }
        if self.idle_us is not None:
            variables["MEMSC_IDLE_US"] = str(self.idle_us)
        if self.spin_us is not None:
            variables["MEMSC_SPIN_US"] = str(self.spin_us)
        if self.handoff != "machine":
            variables["MEMSC_HANDOFF"] = self.handoff
        if filters := _filters():
            variables["MEMSC_FILTERS"] = str(filters)
        if self.service_cpus:
            variables["MEMSC_SERVICE_CPUS"] = format_cpus(self.service_cpus)
        if self.session is not None:
            variables["MEMSC_SOCKET"] = str(self.session)
        if self.directory is not None:
            variables["MEMSC_DIRECTORY"] = str(self.directory)
        if self.stats:
            variables["MEMSC_STATS"] = "1"
        return variables

    @property
    def inherited(self) -> tuple[int, ...]:
        """Descriptors that the program is to have."""
        return () if self.session is None else (self.session.number,)


def _filters() -> int:
    """Seccomp filters that were there before memsc, a container's; the layer tells others apart.

    Linux before 5.9 says only that there are some, as the mode 2.
    """
    said = dict(
        line.split(":\t", 1)
        for line in Path("/proc/self/status")
        .read_text(encoding="utf-8", errors="surrogateescape")
        .splitlines()
    )
    return int(said.get("Seccomp_filters") or int(said.get("Seccomp", 0)) // 2)


def parse_arm(transport: str, service: str, launch: Launch) -> Launch:
    """The launch of one arm.

    Raises:
        MemscError: no such transport or service mode; status 2.
    """
    for value, known, option in (
        (transport, TRANSPORTS, "--transport"),
        (service, MODES, "--service"),
    ):
        if value not in known:
            raise MemscError(
                f"{option} {value}",
                "there is none of that name",
                f"one of {', '.join(known)}",
                USAGE,
            )
    return replace(launch, transport=transport, service=service)
