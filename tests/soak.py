# SPDX-License-Identifier: MIT
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false
# pyright: reportUnknownParameterType=false
"""A long recording at full rate: memory and descriptors stay what they are, and nothing is lost.

    python -m tests.soak SECONDS

Parts of the trace are counted and removed as they come: half an hour of it would fill a disk.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq
from tests.faults.world import children

from memsc.tracer.format import CALLS, SESSION, decode_session, part_name

GROWTH = 1.1  # the most memory of the last third over that of the one before …
SLACK_KIB = 64 << 10  # … and this much: calls are held, and written some millions at a time
PROGRAM = ("dd", "if=/dev/zero", "of=/dev/null", "bs=512", "status=none")


@dataclass
class Watched:
    """Memory (KiB) and descriptors of a process, as time went on."""

    pid: int
    memory: list[int] = field(default_factory=list[int])
    descriptors: list[int] = field(default_factory=list[int])

    def look(self) -> None:
        """Note what they are now."""
        with suppress(OSError):
            fields = Path(f"/proc/{self.pid}/status").read_text().splitlines()
            kept = [line.split()[1] for line in fields if line.startswith(("RssAnon", "RssFile"))]
            self.memory.append(sum(map(int, kept)))
            self.descriptors.append(len(list(Path(f"/proc/{self.pid}/fd").iterdir())))

    def faults(self, name: str) -> list[str]:
        """What has grown."""
        third = len(self.memory) // 3
        if not third:
            return [f"too short to judge the {name}: nothing was written before the end"]
        middle, last = max(self.memory[third:-third]), max(self.memory[-third:])
        most = [max(self.descriptors[third:-third]), max(self.descriptors[-third:])]
        found: list[str] = []
        if last > middle * GROWTH + SLACK_KIB:
            found.append(f"the {name}'s memory has grown from {middle} to {last} KiB")
        if most[1] > most[0]:
            found.append(f"the {name}'s descriptors have grown from {most[0]} to {most[1]}")
        sys.stderr.write(f"{name}: {middle / 1024:.0f} then {last / 1024:.0f} MiB, ")
        sys.stderr.write(f"{most[0]} then {most[1]} descriptors\n")
        return found


def take(folder: Path, first: int, *, all_of_them: bool) -> tuple[int, int]:
    """Count and remove parts from `first` on, but the newest; rows, and where to go on."""
    rows = 0
    while (folder / part_name(first)).exists():
        if not all_of_them and not (folder / part_name(first + 1)).exists():
            break
        part = folder / part_name(first)
        rows += pq.read_metadata(part).num_rows  # pyright: ignore[reportUnknownMemberType]
        part.unlink()
        first += 1
    return rows, first


def main() -> int:
    """Record for so many seconds."""
    seconds = float(sys.argv[1])
    with tempfile.TemporaryDirectory(dir="/var/tmp") as place:
        trace = Path(place) / "soak.memsc"
        command = [sys.executable, "-m", "memsc.commands", "trace", "-o", str(trace)]
        command += ["--no-calibrate", "--probes", "none", "--duration", str(seconds)]
        session = subprocess.Popen([*command, "--", *PROGRAM])
        end = time.monotonic() + seconds
        watched = {"session": Watched(session.pid)}
        rows = first = 0
        while session.poll() is None and time.monotonic() < end:
            time.sleep(0.5)
            more, first = take(trace / CALLS, first, all_of_them=False)
            rows += more
            if "program" not in watched and (started := children(session.pid)):
                watched["program"] = Watched(started[0])
            if rows:  # once what is held has been written, it has been as much as it gets
                for process in watched.values():
                    process.look()
        status = session.wait()
        rows += take(trace / CALLS, first, all_of_them=True)[0]
        (done,) = decode_session((trace / SESSION).read_bytes(), trace / SESSION).rounds
    faults = [fault for name, process in watched.items() for fault in process.faults(name)]
    if (done.calls, done.lost) != (rows, 0) or rows + (done.unfinished or 0) != done.made:
        faults.append(f"{rows} calls in the trace, {done.calls} counted, {done.lost} lost")
    if done.stopped != "duration":
        faults.append(f"it ended before: {done.stopped}, {done.exit_status}, {status}")
    rate = rows / seconds / 1e6
    sys.stderr.write(f"{rows:,} calls in {seconds:.0f} s, {rate:.2f} million a second\n")
    sys.stderr.writelines(f"{fault}\n" for fault in faults)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
