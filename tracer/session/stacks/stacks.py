# SPDX-License-Identifier: MIT
# pyarrow's published stubs leave type parameters open (see tracer/format/writer.py).
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
"""Turns the kernel's stack numbers into stacks with names, while their programs are there."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from memsc.tracer.format.tables import STACKS, STACKS_SCHEMA
from memsc.tracer.format.writer import TraceWriter
from memsc.tracer.helper.kernel import bpf
from memsc.tracer.session.observe.probe_client import Helper
from memsc.tracer.session.stacks import symbols
from memsc.tracer.session.stacks.address_spaces import UNKNOWN, Module, Spaces
from memsc.tracer.session.stacks.mapping_records import Records

MOST_FRAMES = 127  # PERF_MAX_STACK_DEPTH, sysctl kernel.perf_event_max_stack
_KERNEL = Module("[kernel]")
_VDSO = "[vdso]"
_KERNEL_SPACE = (-1, 0)

Key = tuple[str, int, int, int]  # table, pid and place of its space, number in the table


class Stacks:
    """The stacks of a session.

    Args:
        writer: where they go.
        helper: whose probes saw them.

    Attributes:
        notes: what the user should be told.
    """

    def __init__(self, writer: TraceWriter, helper: Helper) -> None:
        self._writer = writer
        self._helper = helper
        self._records: Records | None = None
        self._spaces = Spaces()
        self._numbers: dict[Key, int] = {}
        self._next = 0
        self._new: list[tuple[int, tuple[int, int], list[int]]] = []
        self._symbols: dict[Module, symbols.Symbols] = {}
        self.notes: list[str] = []

    def begin(self, pid: int) -> None:
        """Watch what a process and its children map, from now on.

        Raises:
            MemscError: the helper has died, or the process has.
        """
        self._close_records()
        self._spaces.look(pid)
        try:
            self._records = Records(self._helper.mappings(pid))
        except OSError as error:
            why = (
                f"stacks may lack names: {error.strerror}; raise sysctl kernel.perf_event_mlock_kb"
            )
            self._note(why)

    def look(self) -> None:
        """Take what was mapped since the last look: files may vanish."""
        if self._records is not None:
            self._spaces.add(self._records.take())

    def translate(self, table: str, events: NDArray[np.void]) -> NDArray[np.void]:
        """Events with the session's stack numbers in the place of the kernel's.

        Args:
            table: the probe's map of stacks.
            events: structured array with time, pid, user_stack and kernel_stack.
        """
        self.look()
        events = events.copy()
        descriptor = self._helper.table(table)
        for column in ("user_stack", "kernel_stack"):
            numbers = events[column].astype(np.int64)
            pids = events["pid"].astype(np.int64)
            if column == "kernel_stack":
                pids = np.full(len(events), -1, np.int64)
            places = self._places(pids, events["time"].astype(np.int64))
            keys = np.stack((pids, places, numbers))[:, numbers >= 0]
            found, inverse = np.unique(keys, axis=1, return_inverse=True)
            named = [
                self._number(descriptor, table, (pid, place), number)
                for pid, place, number in found.T.tolist()
            ]
            events[column][numbers >= 0] = np.array(named, np.int64)[inverse.reshape(-1)]
        return events

    def _places(self, pids: NDArray[np.int64], times: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which of its programs each process was at each time; 0 for the kernel."""
        places = np.zeros(len(pids), np.int64)
        for pid in np.unique(pids[pids >= 0]).tolist():
            mine = pids == pid
            places[mine] = self._spaces.places(pid, times[mine])
        return places

    def _number(self, descriptor: int, table: str, space: tuple[int, int], number: int) -> int:
        key = (table, *space, number)
        known = self._numbers.get(key)
        if known is not None:
            return known
        raw = bpf.look_up(descriptor, number, MOST_FRAMES * 8)
        if raw is None:  # another stack has taken its place
            return -17
        addresses = np.frombuffer(raw, np.uint64)
        frames = addresses[: int(np.argmin(addresses != 0)) if not addresses.all() else None]
        self._numbers[key] = number = self._next
        self._next += 1
        self._new.append((number, space, frames.tolist()))
        return number

    def finish_round(self, tables: list[str]) -> None:
        """Name and write the stacks that are new; the kernel's numbers begin anew.

        Args:
            tables: the probes' maps, emptied.
        """
        self.look()
        self._close_records()
        if self._spaces.lost:
            self._note(f"{self._spaces.lost} records of what was mapped were lost: names may lack")
        rows: list[tuple[int, int, str, str, int]] = []
        for number, space, frames in self._new:
            for depth, address in enumerate(frames):
                rows.append((number, depth, *self._name(space, address, depth)))
                # Programs without frame pointers lead astray: beyond this is nothing but chance.
                if rows[-1][3] == UNKNOWN.name:
                    break
        if rows:
            columns = [list(column) for column in zip(*rows, strict=True)]
            arrays = [
                pa.array(column, kind.type)
                for column, kind in zip(columns, STACKS_SCHEMA, strict=True)
            ]
            self._writer.append(STACKS, pa.Table.from_arrays(arrays, schema=STACKS_SCHEMA))
        for table, *_, number in self._numbers:
            if table in tables:
                bpf.forget(self._helper.table(table), number)
        self._numbers = {key: n for key, n in self._numbers.items() if key[0] not in tables}
        self._new = []

    def _name(self, space: tuple[int, int], address: int, depth: int) -> tuple[str, str, int]:
        # A caller's frame holds where it goes on, which may be behind the call's function.
        looked_up = address - (depth > 0)
        if space == _KERNEL_SPACE:
            module, place = _KERNEL, looked_up
        else:
            module, place = self._spaces.find(space, looked_up)
        found = self._symbols_of(module).name(place)
        if found is None:
            return "", module.name, place if module.inode[2] else 0
        return found[0], module.name, found[1]

    def _symbols_of(self, module: Module) -> symbols.Symbols:
        if module not in self._symbols:
            descriptor = self._spaces.file(module)
            if module == _KERNEL:
                self._symbols[module] = symbols.of_kernel()
                if not len(self._symbols[module].starts):
                    self._note(
                        "the kernel hides its functions' names: sysctl kernel.kptr_restrict=0"
                    )
            elif module.name == _VDSO:
                self._symbols[module] = symbols.of_vdso()
            elif descriptor is None:
                self._symbols[module] = symbols.NOTHING
            else:
                self._symbols[module] = symbols.of_file(descriptor)
        return self._symbols[module]

    def _close_records(self) -> None:
        if self._records is not None:
            self._records.close()
            self._records = None

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def close(self) -> None:
        """Let go of the files and of the kernel's records."""
        self._close_records()
        self._spaces.close()
