# SPDX-License-Identifier: MIT
"""Sessions that are killed before any single thing that they do, and programs without a process."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.helpers import traces

from memsc.runtime.layout import MAGIC, VERSION, layout
from memsc.tracer.format import CALLS, Round, RoundKey
from memsc.tracer.format.output import prepare_output
from memsc.tracer.format.writer import TraceWriter
from memsc.tracer.state.backlog import Backlog, Before, Kept

KEY = RoundKey("memsc", "program", 0)
DEAD = 1 << 22  # pids end one below
RECORDS = 64
COMM = "as long as this"  # all that the kernel takes
DOES = ((os, "pwrite"), (os, "pwritev"), (os, "ftruncate"), (os, "replace"), (os, "unlink"))
METHODS = ("unlink", "replace", "rename", "mkdir", "write_bytes")


class Killed(BaseException):
    """As by SIGKILL: nothing is done any more."""


class Steps:
    """Counts what is done to files, and kills before one of them.

    Args:
        last: so many are done; -1: all.
    """

    def __init__(self, last: int = -1) -> None:
        self.last = last
        self.done = 0

    @contextmanager
    def counted(self) -> Generator[None]:
        """Meanwhile."""
        with pytest.MonkeyPatch.context() as patch:
            for module, name in (*DOES, *((Path, method) for method in METHODS)):
                patch.setattr(module, name, self._counting(getattr(module, name)))
            yield

    def _counting(self, does: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*args: Any, **named: Any) -> Any:
            if self.done == self.last:
                raise Killed
            self.done += 1
            return does(*args, **named)

        return counting


class Program:
    """A region, and who writes calls into it; its files are written past whoever counts.

    Args:
        folder: where its file is.
        name: of it.
    """

    _pwrite, _pread = staticmethod(os.pwrite), staticmethod(os.pread)

    def __init__(self, folder: Path, name: str = f"{DEAD}-1-0.region") -> None:
        shapes = layout()
        self.fd = os.open(folder / name, os.O_RDWR | os.O_CREAT)
        head = np.zeros(1, shapes.region)
        self._slots = -(-shapes.region.itemsize // 4096) * 4096
        self._rings = self._slots + shapes.slot.itemsize
        told = {"magic": MAGIC, "version": VERSION, "pid": DEAD, "start_time": 1, "slots": 1}
        told |= {"ring_records": RECORDS, "slots_offset": self._slots, "rings_offset": self._rings}
        for field, value in (told | {"slots_used": 1, "recording": 1, "comm": COMM}).items():
            head[field] = value
        os.truncate(self.fd, self._rings + RECORDS * shapes.call.itemsize)
        self._pwrite(self.fd, head.tobytes(), 0)
        self.made = 0
        self.passed: dict[str, int] = {}
        self._finished = False

    def calls(self, stamps: range) -> None:
        """Make calls that can be told apart by their first stamp."""
        shapes = layout()
        for stamp in stamps:
            record = np.zeros(1, shapes.call)
            for name in ("called", "posted", "picked", "executed", "completed"):
                record[name] = stamp
            at = self.made % RECORDS * shapes.call.itemsize
            self._pwrite(self.fd, record.tobytes(), self._rings + at)
            self.made += 1
            self._put("forwarded", self.made)
            self._put("written", self.made)

    def passes(self, **counts: int) -> None:
        """Make calls of which there is no record: dropped, skipped, in all so far."""
        for name, value in counts.items():
            self._put(name, value)
        self.passed |= counts

    def begins_one(self) -> None:
        """A call of which it does not see the end, if it still runs."""
        if self._finished:
            return
        self.made += 1
        self._put("forwarded", self.made)

    def finishes(self) -> None:
        """In order."""
        self._finished = True
        at = (layout().region.fields or {})["finished"][1]
        self._pwrite(self.fd, (1).to_bytes(4, "little"), at)

    def _put(self, field: str, value: int) -> None:
        at = next(at for name, (_, at, *_) in (layout().slot.fields or {}).items() if name == field)
        self._pwrite(self.fd, value.to_bytes(8, "little"), self._slots + at)


def begin(
    tmp_path: Path, folder: Path, attached: Before | None = None
) -> tuple[TraceWriter, Backlog]:
    """A session with a round, up to where its program is let go."""
    writer = TraceWriter(prepare_output(tmp_path / "t.memsc"))
    told = traces.session([], {"memsc": traces.Arm("memsc", "inline")}, complete=False)
    writer.session(told)
    begun = Round(*KEY, probes=["sched"], start_cycles=0)
    kept = Kept.of(writer.folder, told.created, writer.on_disk(CALLS), begun, attached)
    backlog = Backlog.make(folder, kept)
    assert backlog.folder is not None
    return writer, backlog
