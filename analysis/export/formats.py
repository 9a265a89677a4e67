# SPDX-License-Identifier: MIT
"""Every format a trace can be exported to: one function each, registered by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memsc.analysis.data.order import few, natural
from memsc.analysis.data.scan import ALL, Cell
from memsc.analysis.data.sketch import QUANTITIES, TOTAL
from memsc.analysis.export.hgrm import deviation, to_hgrm
from memsc.analysis.export.timeline import first_calls
from memsc.analysis.trace import Trace
from memsc.runtime.errors import USAGE, MemscError
from memsc.runtime.outputs import written

if TYPE_CHECKING:
    from memsc.analysis.report.flames import Difference


@dataclass(frozen=True, slots=True)
class Options:
    """What of the trace goes into the file; None lets the format choose.

    Attributes:
        table: which table.
        arm, case, syscall: which calls.
        base: the arm that `arm` is compared with.
        stage: which quantity of a histogram.
        calls: how many of each arm a timeline shows; 0 for all.
        window: seconds since the first round's start, from and to.
    """

    table: str | None = None
    arm: str | None = None
    base: str | None = None
    case: str | None = None
    syscall: str = ALL
    stage: str = TOTAL
    calls: int | None = None
    window: tuple[float | None, float | None] = (None, None)


DIFFERENTIAL = ("folded", "flamegraph", "calls-folded", "calls-flamegraph")
"""Formats that can set one arm against another."""

Export = Callable[[Trace, Path, Options], str]
"""Writes a file and says in a few words what is in it."""


def export(trace: Trace, name: str, path: Path, options: Options | None = None) -> str:
    """Writes a trace in another format.

    Args:
        trace: the trace.
        name: one of `FORMATS`.
        path: the file; it is made whole or not at all.
        options: what goes into it.

    Returns:
        What was written, in a few words.

    Raises:
        MemscError: unknown format or option, nothing to write, or the file cannot be written.
    """
    what = f"cannot export {trace.name} as {name}"
    options = options or Options()
    if options.base is not None and name not in DIFFERENTIAL:
        why = "this format shows no differences"
        raise MemscError(
            what, why, f"leave --base out, or choose {' or '.join(DIFFERENTIAL)}", USAGE
        )
    if name not in FORMATS:
        raise MemscError(what, "unknown format", f"choose from {', '.join(FORMATS)}", USAGE)
    if name in _OF_ALL_CALLS:
        trace.stages.need_sample(what)
    with written(path, what) as place:
        return FORMATS[name](trace, place, options)


def narrowed(trace: Trace, options: Options) -> Trace:
    """The trace with the calls that options name.

    Raises:
        MemscError: there are none.
    """
    syscall = None if options.syscall == ALL else options.syscall
    start, end = options.window
    found = trace.where(arm=options.arm, case=options.case, syscall=syscall)[start:end]
    if next(first_calls(found, 1), None) is None:
        chosen(trace, options)
        why, remedy = "no calls in that window", "it is seconds since the trace's start"
        raise MemscError(f"cannot export {trace.name}", why, remedy, USAGE)
    return found


def chosen(trace: Trace, options: Options) -> Cell:
    """The one cell that options name: by default `memsc` (or the first arm) in the first case.

    Raises:
        MemscError: there is no such cell.
    """
    cells = trace.stages.cells()
    fits = [
        cell
        for cell in cells
        if options.arm in (None, cell.arm)
        and options.case in (None, cell.case)
        and cell.syscall == options.syscall
    ]
    if not fits:
        wanted = f"{options.arm or 'any arm'}/{options.case or 'any case'}/{options.syscall}"
        raise MemscError(
            f"cannot export {trace.name}", f"no calls of {wanted}", _known(cells, options), USAGE
        )
    first = min((cell.case for cell in fits), key=natural)
    fits = [cell for cell in fits if cell.case == first]
    return next((cell for cell in fits if cell.arm == "memsc"), fits[0])


def _known(cells: list[Cell], options: Options) -> str:
    """What could have been asked for in place of the first name that is not there."""
    for name, asked in (("arm", options.arm), ("case", options.case), ("syscall", options.syscall)):
        found = list(dict.fromkeys(str(getattr(cell, name)) for cell in cells))
        if asked is not None and asked not in found:
            return f"its {name}s are {few(found)}" if found else "it has no calls"
        cells = [cell for cell in cells if asked in (None, getattr(cell, name))]
    return "choose another arm or case"


def _hgrm(trace: Trace, path: Path, options: Options) -> str:
    cell = chosen(trace, options)
    if options.stage not in QUANTITIES:
        why = f"there is no stage {options.stage}"
        raise MemscError("cannot export hgrm", why, f"it is {', '.join(QUANTITIES)}", USAGE)
    quantity = QUANTITIES.index(options.stage)
    whole = trace.cells.whole(cell)
    histogram, ns = whole.histograms[quantity], trace.session.clock.ns_per_cycle
    mean = int(whole.sums[quantity]) / whole.n
    spread = deviation(histogram, mean) * ns
    largest = int(whole.maxs[quantity]) * ns
    path.write_text(to_hgrm(histogram, ns, mean * ns, spread, largest), encoding="utf-8")
    return f"{options.stage} of {whole.n} calls of {'/'.join(cell)}, nanoseconds"


def _later(module: str, name: str) -> Any:
    """A writer that is imported when it is called: each needs libraries that the others do not."""

    def write(*args: Any) -> Any:
        return getattr(import_module(f"memsc.analysis.{module}"), name)(*args)

    return write


def _whole(module: str, name: str) -> Export:
    write = _later(module, name)
    return lambda trace, path, _: write(trace, path)


def _chosen(module: str, name: str) -> Export:
    write = _later(module, name)
    return lambda trace, path, options: write(narrowed(trace, options), path)


def _table(kind: str) -> Export:
    write_table = _later("export.tables", "write_table")

    def write(trace: Trace, path: Path, options: Options) -> str:
        name = options.table or "stages"
        write_table(trace, name, kind, path)
        return f"table {name}"

    return write


def _timeline(module: str, name: str) -> Export:
    write = _later(module, name)

    def writer(trace: Trace, path: Path, options: Options) -> str:
        found = narrowed(trace, options)
        if options.calls is None:
            return str(write(found, path))
        return str(write(found, path, options.calls or None))

    return writer


def _stacks(whole: str, against: str, differs: str) -> Export:
    write, write_difference = _later(_FOLDED, whole), _later(_FOLDED, against)
    difference: Callable[..., Difference] = _later("report.flames", differs)

    def writer(trace: Trace, path: Path, options: Options) -> str:
        if options.base is None:
            return str(write(narrowed(trace, options), path))
        # The two arms stay; the rest of what was asked for narrows both.
        found = narrowed(trace, replace(options, arm=None))
        arm = options.arm or next((a for a in ("memsc", *trace.arms) if a in trace.arms), "memsc")
        return str(write_difference(difference(found, arm, options.base, options.case), path))

    return writer


def _of_threads(name: str, probe: str) -> Export:
    write = _later("export.stacks", name)
    return lambda trace, path, options: write(narrowed(trace, options), probe, path)


_FOLDED = "export.folded"
_OF_ALL_CALLS = (
    *("hgrm", "hlog", "folded", "flamegraph", "speedscope"),
    *("calls-folded", "calls-flamegraph", "calls-speedscope", "pprof"),
)
FORMATS: dict[str, Export] = {
    "hgrm": _hgrm,
    "hlog": _whole("export.hlog", "write_hlog"),
    "folded": _stacks("write_folded", "write_folded_difference", "difference"),
    "flamegraph": _stacks("write_flamegraph", "write_flamegraph_difference", "difference"),
    "speedscope": _chosen(_FOLDED, "write_speedscope"),
    "calls-folded": _stacks("write_calls_folded", "write_folded_difference", "difference_of_calls"),
    "calls-flamegraph": _stacks(
        "write_calls_flamegraph", "write_flamegraph_difference", "difference_of_calls"
    ),
    "calls-speedscope": _chosen(_FOLDED, "write_calls_speedscope"),
    "pprof": _chosen("export.pprof", "write_pprof"),
    "firefox": _chosen("export.firefox", "write_firefox"),
    "chrome": _timeline("export.chrome", "write_chrome"),
    "perfetto": _timeline("export.perfetto", "write_perfetto"),
    **{
        f"{probe}-{name}": _of_threads(write, probe)
        for probe in ("profile", "offcpu")
        for name, write in (("folded", "write_stacks"), ("flamegraph", "draw_stacks"))
    },
    "openmetrics": _whole("export.openmetrics", "write_openmetrics"),
    "csv": _table("csv"),
    "arrow": _table("arrow"),
    "parquet": _table("parquet"),
}
