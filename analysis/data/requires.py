# SPDX-License-Identifier: MIT
"""What an analysis needs from the probes, and what a trace without it says.

An analysis of events names the probes they come from, once, where it begins. A trace that has them
not is refused with the reason (nobody asked for the probe, the kernel refused it, the table is
damaged) and with the `--probes` that bring it. A probe that was attached and saw nothing is no
error: nothing happened, and the analysis gets an empty table.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from memsc.runtime.errors import MemscError
from memsc.tracer.format import EVENTS, RoundKey, TraceFolder, columns_of

P = ParamSpec("P")
R = TypeVar("R")

NOT_ASKED_FOR = "not asked for"
REFUSED = "refused"
DAMAGED = "damaged"
NOT_KEPT = "not kept"


@dataclass(frozen=True, slots=True)
class Missing:
    """A probe whose events a trace has not.

    Attributes:
        probe: its name.
        kind: `NOT_ASKED_FOR`, `REFUSED`, `DAMAGED` or `NOT_KEPT`.
        reason: one phrase for people.
    """

    probe: str
    kind: str
    reason: str


class OfTrace(Protocol):
    """A domain of analysis: `requires` decorates its methods."""

    @property
    def folder(self) -> TraceFolder:
        """The trace it is about."""
        ...


D = TypeVar("D", bound=OfTrace)


def need(
    folder: TraceFolder, *probes: str, what: str, columns: Collection[str] | None = None
) -> None:
    """Refuses a trace that lacks the events of some probes.

    Args:
        folder: the opened trace.
        probes: names of the probes, as `--probes` takes them.
        what: the analysis in a reader's words, as in "the wake-up chain".
        columns: that their tables must have, if not only those every event has.

    Raises:
        MemscError: events are missing; it says why, and which `--probes` would bring them.

    Example:
        >>> need(t.folder, "sched", "ipi", what="the wake-up chain")  # doctest: +SKIP
    """
    found = missing(folder, *probes, columns=columns)
    if found:
        why = ", ".join(f"{one.probe}: {one.reason}" for one in found)
        raise MemscError(f"cannot show {what} of {folder.path.name}", why, _remedy(folder, found))


def requires(
    *probes: str, what: str, columns: Collection[str] | None = None
) -> Callable[[Callable[Concatenate[D, P], R]], Callable[Concatenate[D, P], R]]:
    """Decorates a method of a domain (anything with a `folder`) that needs events: see `need`.

    Example:
        >>> class Wakeup:
        ...     def __init__(self, folder):
        ...         self.folder = folder
        ...     @requires("sched", "ipi", what="the wake-up chain")
        ...     def df_chain(self): ...
    """

    def decorate(method: Callable[Concatenate[D, P], R]) -> Callable[Concatenate[D, P], R]:
        @wraps(method)
        def checked(self: D, /, *args: P.args, **kwargs: P.kwargs) -> R:
            need(self.folder, *probes, what=what, columns=columns)
            return method(self, *args, **kwargs)

        return checked

    return decorate


def missing(
    folder: TraceFolder, *probes: str, columns: Collection[str] | None = None
) -> list[Missing]:
    """Which of some probes' events a trace lacks; empty if it has all. Reads footers only."""
    return [found for probe in probes for found in _missing(folder, probe, columns or ())]


def events_lost(folder: TraceFolder, *probes: str) -> str | None:
    """What was lost of some probes' events, or None if nothing was.

    An analysis that counts events, or takes the absence of one for an answer, says so beside it.
    """
    said: list[str] = []
    for probe in probes:
        status = folder.session.probes.get(probe)
        if status is None or not status.attached:
            continue
        if status.lost is None:
            said.append(f"how many events of {probe} were lost is not known")
        elif status.lost:
            said.append(f"{status.lost} events of {probe} lost")
    return ", ".join(said) or None


def lossy(folder: TraceFolder, *probes: str) -> set[RoundKey]:
    """Rounds in which events of some probes found a full ring: what is absent proves nothing."""
    rounds = folder.session.rounds
    return {r.key for r in rounds if any(r.events_lost.get(probe) for probe in probes)}


def table_of(folder: TraceFolder, probe: str) -> str:
    """The table of a probe's events: `events/<probe>`, or a table of its own (`stacks`)."""
    return probe if probe in folder.parts else f"{EVENTS}/{probe}"


def _missing(folder: TraceFolder, probe: str, columns: Collection[str]) -> Iterator[Missing]:
    status, table = folder.session.probes.get(probe), table_of(folder, probe)
    snapshot = folder.session.snapshot
    rows = folder.rows(table)
    if rows == 0 and status is None:
        yield Missing(probe, NOT_ASKED_FOR, "the probe was not asked for")
    elif rows == 0 and status is not None and not status.attached:
        reason = status.reason or "no reason is given"
        yield Missing(probe, REFUSED, f"the probe was refused: {reason}")
    elif not snapshot and status is not None and rows < (status.seen or 0):
        reason = f"the table is damaged: {status.seen} events were recorded, {rows} are there"
        yield Missing(probe, DAMAGED, reason)
    elif rows == 0 and snapshot:
        yield Missing(probe, NOT_KEPT, f"{snapshot.why}: none of its events")
    elif rows == 0 and status is not None and status.seen is None:
        yield Missing(probe, DAMAGED, "the session was cut short before it wrote an event")
    elif lacking := _lacking(folder, table, columns):
        reason = f"the table is damaged or old: it has no column {', '.join(lacking)}"
        yield Missing(probe, DAMAGED, reason)


def _lacking(folder: TraceFolder, table: str, columns: Collection[str]) -> list[str]:
    if not columns or not folder.rows(table):
        return []
    return sorted(set(columns) - set(columns_of(folder.parts[table][0])))


def _remedy(folder: TraceFolder, found: list[Missing]) -> str:
    again = f"record again with --probes {','.join(_wanted(folder, found))}"
    if any(one.kind == REFUSED for one in found):
        return f"see `memsc doctor`, then {again}"
    if all(one.kind == DAMAGED for one in found):
        return f"copy the trace again, or {again}"
    return again


def _wanted(folder: TraceFolder, found: list[Missing]) -> dict[str, None]:
    # What the trace has already must not be lost by recording it anew.
    had = [name for name, status in folder.session.probes.items() if status.attached]
    return dict.fromkeys([*had, *(one.probe for one in found)])
