# SPDX-License-Identifier: MIT
"""Where calls come from, as pprof reads it: profile.proto, gzip; calls and nanoseconds.

The message is small and its definition does not change (google/pprof, proto/profile.proto), so it
is written field by field.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass, field
from pathlib import Path

from memsc.analysis.domains.stacks import Frame
from memsc.analysis.export.protobuf import data, number, varint
from memsc.analysis.trace import Trace
from memsc.runtime.errors import MemscError

# Fields of Profile, and of the messages in it.
_SAMPLE_TYPE, _SAMPLE, _MAPPING, _LOCATION, _FUNCTION, _STRING = 1, 2, 3, 4, 5, 6
_TIME_NANOS, _DURATION_NANOS, _COMMENT, _DEFAULT_TYPE = 9, 10, 13, 14
_SYSCALLS = "[system calls]"


@dataclass(slots=True)
class _Mapping:
    """A file as if it were mapped where its own places begin, so that they are addresses."""

    number: int
    limit: int = 0
    named: bool = True


@dataclass(slots=True)
class _Profile:
    """A profile that grows; strings, functions and locations are there once each."""

    out: list[bytes] = field(default_factory=list[bytes])
    strings: dict[str, int] = field(default_factory=lambda: {"": 0})
    mappings: dict[str, _Mapping] = field(default_factory=dict["str", "_Mapping"])
    locations: dict[Frame, int] = field(default_factory=dict[Frame, int])

    def string(self, text: str) -> int:
        return self.strings.setdefault(text, len(self.strings))

    def location(self, frame: Frame) -> int:
        # Where in its function a call is made does not matter to a view by functions.
        one = Frame(frame.shown, frame.module, 0, frame.start)
        if one not in self.locations:
            here = self.locations[one] = len(self.locations) + 1
            mapping = self.mappings.setdefault(frame.module, _Mapping(len(self.mappings) + 1))
            mapping.named = mapping.named and bool(frame.function)
            name, content = self.string(one.function), number(1, here) + number(2, mapping.number)
            if frame.start >= 0:
                mapping.limit = max(mapping.limit, frame.start + 1)
                content += number(3, frame.start)
            function = number(1, here) + number(2, name) + number(3, name)
            self.out.append(data(_FUNCTION, function + number(4, self.string(frame.module))))
            self.out.append(data(_LOCATION, content + data(4, number(1, here))))
        return self.locations[one]

    def _mapped(self, module: str, mapping: _Mapping) -> bytes:
        content = number(1, mapping.number) + number(3, mapping.limit)
        content += number(5, self.string(module))
        # Of a file whose functions all have names none are looked for.
        return data(_MAPPING, content + number(7, int(mapping.named)))

    def sample(self, frames: list[Frame], values: tuple[int, int], labels: dict[str, str]) -> None:
        places = b"".join(varint(self.location(frame)) for frame in frames)
        content = data(1, places) + data(2, b"".join(map(varint, values)))
        for key, text in labels.items():
            content += data(3, number(1, self.string(key)) + number(2, self.string(text)))
        self.out.append(data(_SAMPLE, content))

    def encoded(self) -> bytes:
        mappings = [self._mapped(*one) for one in self.mappings.items()]
        return b"".join([*self.out, *mappings, *(data(_STRING, text) for text in self.strings)])


def write_pprof(trace: Trace, path: Path) -> str:
    """Calls and their nanoseconds by call path; the innermost frame is the system call.

    Arms and cases are tags (`-tagfocus`).
    """
    frame = trace.paths.df_paths()
    if frame.empty:
        raise MemscError(
            f"cannot export {trace.name} as pprof", "no call was looked at", "record for longer"
        )
    profile = _Profile()
    for kind, unit in (("calls", "count"), ("time", "nanoseconds")):
        names = number(1, profile.string(kind)) + number(2, profile.string(unit))
        profile.out.append(data(_SAMPLE_TYPE, names))
    for row in frame.to_dict("records"):
        innermost = Frame(f"{row['syscall']}()", _SYSCALLS, 0)
        outer = trace.paths.path(int(row["stack"])).frames
        values = (round(float(row["calls"])), round(float(row["total_ns"])))
        labels = {"arm": str(row["arm"]), "case": str(row["case"])}
        profile.sample([innermost, *reversed(outer)], values, labels)
    clock = trace.session.clock
    rounds = [r for r in trace.session.rounds if r.start_ns is not None and r.end_ns is not None]
    if rounds:
        start, end = min(r.start_ns or 0 for r in rounds), max(r.end_ns or 0 for r in rounds)
        began = start + (clock.realtime_offset_ns or 0)
        profile.out.append(number(_TIME_NANOS, began) + number(_DURATION_NANOS, end - start))
    told = f"memsc {trace.session.memsc}: {' '.join(trace.session.command)}"
    profile.out.append(data(_COMMENT, varint(profile.string(told))))
    profile.out.append(number(_DEFAULT_TYPE, profile.string("time")))
    # Without the time in its header the same trace makes the same file.
    path.write_bytes(gzip.compress(profile.encoded(), mtime=0))
    return f"{len(frame)} call paths, calls and nanoseconds"
