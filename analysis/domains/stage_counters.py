# SPDX-License-Identifier: MIT
"""What a CPU did in a stage, in events: counters read at the static probes of the same call.

Between two hits lies one whole hit, the end of the first and the beginning of the second. What that
counts by itself the session has measured where nothing else happens, and it is taken off. But a hit
is a thousand instructions and more, and what it takes depends on what else was in the caches: a
stage that counts less than a hit does is not told.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from memsc.analysis.data.requires import requires
from memsc.analysis.data.selection import Selection
from memsc.tracer.format import CALLS, EVENTS, Round, TraceFolder, columns_of

NAME = "stage_counters"
WHAT = "what stages do"
EXECUTE, FROM_POSTED = "execute", "poll to complete"
"""Between `picked` and `executed`, on the CPU that executes; between `posted` and `completed`, on
the caller's. Nobody looks at the beginning of `post`."""

_TABLE = f"{EVENTS}/{NAME}"
_BEGINS = {"picked": EXECUTE, "posted": FROM_POSTED}
_ENDS = {"executed": EXECUTE, "completed": FROM_POSTED}
_BLOCKS = 20  # of pairs, by time: neighbours are alike, so blocks are what is replicated
_LEVEL = 0.95
_WAITED = "_waited"  # a counter's column has a second one beside it, so called


class _Key(NamedTuple):
    arm: str
    case: str
    syscall: str
    stage: str


_KEY = list(_Key._fields)
_HIT = _Key("", "", "all", "hit")
_FIGURES = ["per_call", "low", "high", "p50", "hit", "told", "n", "counted"]
_COLUMNS = [*_KEY, "event", "unit", *_FIGURES]


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Rows of the table between which something happened, by time; and what it was."""

    first: NDArray[np.int64]
    last: NDArray[np.int64]
    what: pd.DataFrame  # arm, case, syscall, stage


@dataclass(frozen=True, slots=True)
class _Mean:
    value: float
    error: float  # standard
    freedom: int
    n: int

    @staticmethod
    def of(values: NDArray[np.int64]) -> _Mean:
        n = len(values)
        if not n:
            return _Mean(np.nan, np.nan, 0, 0)
        blocks = min(_BLOCKS, n)
        means = np.array([part.mean() for part in np.array_split(values, blocks)])
        error = means.std(ddof=1) / blocks**0.5 if blocks > 1 else np.nan
        return _Mean(float(values.mean()), float(error), blocks - 1, n)


class StageCounters:
    """Counters of the CPUs, stage by stage.

    Args:
        folder: an opened trace.
        selection: which arms and cases.
    """

    def __init__(self, folder: TraceFolder, selection: Selection | None = None) -> None:
        self._folder = folder
        self._selection = selection or Selection()

    @property
    def folder(self) -> TraceFolder:
        """The trace it is about."""
        return self._folder

    @property
    def unavailable(self) -> dict[str, str]:
        """Events that could not be read, and why; empty without the probe."""
        status = self._folder.session.probes.get(NAME)
        return dict(status.uncounted) if status else {}

    @requires(NAME, what=WHAT)
    def df_stages(self) -> pd.DataFrame:
        """What the CPU did per call and stage.

        Returns:
            One row per arm, case, syscall (and "all"), stage (`EXECUTE`, `FROM_POSTED`) and event
            that could be read: unit, per_call (the mean, without `hit`), low and high (95 %, over
            blocks of one run), p50 (of the median call), hit (what a hit counts by itself: taken
            off), told (it is not less than that), n (pairs of hits) and counted (the share of them
            that lie whole in the event's turn at the PMU; the others are left out). Where the
            thread moved meanwhile there is no pair.

        Raises:
            MemscError: the trace lacks the events, or calls were selected by what the probes do
                not know.

        Example:
            >>> frame = counted.stage_counters.df_stages()  # doctest: +SKIP
        """
        why = "of some calls there are few"
        self._selection.only("arms", "cases", what=WHAT, why=why)
        if not self._folder.rows(_TABLE):
            return pd.DataFrame(columns=_COLUMNS)
        pairs = self._pairs()
        groups = _groups(pairs.what.assign(syscall="all"))
        hits = groups.pop(_HIT, np.array([], np.int64))
        groups |= {key: at for key, at in _groups(pairs.what).items() if key[-1] != "hit"}
        rows: list[dict[str, Any]] = []
        for event, unit, values, whole in self._read(pairs):
            hit = _Mean.of(values[hits])
            median = float(np.median(values[hits])) if len(hits) else np.nan
            for key, chosen in groups.items():
                mine = values[chosen][whole[chosen]]
                rows.append(
                    key._asdict()
                    | {"event": event, "unit": unit}
                    | _less(_Mean.of(mine), hit)
                    | {"p50": float(np.median(mine)) - median if len(mine) else np.nan}
                    | {"hit": hit.value, "n": len(mine), "counted": float(whole[chosen].mean())}
                )
        frame = pd.DataFrame(rows, columns=_COLUMNS)
        frame["told"] = frame["per_call"] >= frame["hit"]
        return frame

    def _pairs(self) -> _Pairs:
        """Neighbouring hits of one call on one CPU, and hits that nothing lies between."""
        names = ["time", "cpu", "kind", "tid", "slot", "entry", "number", "caller"]
        events = self._folder.read(_TABLE, names).to_pandas()
        events["kind"] = events["kind"].astype(object)
        # A hit of the calibration that follows another without a sleep has an even number.
        alone = (events["kind"] == "calibrate").to_numpy()
        even = events["entry"].to_numpy() % 2 == 0
        events.loc[alone, "entry"] = 0
        by = ["caller", "slot", "entry", "tid"]
        order = events.sort_values([*by, "time"], kind="stable").index.to_numpy()
        events, even, alone = events.loc[order], even[order], alone[order]
        same = np.ones(max(len(events) - 1, 0), bool)
        for name in (*by, "cpu"):
            found = events[name].to_numpy()
            same &= found[1:] == found[:-1]
        begins = events["kind"].map(_BEGINS).to_numpy(object)[:-1]
        ends = events["kind"].map(_ENDS).to_numpy(object)[1:]
        stage = begins.copy()
        stage[~same | (begins != ends)] = None
        stage[same & alone[1:] & alone[:-1] & even[1:]] = "hit"
        what = self._rounds(events["time"].to_numpy(np.int64)[1:])
        what["syscall"] = events["number"].map(self._names()).fillna("unknown").to_numpy()[1:]
        what["stage"] = stage
        what.loc[what["stage"] == "hit", ["arm", "case"]] = ""
        chosen = np.flatnonzero(what["arm"].notna() & what["stage"].notna())
        chosen = chosen[np.argsort(events["time"].to_numpy(np.int64)[1:][chosen], kind="stable")]
        return _Pairs(order[chosen], order[chosen + 1], what.iloc[chosen].reset_index(drop=True))

    def _names(self) -> dict[int, str]:
        """Of system calls, by number, on the machine that made the trace."""
        found = dict[int, str]()
        for part in self._folder.batches(CALLS, ["number", "syscall"]):
            pairs = part.group_by(["number", "syscall"]).aggregate([])
            for number, name in zip(pairs["number"], pairs["syscall"], strict=True):
                found[int(number.as_py())] = str(name.as_py())
        return found

    def _rounds(self, times: NDArray[np.int64]) -> pd.DataFrame:
        """Arm and case of the round that each time lies in; None for none that is looked at."""
        now = self._selection
        rounds = sorted(
            (r for r in self._folder.session.rounds if NAME in r.probes and r.start_ns is not None),
            key=_start,
        )
        place = np.searchsorted(np.array([_start(r) for r in rounds], np.int64), times, "right")
        ends = np.array([0, *(r.end_ns or 0 for r in rounds)], np.int64)
        inside = (place > 0) & (times <= ends[place])
        looked = np.array([False, *(now.has(r.arm, r.case) for r in rounds)])
        inside &= looked[place]
        found = {}
        for name in ("arm", "case"):
            of = np.array([None, *(getattr(r, name) for r in rounds)], object)[place]
            of[~inside] = None
            found[name] = of
        return pd.DataFrame(found, dtype=object)

    def _read(
        self, pairs: _Pairs
    ) -> Iterator[tuple[str, str, NDArray[np.int64], NDArray[np.bool_]]]:
        """Name and unit of each counter, its counts by pair, and if it counted throughout."""
        every = columns_of(self._folder.parts[_TABLE][0])
        for name in (name for name in every if f"{name}{_WAITED}" in every):
            table = self._folder.read(_TABLE, [name, f"{name}{_WAITED}"])
            unit = (table.schema.field(name).metadata or {}).get(b"unit", b"events").decode()
            value, waited = (found.to_numpy() for found in table.columns)
            if not len(value) or value.max() < 0:
                continue
            count = value[pairs.last] - value[pairs.first]
            whole = (waited[pairs.last] == waited[pairs.first]) & (value[pairs.first] >= 0)
            yield name.replace("_", "-"), unit, count, whole & (value[pairs.last] >= 0)


def _groups(what: pd.DataFrame) -> dict[_Key, NDArray[np.int64]]:
    """Places of the rows of each key."""
    found: Any = what.groupby(_KEY, sort=False).indices
    return {_Key(*key): places for key, places in found.items()}


def _start(one: Round) -> int:
    return one.start_ns or 0


def _less(mean: _Mean, hit: _Mean) -> dict[str, float]:
    """A difference of means with its interval, by Welch's degrees of freedom."""
    value = mean.value - hit.value
    parts = [(one.error**2, one.freedom) for one in (mean, hit)]
    variance = sum(square for square, _ in parts)
    if not variance > 0:
        # All alike, or not known.
        return {"per_call": value, "low": value + variance, "high": value + variance}
    from scipy.special import stdtrit  # noqa: PLC0415 (slow to import)

    freedom = variance**2 / sum(square**2 / free for square, free in parts if free)
    half = float(stdtrit(freedom, (1 + _LEVEL) / 2)) * variance**0.5
    return {"per_call": value, "low": value - half, "high": value + half}
