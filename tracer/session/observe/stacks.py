# SPDX-License-Identifier: MIT
"""Turns the numbers of stacks into stacks with names, while their programs are there."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from memsc.runtime.files import LAYER
from memsc.tracer.format.tables import STACKS, STACKS_SCHEMA, TRUNCATED
from memsc.tracer.format.writer import TraceWriter
from memsc.tracer.helper.kernel import bpf
from memsc.tracer.helper.kernel.machine_time import monotonic_ns
from memsc.tracer.session.addresses import symbols
from memsc.tracer.session.addresses.address_spaces import (
    UNKNOWN,
    Module,
    Space,
    Spaces,
    module_of,
)
from memsc.tracer.session.addresses.mapping_records import Records
from memsc.tracer.session.addresses.nameless import Nameless
from memsc.tracer.session.addresses.naming import VDSO, Named, Naming
from memsc.tracer.session.addresses.slots import Slots
from memsc.tracer.session.observe.probe_client import Helper
from memsc.tracer.session.unwind import rules
from memsc.tracer.session.unwind.rules import Rules, constants
from memsc.tracer.session.unwind.stack_ring import Copied, Walked
from memsc.tracer.session.unwind.tables import Place, Tables

MOST_FRAMES = 127  # PERF_MAX_STACK_DEPTH, sysctl kernel.perf_event_max_stack
_COPIES_AT_ONCE = 32  # the others wait in the ring
# The outermost frame of a stack whose first was not reached, by how its walk ended.
_BEYOND = {
    **dict.fromkeys(("NOWHERE", "NO_RULE", "ASTRAY", "UNTOLD"), UNKNOWN.name),
    **dict.fromkeys(("DEEP", "UNREADABLE"), TRUNCATED),
}

Key = tuple[str, int, int, int]  # table, pid and place of its space, number there
_USER = ""  # in the place of a table: stacks that our programs walk


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
        self._rules: dict[Module, tuple[int, Rules] | None] = {}
        self._walked: dict[int, Walked] = {}
        self._copies: list[Copied] = []
        # By space, for as long as it sees the same; spaces live as long as this.
        self._encoded: dict[int, tuple[object, NDArray[np.void]]] = {}
        self._slots = Slots()
        self._numbers: dict[Key, int] = {}
        self._same: dict[tuple[tuple[int, int], int, tuple[int, ...]], int] = {}
        self._next = 0
        self._new: list[tuple[int, tuple[int, int], list[int], int]] = []
        self._naming = Naming(self._spaces, self._known_rules, self._note)
        self._nameless = Nameless()
        self.notes: list[str] = []
        if helper.unwalked:
            self._note(f"no stacks of programs: {helper.unwalked}")

    def begin(self, pid: int) -> None:
        """Watch what a process and its children map, from now on.

        Raises:
            MemscError: the helper has died, or the process has.
        """
        if self._records is not None:
            self.look()
        self._close_records()
        self._spaces.look(pid)
        self.look()  # what it has mapped already most programs have; files take their time
        try:
            self._records = Records(self._helper.mappings(pid))
        except OSError as error:
            why = (
                f"stacks may lack names: {error.strerror}; raise sysctl kernel.perf_event_mlock_kb"
            )
            self._note(why)

    def look(self, *, everything: bool = False) -> None:
        """Take what was mapped since the last look: files may vanish, and programs walk by it.

        Args:
            everything: walk all copies; else so few that the next program is soon known.
        """
        until = monotonic_ns()
        if self._records is not None:
            self._spaces.add(self._records.take())
        changed, tables = self._spaces.changed, self._helper.stack_tables
        if tables is not None:
            for pid in changed:
                space = self._spaces.newest(pid)
                tables.tell(pid, self._places_of(tables, space), until)
                self._learn(pid, space)
            for pid in self._spaces.ended - changed:
                tables.forget(pid)
            if tables.full:
                self._note(f"{tables.full} files found no room: stacks end where they begin")
        changed.clear()
        self._spaces.ended.clear()
        self._take(until, None if everything else _COPIES_AT_ONCE)

    @property
    def news(self) -> list[int]:
        """Descriptors that can be read when a program has mapped something: then look."""
        return self._records.descriptors if self._records is not None else []

    def _learn(self, pid: int, space: Space) -> None:
        for *_, mapped in space.visible:
            module = module_of(mapped)
            known = self._rules.get(module)
            if module.name.endswith(LAYER.name) and known is not None:
                self._slots.learn(pid, space, module, known[1])

    def _take(self, until: int, most: int | None) -> None:
        """Take what was told of stacks; copies are walked once it is known what was mapped then."""
        ring, tables = self._helper.stack_ring, self._helper.stack_tables
        if ring is None or tables is None:
            return
        for told in ring.take(most):
            if isinstance(told, Copied):
                self._copies.append(told)
            else:
                self._walked[told.stack] = told
        ready = [one for one in self._copies if one.time < until]
        self._copies = [one for one in self._copies if one.time >= until]
        for copied in ready:
            self._walked[copied.stack] = self._walk(tables, copied)

    def _walk(self, tables: Tables, copied: Copied) -> Walked:
        space = self._spaces.space(copied.pid, copied.time)
        places = self._places_of(tables, space)
        return copied.walk(tables, places, functools.partial(self._slots.resume, space))

    def _places_of(self, tables: Tables, space: Space) -> NDArray[np.void]:
        """What a space has mapped, with the rules of it in the tables, as programs look for it."""
        seen = space.visible
        known = self._encoded.get(id(space))
        if known is None or known[0] is not seen:
            known = self._encoded[id(space)] = (seen, tables.encode(self._found(tables, space)))
        return known[1]

    def _found(self, tables: Tables, space: Space) -> list[Place]:
        found: list[Place] = []
        for start, end, mapped in space.visible:
            module = module_of(mapped)
            known = self._rules_of(tables, module)
            place = Place(start, end)
            if known is not None:
                base, its = known
                address = its.address(mapped.offset)
                table = mapped.start - (address + base) if address is not None else 1
                if table % 4096 == 0:
                    place = Place(start, end, table, its.callers)
            found.append(place)
        return found

    def _rules_of(self, tables: Tables, module: Module) -> tuple[int, Rules] | None:
        if module not in self._rules:
            descriptor, found = self._spaces.file(module), None
            if module.name == VDSO:
                found = rules.of_bytes(symbols.vdso_image())
            elif descriptor is not None:
                found = rules.of_descriptor(descriptor)
            base = tables.add(found) if found is not None else None
            self._rules[module] = (base, found) if base is not None and found else None
        return self._rules[module]

    def _known_rules(self, module: Module) -> Rules | None:
        known = self._rules.get(module)
        return known[1] if known is not None else None

    def translate(self, table: str, events: NDArray[np.void]) -> NDArray[np.void]:
        """Events with the session's stack numbers in the place of the kernel's and the programs'.

        Args:
            table: the probe's map of the kernel's stacks.
            events: structured array with time, pid, user_stack and perhaps kernel_stack.
        """
        self.look(everything=True)
        if self._copies:  # some are newer than what was known of the programs
            self.look(everything=True)
        events = events.copy()
        for column in ("user_stack", "kernel_stack"):
            if column not in (events.dtype.names or ()):
                continue
            numbers = events[column].astype(np.int64)
            pids = events["pid"].astype(np.int64)
            if column == "kernel_stack":
                pids = np.full(len(events), -1, np.int64)
            places = self._places(pids, events["time"].astype(np.int64))
            keys = np.stack((pids, places, numbers))[:, numbers >= 0]
            found, inverse = np.unique(keys, axis=1, return_inverse=True)
            named = [
                self._walked_number((pid, place), number)
                if column == "user_stack"
                else self._number(table, (pid, place), number)
                for pid, place, number in found.T.tolist()
            ]
            events[column][numbers >= 0] = np.array(named, np.int64)[inverse.reshape(-1)]
            times = np.bincount(inverse.reshape(-1), minlength=len(named))
            self._nameless.see(zip(named, times.tolist(), strict=True))
        return events

    def _places(self, pids: NDArray[np.int64], times: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which of its programs each process was at each time; 0 for the kernel."""
        places = np.zeros(len(pids), np.int64)
        for pid in np.unique(pids[pids >= 0]).tolist():
            mine = pids == pid
            places[mine] = self._spaces.places(pid, times[mine])
        return places

    def _walked_number(self, space: tuple[int, int], stack: int) -> int:
        known = self._numbers.get((_USER, *space, stack))
        if known is not None:
            return known
        walked = self._walked.get(stack)
        if walked is None or not walked.frames:
            return -17
        same = (space, walked.end, tuple(walked.frames))
        number = self._same.get(same)
        if number is None:
            number = self._same[same] = self._next
            self._next += 1
            self._new.append((number, space, walked.frames, walked.end))
        self._numbers[(_USER, *space, stack)] = number
        return number

    def _number(self, table: str, space: tuple[int, int], number: int) -> int:
        key = (table, *space, number)
        known = self._numbers.get(key)
        if known is not None:
            return known
        raw = bpf.look_up(self._helper.table(table), number, MOST_FRAMES * 8)
        if raw is None:  # another stack has taken its place
            return -17
        addresses = np.frombuffer(raw, np.uint64)
        frames = addresses[: int(np.argmin(addresses != 0)) if not addresses.all() else None]
        self._numbers[key] = number = self._next
        self._next += 1
        # A caller's frame holds where it goes on, which may be behind the call's function.
        inner = [int(address) - (depth > 0) for depth, address in enumerate(frames.tolist())]
        self._new.append((number, space, inner, constants()["MEMSC_WALK_DONE"]))
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
        rows: list[tuple[int, int, str, str, int, int]] = []
        beyond = {constants()[f"MEMSC_WALK_{how}"]: name for how, name in _BEYOND.items()}
        self._naming.learn((space, frames) for _, space, frames, _ in self._new)
        for number, space, frames, end in self._new:
            shown = self._naming.frames(space, frames)
            self._nameless.learn(number, shown)
            if end in beyond:
                shown.append(Named("", beyond[end], 0))
            rows += [
                (number, depth, one.function, one.module, one.offset, one.start)
                for depth, one in enumerate(shown)
            ]
        self._writer.add_rows(STACKS, STACKS_SCHEMA, rows)
        for table, *_, number in self._numbers:
            if table in tables:
                bpf.forget(self._helper.table(table), number)
        self._numbers = {key: n for key, n in self._numbers.items() if key[0] not in tables}
        self._new = []
        self._naming.forget()
        # A copy is of one event, and that has its number now.
        self._walked = {stack: one for stack, one in self._walked.items() if not stack & 1}

    def _close_records(self) -> None:
        if self._records is not None:
            self._records.close()
            self._records = None

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def close(self) -> None:
        """Let go of the files and of the kernel's records; the last notes come with it."""
        if lacking := self._nameless.told(self._spaces):
            self._note(lacking)
        self._close_records()
        self._spaces.close()
