# SPDX-License-Identifier: MIT
"""Traces of one thing in the order of time: every metric of each, and the steps between them.

A trace is one point, with the interval that its own rounds give it. How much sessions differ is in
none of these, so a step is judged by sessions alone (`steps`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from msgspec.structs import replace

from memsc.analysis.comparison.change import apart
from memsc.analysis.comparison.comparison import LEAST_EFFECT
from memsc.analysis.data.order import ORDER, few, natural
from memsc.analysis.data.sketch import TOTAL
from memsc.analysis.fleet.places import find_partitions
from memsc.analysis.history.model import (
    SCHEMA,
    HistoryReport,
    HistorySeries,
    HistoryStep,
)
from memsc.analysis.history.reading import METRICS, Key, Reading, reading_of
from memsc.analysis.history.steps import ALPHA, MOST, fewest, find_steps
from memsc.runtime.errors import USAGE, MemscError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_METRICS = 200
"""Of more metrics, steps are looked for in medians alone: in each more, a step is harder to see."""
NEAR = 2
"""Sessions by which the place of a step may be off."""
_SHOWN = 40
"""Characters of a value that a note has room for."""
REFERENCES = ("direct",)
"""Arms in which memsc has no part: what moves them is the machine, or the program."""
STEP_COLUMNS = [
    *("arm", "case", "mode", "stage", "metric", "session", "before", "after", "created"),
    *("change", "low", "high"),
]
"""Columns of `df_steps`; changes are relative."""
COLUMNS = [
    *("arm", "case", "mode", "stage", "metric", "session", "trace", "created"),
    *("memsc", "withheld", "value_ns", "low_ns", "high_ns", "interval", "reason"),
]
"""Columns of `df_history`."""


class History:
    """Sessions in the order of time; they are read when a figure is first asked for.

    Args:
        paths: of the traces.
        skip_failed: leave out traces that cannot be read, and say so, instead of refusing.
        progress: told each path when it was read.
    """

    def __init__(
        self,
        paths: Sequence[str],
        *,
        skip_failed: bool = False,
        progress: Callable[[str], None] | None = None,
    ) -> None:
        self.paths = list(paths)
        self.skipped: dict[str, str] = {}
        self._skip_failed = skip_failed
        self._progress = progress

    @cached_property
    def report(self) -> HistoryReport:
        """Everything that any view of it says.

        Raises:
            MemscError: a trace cannot be read, and is not to be skipped; or none can.
        """
        read = self._read
        keys = sorted({key for one in read for key in one.points}, key=_rank)
        searched = keys
        if len(keys) > MOST_METRICS:
            searched = [key for key in keys if key[3:] == (TOTAL, "p50")]
        found = [self._series(key, searched) for key in keys]
        believed = sum(not one.trace.withheld for one in read)
        needed = fewest(ALPHA / max(len(searched), 1))
        missing, fewest_known = None, needed if needed < MOST else None
        if fewest_known is None:
            missing = (
                f"steps in {len(searched)} metrics cannot be told from chance: report fewer cases"
            )
        elif believed < needed:
            missing = (
                f"{believed} session{'s' * (believed != 1)}, and a step in {len(searched)} metrics "
                f"can be told from chance from {needed} on: record {needed - believed} more"
            )
        return HistoryReport(
            SCHEMA,
            [one.trace for one in read],
            self.skipped,
            fewest_known,
            missing,
            list(self._notes(len(keys) - len(searched))),
            _with_references(found),
        )

    def df_history(self) -> pd.DataFrame:
        """Each metric of each session, with the interval that its own rounds give.

        Returns:
            One row per arm, case, mode, stage, metric and session, with the columns `COLUMNS`, in
            nanoseconds; sessions are in the order of time. What a session does not have is not
            there; what it cannot tell is NaN, with the reason.

        Raises:
            MemscError: a trace cannot be read.

        Example:
            >>> frame = ma.over_time("notebooks/traces/fleet/*/*").df_history()
            >>> frame.query("stage == 'total' and metric == 'p50' and arm == 'memsc'").shape[0] > 3
            True
        """
        rows = [
            (
                *(one.arm, one.case, one.mode, one.stage, one.metric),
                *(point.trace, of.trace, pd.Timestamp(of.created), of.memsc, bool(of.withheld)),
                *(point.value_ns, point.low_ns, point.high_ns, point.interval, point.reason),
            )
            for one in self.report.metrics
            for point in one.points
            for of in [self.report.traces[point.trace]]
        ]
        return pd.DataFrame(rows, columns=COLUMNS)

    def df_steps(self) -> pd.DataFrame:
        """The steps: between which sessions, and how large, with an interval over sessions.

        Returns:
            One row each, with the columns `STEP_COLUMNS`. In a history without steps, one is named
            in 5 % of all cases at most, whatever the number of metrics.

        Raises:
            MemscError: a trace cannot be read.

        Example:
            >>> len(ma.over_time("notebooks/traces/fleet/*/*").df_steps())
            0
        """
        rows = [
            (
                *(one.arm, one.case, one.mode, one.stage, one.metric),
                *(step.trace, step.before, step.after, pd.Timestamp(step.created)),
                *(step.change, step.low, step.high),
            )
            for one in self.report.metrics
            for step in one.steps
        ]
        return pd.DataFrame(rows, columns=STEP_COLUMNS)

    def plot_history(self, arm: str | None = None, case: str | None = None) -> Figure:
        """Draws the metrics of an arm and case, session by session.

        Args:
            arm: which; by default `memsc`, or else the first.
            case: likewise; by default the first.

        Raises:
            MemscError: no session has it.

        Example:
            >>> ma.over_time("notebooks/traces/fleet/*/*").plot_history().savefig(file)
        """
        from memsc.analysis.figures.history import plot_history  # noqa: PLC0415 (slow to import)

        frame, steps = self.df_history(), self.df_steps()
        if arm is None:
            arm = "memsc" if "memsc" in set(frame["arm"]) else next(iter(frame["arm"]), "memsc")
        mine = frame[(frame["arm"] == arm) & (frame["case"] == (case or frame["case"]))]
        if mine.empty:
            cells = zip(frame["arm"], frame["case"], strict=True)
            known = few(list(dict.fromkeys(map("/".join, cells)))) or "no calls"
            what = f"cannot draw {arm}/{case or 'any case'}"
            raise MemscError(what, "no session has it", f"they have {known}", USAGE)
        first = mine.iloc[0]
        mine, steps = (
            of[(of["arm"] == arm) & (of["case"] == first["case"]) & (of["mode"] == first["mode"])]
            for of in (mine, steps)
        )
        return plot_history(mine, steps, [(of.created, of.memsc) for of in self.report.traces])

    @cached_property
    def _read(self) -> list[Reading]:
        read: list[Reading] = []
        for path in self.paths:
            try:
                read.append(reading_of(path))
            except MemscError as error:
                if not self._skip_failed:
                    raise
                self.skipped[path] = f"{error.what}: {error.why}"
            if self._progress:
                self._progress(path)
        if not read:
            why = next(iter(self.skipped.values()), "there is none")
            raise MemscError("cannot show a history", why, "name traces that can be read")
        return sorted(read, key=lambda one: (_when(one.trace.created), one.trace.path))

    def _series(self, key: Key, searched: Sequence[Key]) -> HistorySeries:
        read = self._read
        points = [
            replace(one.points[key], trace=i) for i, one in enumerate(read) if key in one.points
        ]
        believed = [
            (point.trace, point.value_ns)
            for point in points
            if point.value_ns and not read[point.trace].trace.withheld
        ]
        values = [value for _, value in believed]
        reason = None
        if key not in searched:
            reason = f"of more than {MOST_METRICS} metrics, medians alone"
        alpha = ALPHA / max(len(searched), 1)
        bounds = [] if reason else find_steps(values, alpha)
        bounds, steps = self._steps([index for index, _ in believed], values, bounds)
        return HistorySeries(*key, points, _spread(values, bounds), reason is None, reason, steps)

    def _steps(
        self, indices: Sequence[int], values: Sequence[float], bounds: list[int]
    ) -> tuple[list[int], list[HistoryStep]]:
        """Those that are as large as what `compare` calls a change, and how large."""
        kept, steps = list(bounds), list[HistoryStep]()
        for bound in bounds:
            ends = [0, *kept, len(values)]
            at = ends.index(bound, 1)
            before, after = values[ends[at - 1] : bound], values[bound : ends[at + 1]]
            change = apart(before, after)
            sure = change.low > 0 or change.high < 0
            if not sure or abs(change.value) < LEAST_EFFECT:
                kept.remove(bound)
                continue
            old, new = (self._read[indices[i]] for i in (bound - 1, bound))
            steps.append(
                HistoryStep(
                    indices[bound],
                    old.trace.trace,
                    new.trace.trace,
                    new.trace.created,
                    *(change.value, change.low, change.high),
                    [len(before), len(after)],
                    self._differs(indices[bound]),
                    [],
                )
            )
        return kept, steps

    def _differs(self, index: int) -> list[str]:
        """What changed from one session to the next, near an index."""
        read = self._read
        first, end = max(index - NEAR, 1), min(index + NEAR + 1, len(read))
        return [
            f"{name} {value} → {new.machine[name]}"
            for old, new in zip(read[first - 1 :], read[first:end], strict=False)
            for name, value in old.machine.items()
            if new.machine[name] != value
        ]

    def _notes(self, unsearched: int) -> Iterator[str]:
        read = self._read
        withheld = [one.trace for one in read if one.trace.withheld]
        if withheld:
            first = withheld[0]
            yield (
                f"{len(withheld)} of {len(read)} sessions are in no step, since their verdict is "
                f"withheld: {first.trace}: {first.withheld[0]}"
                + (f"; and {len(withheld) - 1} more" if len(withheld) > 1 else "")
            )
        for path, why in list(self.skipped.items())[:3]:
            yield f"skipped {path}: {why}"
        if unsearched:
            yield f"steps are looked for in medians alone, not in {unsearched} further metrics"
        if len(read) > MOST:
            yield f"steps are looked for in the newest {MOST} sessions"
        for name in ("command", "CPU", "CPUs online"):
            values = dict.fromkeys(one.machine[name] for one in read)
            if len(values) > 1:
                yield f"the {name} is not the same in all sessions: {_few(list(values))}"

    def _repr_html_(self) -> str:
        steps = self.df_steps().to_html(index=False, float_format="{:.3g}".format)
        return f"<b>memsc history of {len(self.paths)} traces</b>{steps}"


def over_time(
    places: str | Sequence[str],
    *,
    skip_failed: bool = False,
    progress: Callable[[str], None] | None = None,
) -> History:
    """Opens the sessions of one thing, to see what changed over time.

    Args:
        places: traces, folders of traces, or patterns of such, as `open_many` takes them.
        skip_failed: leave out traces that cannot be read, instead of refusing.
        progress: told each path when it was read.

    Raises:
        MemscError: a place holds no trace.

    Example:
        >>> found = ma.over_time("notebooks/traces/fleet/*/*").report
        >>> found.traces[0].created <= found.traces[-1].created
        True
    """
    wanted = [places] if isinstance(places, str) else [str(place) for place in places]
    paths = [one.path for one in find_partitions(wanted)]
    return History(paths, skip_failed=skip_failed, progress=progress)


def _spread(values: Sequence[float], bounds: Sequence[int]) -> float | None:
    parts = np.split(np.log(values), bounds)
    freedom = sum(len(part) - 1 for part in parts)
    if freedom < 1:
        return None
    squares = sum(float(((part - part.mean()) ** 2).sum()) for part in parts if len(part))
    return float(np.sqrt(squares / freedom))


def near(one: int, other: int) -> bool:
    """Whether two steps may be one and the same."""
    return abs(one - other) <= NEAR


def _with_references(found: list[HistorySeries]) -> list[HistorySeries]:
    """Steps beside which a reference's median steps, too."""
    stepped = [
        (one.arm, one.case, step.trace)
        for one in found
        if one.arm in REFERENCES and (one.stage, one.metric) == (TOTAL, "p50")
        for step in one.steps
    ]

    def beside(one: HistorySeries, step: HistoryStep) -> HistoryStep:
        arms = [
            arm
            for arm, case, trace in stepped
            if arm != one.arm and case == one.case and near(trace, step.trace)
        ]
        return replace(step, references=arms)

    return [replace(one, steps=[beside(one, step) for step in one.steps]) for one in found]


def _rank(key: Key) -> tuple[Any, ...]:
    arm, case, mode, stage, metric = key
    known = ORDER.index(arm) if arm in ORDER else len(ORDER)
    return natural(case), mode, known, arm, METRICS.index((stage, metric))


def _when(created: str) -> datetime:
    found = datetime.fromisoformat(created)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _few(values: Sequence[str]) -> str:
    if max(map(len, values)) > _SHOWN:
        # From the word on in which they differ: what is the same would fill the line.
        words = [value.split(" ") for value in values]
        alike = next((i for i, one in enumerate(zip(*words, strict=False)) if len(set(one)) > 1), 0)
        values = [" ".join(["…", *mine[alike:]] if alike else mine) for mine in words]
    shown = [value if len(value) <= _SHOWN else f"{value[: _SHOWN - 1]}…" for value in values]
    return " → ".join(shown[:3]) + (f" and {len(shown) - 3} more" if len(shown) > 3 else "")
