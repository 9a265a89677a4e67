# SPDX-License-Identifier: MIT
"""What a probe says about itself, and the registry of those there are.

The declaration is the single definition of a probe's event: the C structure is generated from it
(`memsc.probes.source`) and the session's NumPy dtype is built from `Probe.layout`.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from memsc.probes.countable import Counter

Type = Literal["u8", "i32", "u32", "i64", "u64", "name"]

Way = Literal["tracepoint", "raw", "fentry", "kprobe", "usdt", "sample"]
"""How a program comes to be run.

`tracepoint` and `raw` (cheaper, plain arguments): `category:event`. `fentry` and `kprobe`: entry of
a kernel function. `usdt`: `provider:probe` of memsc's own libraries. `sample`: `EVENT:HERTZ` on
every CPU, EVENT one of `cycles` (needs a PMU) and `cpu-clock`.
"""

C_TYPES: dict[Type, str] = {
    "u8": "u8 {}",
    "i32": "s32 {}",
    "u32": "u32 {}",
    "i64": "s64 {}",
    "u64": "u64 {}",
    "name": "char {}[16]",
}
NUMPY_TYPES: dict[Type, str] = {
    "u8": "u1",
    "i32": "<i4",
    "u32": "<u4",
    "i64": "<i8",
    "u64": "<u8",
    "name": "S16",
}

CALIBRATE = "memsc:calibrate"
"""The static probe that the session has passed where it knows the calls."""

FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Column:
    """One field of an event.

    Args:
        name: its name in C, in the structured array and in the trace.
        type: width and sign, or `name`: 16 bytes that end in a zero, as the kernel names threads.
        unit: `ns`, `cycles`, `events`, `cpu`, `task` (a thread's id), `process`, `kind`, `number`,
            `value`, `flags` or `name`.
        meaning: one sentence; it says what stands there when nothing is known.
    """

    name: str
    type: Type
    unit: str
    meaning: str

    @property
    def size(self) -> int:
        """Bytes."""
        return {"u8": 1, "i32": 4, "u32": 4, "i64": 8, "u64": 8, "name": 16}[self.type]

    @property
    def alignment(self) -> int:
        """Bytes of which C makes its offset a multiple."""
        return 1 if self.type == "name" else self.size


@dataclass(frozen=True)
class Kind:
    """One kind of event; its number is its place in `Probe.kinds`."""

    name: str
    meaning: str


@dataclass(frozen=True)
class Variant:
    """One way to get a hook's events; of several the first that the machine has is used.

    Args:
        way: see `Way`.
        points: pairs of a place and the C function that is attached there; all of them are needed.
        fields: fields that a tracepoint's format must show.
    """

    way: Way
    points: tuple[tuple[str, str], ...]
    fields: tuple[str, ...] = ()

    @property
    def programs(self) -> frozenset[str]:
        """Names of its C functions."""
        return frozenset(program for _, program in self.points)


@dataclass(frozen=True)
class Hook:
    """One BPF program and where it sits: mostly a tracepoint.

    Args:
        place: `category:event`, or what `way` says.
        program: the C function's name.
        kinds: names of the kinds it makes; empty for a program that only keeps state.
        fields: fields that the tracepoint's format must show; for a raw hook they stand in for the
            order of its arguments.
        raw: attach to the raw tracepoint, which is cheaper and hands over plain arguments. Only for
            tracepoints whose arguments are numbers: pointers would need the right kernel's headers.
        way: how it is attached; `raw` is short for one of them.
        instead: what else brings the same kinds and columns, in order of preference, for machines
            that lack the first.
        required: without it the probe is refused; otherwise only its kinds are absent.
        remedy: what to do when the kernel lacks it.
    """

    place: str
    program: str
    kinds: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    raw: bool = False
    required: bool = False
    remedy: str = "use a kernel that has this tracepoint"
    way: Way = "tracepoint"
    instead: tuple[Variant, ...] = ()

    @property
    def variants(self) -> tuple[Variant, ...]:
        """All ways to get its events, the preferred one first."""
        way: Way = "raw" if self.raw else self.way
        return (Variant(way, ((self.place, self.program),), self.fields), *self.instead)

    @property
    def programs(self) -> frozenset[str]:
        """Names of the C functions of all variants."""
        return frozenset[str]().union(*(variant.programs for variant in self.variants))


LEADING = (
    Column("time", "u64", "ns", "when, CLOCK_MONOTONIC (bpf_ktime_get_ns)"),
    Column("cpu", "u32", "cpu", "CPU the event happened on"),
    Column("kind", "u32", "kind", "place in the probe's kinds"),
    Column("pid", "u32", "process", "process that CPU was running"),
    Column("tid", "u32", "task", "thread that CPU was running; 0 is the idle task"),
)


@dataclass(frozen=True)
class Probe:
    """One probe.

    Args:
        name: also the name of its two files.
        summary: one line for a user.
        kinds: kinds of events.
        columns: its own columns, after `LEADING`.
        hooks: its programs. At least one of them must be there to attach the probe. None: it is no
            BPF program.
        by_default: sessions have it unless others are chosen.
        disturbs: it slows the calls themselves: it is attached in check rounds alone, which are
            left out of latency figures.
        every: of so many calls of a round one passes the static probes at which it sits.
        offered: users may choose it.
        ring_bytes: default size of its ring buffer, a power of two of at least a page; locked
            kernel memory.
        tables: further BPF maps of its C that the session reads.
        walks: its C walks programs' stacks (`stacks.h`); `<name>_walk` is where.
        readings: counters that its C reads on the CPU of an event, from its map `<name>_array`,
            which holds them CPU by CPU in this order.
        cost_ns: of one hit in nanoseconds, as the kernel accounts for its programs (of `stages` the
            whole of it): measured on a two-CPU virtual machine (AMD EPYC, Linux 6.18) with fio, for
            sessions that cannot measure it. None for what is never hit itself.
    """

    name: str
    summary: str
    kinds: tuple[Kind, ...]
    columns: tuple[Column, ...]
    hooks: tuple[Hook, ...]
    by_default: bool = False
    disturbs: bool = False
    every: int = 1
    offered: bool = True
    ring_bytes: int = 64 << 20
    tables: tuple[str, ...] = ()
    walks: bool = False
    readings: tuple[Counter, ...] = ()
    cost_ns: float | None = None

    def __post_init__(self) -> None:
        offset = 0
        for column in self.all_columns:
            if offset % column.alignment:
                raise ValueError(f"{self.name}.{column.name} is not aligned: C would pad before it")
            offset += column.size
        if offset % 8:
            raise ValueError(f"an event of {self.name} is {offset} bytes, not a multiple of 8")
        known = self.kind_names
        unknown = {kind for hook in self.hooks for kind in hook.kinds} - set(known)
        if unknown or len(set(known)) != len(known):
            raise ValueError(f"{self.name}: kinds {sorted(unknown)} unknown, or some named twice")

    @property
    def all_columns(self) -> tuple[Column, ...]:
        """The leading columns and its own, in the event's order."""
        return LEADING + self.columns

    @property
    def static_places(self) -> frozenset[str]:
        """Static probes of the runtime at which it sits, where it has any."""
        return frozenset(hook.place for hook in self.hooks if hook.way == "usdt")

    @property
    def calibrated(self) -> bool:
        """Whether its first events, of known calls, tell what the whole of a hit costs."""
        return CALIBRATE in self.static_places

    @property
    def kind_names(self) -> tuple[str, ...]:
        """Names of the kinds; an event's `kind` is the index."""
        return tuple(kind.name for kind in self.kinds)

    @property
    def event_size(self) -> int:
        """Bytes of one event."""
        return sum(column.size for column in self.all_columns)

    def layout(self) -> list[tuple[str, str]]:
        """Fields of one event as `numpy.dtype` takes them: (name, little-endian type code)."""
        return [(column.name, NUMPY_TYPES[column.type]) for column in self.all_columns]

    def c_declarations(self) -> str:
        """The event's structure and the kinds' numbers in C."""
        fields = "".join(f"    {C_TYPES[c.type].format(c.name)};\n" for c in self.all_columns)
        kinds = "".join(
            f"    MEMSC_{self.name}_{kind}".upper() + f" = {number},\n"
            for number, kind in enumerate(self.kind_names)
        )
        return f"struct {self.name}_event {{\n{fields}}};\nenum {{\n{kinds}}};\n"


@functools.cache
def _declared() -> Mapping[str, Probe]:
    """Every probe, by name: the files of this folder that declare one."""
    stems = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")
    modules = [importlib.import_module(f"memsc.probes.{stem}") for stem in stems]
    found: list[Probe] = [module.PROBE for module in modules if hasattr(module, "PROBE")]
    return {probe.name: probe for probe in found}


def offered() -> tuple[Probe, ...]:
    """The probes that a user may choose, by name."""
    return tuple(probe for probe in _declared().values() if probe.offered)


def names() -> tuple[str, ...]:
    """Names of those of them that are BPF programs."""
    return tuple(probe.name for probe in offered() if probe.hooks)


def loadable() -> tuple[str, ...]:
    """Names of what a session may load: those, and what makes events beside them."""
    return tuple(p.name for p in _declared().values() if p.hooks and p.kinds)


def find(name: str) -> Probe:
    """The declaration of one probe.

    Raises:
        KeyError: no probe has this name.
    """
    return _declared()[name]


def at_one_place(chosen: Iterable[str]) -> tuple[str, str] | None:
    """Two probes that sit at the same static probe, where each would see what the other costs."""
    taken: dict[str, str] = {}
    for name in chosen:
        for place in find(name).static_places:
            if taken.setdefault(place, name) != name:
                return taken[place], name
    return None
