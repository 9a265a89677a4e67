# SPDX-License-Identifier: MIT
"""The table of `memsc run --stats`, within 80 columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from textwrap import wrap

from memsc.runtime.tally import Tally

WIDTH = 80
_NAMED = 15  # system calls, one by one
_REASON = 42  # columns
_COUNT = 13
UNSEEN = "not seen: calls by a program's own instructions; memsc trace --probes syscalls"


def table(tally: Tally, how: str) -> Iterator[str]:
    """The lines of the table: sums and reasons, the most frequent calls, what went without.

    Args:
        tally: the counts.
        how: transport and service mode.
    """
    if not tally.programs:
        if not (tally.directly or tally.uncounted):
            yield "no statistics: the program was ended by a signal, or loads no library"
        yield from _without(tally)
        return
    yield _fitted(f"{how}: ", _times(Counter(tally.programs)))
    share = "" if tally.share is None else f"  {tally.share:.1%} of what can be"
    yield f"{'forwarded':<{_REASON + 2}}{tally.forwarded.total():>{_COUNT},}{share}"
    yield from _sums("missed", tally.missed_by_reason())
    yield from _sums("on the caller on purpose", tally.local_by_reason())
    yield ""
    yield from _calls(tally)
    yield from _without(tally)
    yield from wrap(_instructions(tally), WIDTH, subsequent_indent="  ")
    yield UNSEEN


def _sums(title: str, reasons: dict[str, Counter[str]]) -> Iterator[str]:
    total = sum(counts.total() for counts in reasons.values())
    yield f"{title:<{_REASON + 2}}{total:>{_COUNT},}"
    for why, counts in reasons.items():
        yield _fitted(
            f"  {_cut(why, _REASON):<{_REASON}}{counts.total():>{_COUNT},}  ",
            [name for name, _ in counts.most_common()],
        )


def _calls(tally: Tally) -> Iterator[str]:
    yield _row("system call", "forwarded", "missed", "on the caller")
    rows = tally.rows()
    # One call more takes the line that would say so.
    named = rows if len(rows) <= _NAMED + 1 else rows[:_NAMED]
    rest = rows[len(named) :]
    for name, *counts in named:
        yield _row(_cut(name, 24), *(f"{n:,}" for n in counts))
    if rest:
        forwarded, missed, local = (
            sum(counts) for counts in zip(*(row[1:] for row in rest), strict=True)
        )
        yield _row(f"{len(rest)} others", f"{forwarded:,}", f"{missed:,}", f"{local:,}")


def _row(name: str, *columns: str) -> str:
    forwarded, missed, local = columns
    return f"{name:<24}{forwarded:>14}{missed:>12}{local:>16}"


def _without(tally: Tally) -> Iterator[str]:
    """What ran and is not in the counts."""
    for (path, why), times in tally.directly.most_common():
        yield f"ran directly: {path}{_by(times)}: {why}"
    for name, times in tally.filtered.most_common():
        yield f"not counted: {name}{_by(times)}: calls made directly, after its own seccomp filter"
    for name, times in tally.uncounted.most_common():
        yield f"not counted: {name}{_by(times)}: ended by a signal"


def _instructions(tally: Tally) -> str:
    done, left = tally.groups["sites"], tally.groups["unpatched"]
    line = f"syscall instructions rewritten: {done.total():,} of {done.total() + left.total():,}"
    reasons = ", ".join(f"{why} {n:,}" for why, n in left.most_common())
    return f"{line} (left: {reasons})" if left else line


def _times(names: Counter[str]) -> list[str]:
    return [f"{name}{_by(n)}" for name, n in names.most_common()]


def _by(times: int) -> str:
    return f" ×{times}" if times > 1 else ""


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _fitted(head: str, words: list[str]) -> str:
    """As many of the words as the line has room for."""
    room, shown = WIDTH - len(head), 0
    for count in range(1, len(words) + 1):
        rest = f", +{len(words) - count}" if count < len(words) else ""
        if len(", ".join(words[:count]) + rest) > room:
            break
        shown = count
    if not shown:
        return _cut(head + ", ".join(words), WIDTH)
    rest = f", +{len(words) - shown}" if shown < len(words) else ""
    return head + ", ".join(words[:shown]) + rest
