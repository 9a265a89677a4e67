# SPDX-License-Identifier: MIT
"""A long recording at full rate: memory and descriptors stay what they are, and nothing is lost.

    python -m tests.helpers.soak SECONDS

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

import numpy as np
import pyarrow.parquet as pq
from scipy import stats
from tests.helpers.command import MEMSC
from tests.helpers.faults.world import children

from memsc.tracer.format import CALLS, SESSION, decode_session, part_name
from memsc.tracer.state import folders

SLACK_MIB = 64  # calls are held, and written some millions at a time
SETTLED = 1 / 3  # of the time: before, buffers still grow to what they will be
BLOCKS = 20  # of the rest: the most of each is looked at, for what is held goes up and down
PROGRAM = ("dd", "if=/dev/zero", "of=/dev/null", "bs=512", "status=none")


@dataclass
class Watched:
    """Something that should stay what it is, as time went on.

    Args:
        what: it is.
        unit: of its values.
        slack: how much it may grow from block to block without having grown.
    """

    what: str
    unit: str
    slack: float
    times: list[float] = field(default_factory=list[float])
    values: list[float] = field(default_factory=list[float])

    def note(self, value: float) -> None:
        """What it is now."""
        self.times.append(time.monotonic())
        self.values.append(value)

    def fault(self) -> str | None:
        """Whether it has grown: its slope, by Theil and Sen, is told with its 95 % interval.

        It has where the whole interval is above zero, and more has come than the slack.
        """
        first = int(len(self.values) * SETTLED)
        blocks = np.array_split(np.arange(first, len(self.values)), BLOCKS)
        if not all(map(len, blocks)):
            return f"{self.what}: too short to judge"
        times = np.array([self.times[block[0]] for block in blocks])
        most = np.array([max(self.values[i] for i in block) for block in blocks])
        slope, _, low, high = stats.theilslopes(most, times)
        hour = f"{slope * 3600:+.3g} ({low * 3600:+.3g} to {high * 3600:+.3g}) an hour"
        sys.stderr.write(f"{self.what}: {most.max():,.0f} {self.unit}, {hour}\n")
        grown = low > 0 and slope * (times[-1] - times[0]) > self.slack
        return f"{self.what} has grown: {hour}" if grown else None


def look(pid: int, memory: Watched, descriptors: Watched) -> None:
    """Note what a process has now."""
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/status").read_text().splitlines()
        kept = [line.split()[1] for line in fields if line.startswith(("RssAnon", "RssFile"))]
        memory.note(sum(map(int, kept)) / 1024)
        descriptors.note(len(list(Path(f"/proc/{pid}/fd").iterdir())))


def shared_memory() -> float:
    """MiB of this user's sessions in memory."""
    with suppress(OSError):  # a file that goes meanwhile
        blocks = [path.lstat().st_blocks for path in folders.base().rglob("*")]
        return sum(blocks) * 512 / 2**20
    return 0.0


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
        command = [*MEMSC, "trace", "-o", str(trace)]
        command += ["--no-calibrate", "--probes", "none", "--duration", str(seconds)]
        session = subprocess.Popen([*command, "--", *PROGRAM])
        end = time.monotonic() + seconds
        watched = {
            who: (
                Watched(f"memory of the {who}", "MiB", SLACK_MIB),
                Watched(f"descriptors of the {who}", "open", 0),
            )
            for who in ("session", "program")
        }
        shared = Watched("shared memory", "MiB", SLACK_MIB)
        rows = first = 0
        while session.poll() is None and time.monotonic() < end:
            time.sleep(0.5)
            more, first = take(trace / CALLS, first, all_of_them=False)
            rows += more
            if rows:  # once what is held has been written, it has been as much as it gets
                look(session.pid, *watched["session"])
                for pid in children(session.pid)[:1]:
                    look(pid, *watched["program"])
                shared.note(shared_memory())
        status = session.wait()
        rows += take(trace / CALLS, first, all_of_them=True)[0]
        (done,) = decode_session((trace / SESSION).read_bytes(), trace / SESSION).rounds
    every = [*watched["session"], *watched["program"], shared]
    faults = [fault for one in every if (fault := one.fault())]
    if (done.calls, done.lost) != (rows, 0) or rows + (done.unfinished or 0) != done.made:
        faults.append(f"{rows} calls in the trace, {done.calls} counted, {done.lost} lost")
    if done.stopped != "duration":
        faults.append(f"it ended before: {done.stopped}, {done.exit_status}, {status}")
    rate = rows / seconds / 1e6
    lost = f"{done.lost} lost, {rows + (done.unfinished or 0) - (done.made or 0)} unaccounted for"
    sys.stderr.write(f"{rows:,} calls in {seconds:.0f} s, {rate:.2f} million a second, {lost}\n")
    sys.stderr.writelines(f"{fault}\n" for fault in faults)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
