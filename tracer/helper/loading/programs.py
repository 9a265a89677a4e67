# SPDX-License-Identifier: MIT
"""Maps and programs in the kernel, made of a compiled text. Privileged side; standard library."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from memsc.probes.declaration import Way
from memsc.runtime.errors import MemscError
from memsc.tracer.helper.kernel import bpf, perf
from memsc.tracer.helper.loading.objects import Object, renumbered

_TYPES: dict[Way, int] = {
    "tracepoint": bpf.TRACEPOINT,
    "raw": bpf.RAW_TRACEPOINT,
    "kprobe": bpf.KPROBE,
    "usdt": bpf.KPROBE,
    "sample": bpf.PERF_EVENT,
}


class Attachment:
    """One program where it sits, until closed or until the process ends."""

    def __init__(self, descriptors: Sequence[int]) -> None:
        self._descriptors = list(descriptors)

    def close(self) -> None:
        """Detach."""
        while self._descriptors:
            os.close(self._descriptors.pop())


class Program:
    """One verified program."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def attach(self, event: str | None) -> Attachment:
        """Attach to a raw tracepoint, or to the function that it was loaded for (None).

        Raises:
            OSError: the kernel refused.
        """
        return Attachment([bpf.attach_raw(self._fd, event)])

    def attach_events(self, events: Sequence[int]) -> Attachment:
        """Attach to perf events, which are closed with the attachment.

        Raises:
            OSError: the kernel refused; the events are closed.
        """
        attachment = Attachment(events)
        try:
            for event in events:
                perf.attach(event, self._fd)
        except OSError:
            attachment.close()
            raise
        return attachment

    def misses(self) -> int | None:
        """Hits the kernel skipped because the CPU was inside a BPF program; None if not told."""
        return self._told().get("recursion_misses")

    def cost(self) -> tuple[int, int]:
        """Nanoseconds in it and how often it ran, as far as the kernel took account."""
        told = self._told()
        return told.get("run_time_ns", 0), told.get("run_cnt", 0)

    def _told(self) -> dict[str, int]:
        """What the kernel says of it in numbers."""
        try:
            lines = Path(f"/proc/self/fdinfo/{self._fd}").read_text(encoding="utf-8").splitlines()
        except OSError:
            return {}
        pairs = (line.split(":") for line in lines if line.count(":") == 1)
        return {name: int(value) for name, value in pairs if value.strip().isdigit()}


class Loaded:
    """A compiled text in the kernel: its maps, and its programs as they are asked for.

    Raises:
        MemscError: the kernel refuses a map.
    """

    def __init__(self, compiled: Object) -> None:
        self._object = compiled
        self._maps: dict[str, int] = {}
        for name, one in compiled.maps.items():
            sizes = (one.key, one.value, one.entries, one.flags)
            try:
                self._maps[name] = bpf.make_map(one.kind, *sizes, name=name)
            except OSError as error:
                why = f"the kernel refuses the map {name}: {error.strerror}"
                raise MemscError("attaching probes", why, "give it more memory") from error
        self._numbers = dict(enumerate(self._maps.values()))

    def program(self, name: str, way: Way, place: str) -> Program:
        """Load one program.

        Args:
            name: of the C function.
            way: how it will be attached.
            place: where; an fentry program is loaded for this kernel function.

        Raises:
            OSError: the verifier or the kernel refused it.
        """
        try:
            code = renumbered(self._object.programs[name], self._numbers)
            if way == "fentry":
                return Program(bpf.load_program(bpf.TRACING, bpf.function_id(place), code, name))
            return Program(bpf.load_program(_TYPES[way], code=code, name=name))
        except OSError as error:
            raise OSError(error.errno, error.strerror, name) from error

    def descriptor(self, table: str) -> int:
        """A map's file descriptor; stays ours."""
        return self._maps[table]

    def put(self, table: str, key: int, value: int) -> None:
        """Set an element of a map of u32 to a number.

        Raises:
            MemscError: the map is full.
        """
        try:
            bpf.put(self._maps[table], key, value, self._object.maps[table].value)
        except OSError as error:
            why = str(error.strerror)
            raise MemscError("telling a probe", why, "track fewer tasks") from error

    def remove(self, table: str, key: int) -> None:
        """Delete an element, if it is there."""
        bpf.forget(self._maps[table], key)
