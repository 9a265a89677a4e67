# SPDX-License-Identifier: MIT
"""Drawings of causes, noise and wake-ups show what their frames say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from tests.helpers import traces

from memsc import analysis as ma
from memsc.analysis.report.slow_text import cause_rows
from memsc.analysis.report.summary import summarise
from memsc.runtime.errors import MemscError

RECORDED = Path(__file__).resolve().parents[2] / "notebooks" / "traces"


@pytest.fixture(scope="module")
def tail() -> ma.Trace:
    return ma.open(RECORDED / "tail.memsc")


def labels(axes: Axes) -> list[str]:
    return [label.get_text() for label in axes.get_yticklabels()]


def bars(axes: Axes) -> list[Rectangle]:
    return [bar for bar in axes.patches if isinstance(bar, Rectangle)]


def test_causes_stand_with_their_shares_largest_first(tail: ma.Trace) -> None:
    frame = tail.tail.df_causes()
    figure = tail.tail.plot_causes()
    figure.canvas.draw()
    assert [axes.get_title("left").split(":")[0] for axes in figure.axes] == ["direct", "memsc"]
    for axes, arm in zip(figure.axes, ["direct", "memsc"], strict=True):
        mine = frame[(frame["arm"] == arm) & (frame["band"] == "p99")].set_index("cause")
        widths = [bar.get_width() for bar in bars(axes)]
        expected = mine["share"].reindex(labels(axes)).fillna(0).tolist()
        assert widths == pytest.approx(expected)
        assert widths == sorted(widths, reverse=True)
        assert widths


def test_causes_in_a_report_are_in_the_order_of_the_first_column(tail: ma.Trace) -> None:
    for _, _, rows in cause_rows(summarise(tail)):
        shown = [row[1] for row in rows if not row[0].endswith(" more")]
        shares = [0.05 if "<" in cell else float(cell.split()[0]) for cell in shown if cell != "–"]
        assert shares == sorted(shares, reverse=True)
        assert shares


def test_noise_is_drawn_at_its_share_and_rate(tail: ma.Trace) -> None:
    frame = tail.noise.df_noise()
    figure = tail.noise.plot_noise()
    figure.canvas.draw()
    app = frame[(frame["side"] == "app") & (frame["arm"] == "memsc")].set_index("what")
    share, rate = figure.axes[:2]
    for axes, column in ((share, "share"), (rate, "per_s")):
        line = next(line for line in axes.lines if line.get_label() == "memsc")
        dots = np.asarray(line.get_xydata())
        for x, y in dots.tolist():
            assert x == pytest.approx(app[column][labels(share)[int(y)]])
        assert len(dots)


def test_steps_of_a_wake_up_fill_their_bar() -> None:
    trace = ma.open(RECORDED / "calls.memsc")
    frame = trace.wakeup.df_paths()
    figure = trace.wakeup.plot_paths()
    figure.canvas.draw()
    (axes,) = figure.axes
    ends: dict[float, float] = {}
    for bar in bars(axes):
        ends[bar.get_y()] = max(ends.get(bar.get_y(), 0), bar.get_x() + bar.get_width())
    assert list(ends.values()) == pytest.approx([1.0] * len(labels(axes)))
    assert len(ends) == (frame["share"] >= 1e-3).sum()


def test_what_cannot_be_drawn_says_why(tail: ma.Trace, tmp_path: Path) -> None:
    for draw in (tail.tail.plot_causes, tail.noise.plot_noise, tail.wakeup.plot_paths):
        with pytest.raises(MemscError, match="cannot draw"):
            draw("none")
    with pytest.raises(MemscError, match="--transport ipi"):
        tail.wakeup.plot_paths()
    bare = ma.open(traces.fabricate(tmp_path / "a.memsc", rounds=2, calls=300))
    with pytest.raises(MemscError, match="record for longer"):
        bare.tail.plot_causes()
    for draw in (bare.noise.plot_noise, bare.wakeup.plot_paths, bare.stacks.plot_functions):
        with pytest.raises(MemscError, match="--probes"):
            draw()
