# SPDX-License-Identifier: MIT
"""The sides of `memsc compare` on the command line: what stands before and behind `--`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from memsc.runtime.errors import USAGE, MemscError

APART = "\0--"
"""Stands between the sides for argparse, which takes `--` away; no argument can be this."""


RECORD = "--record"


def sides_apart(argv: Sequence[str]) -> list[str]:
    """A command line on which argparse leaves the sides of a comparison apart."""
    if "--" not in argv:
        return list(argv)
    first = argv.index("--")
    before, behind = argv[:first], argv[first + 1 :]
    if RECORD in before:  # all that is behind are programs and their own options
        return [*before, "--", *(APART if word == "--" else word for word in behind)]
    return [*before, APART, *behind]


def programs_of(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The programs of both sides, which are one and the same if only one is named.

    Raises:
        MemscError: it is not said what they are.
    """
    sides: list[list[str]] = [[]]
    for word in words:
        if word == APART:
            sides.append([])
        else:
            sides[-1].append(word)
    if len(sides) > 2 or not all(sides):
        why = "a side has no program" if len(sides) < 3 else "there are more than two sides"
        remedy = "write it as -- BASE … -- NEW …; a program that needs a -- goes into sh -c"
        raise MemscError("memsc compare --record", why, remedy, USAGE)
    return sides[0], sides[-1]


def sides_of(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The traces of each side: two, or as many as stand before and behind `--`.

    Raises:
        MemscError: it is not said which belong where.
    """
    if APART in words:
        at = list(words).index(APART)
        base, new = list(words[:at]), list(words[at + 1 :])
        if base and new:
            return traces_of(base), traces_of(new)
        why = "a side has no traces"
    elif len(words) == 2:
        return traces_of(words[:1]), traces_of(words[1:])
    else:
        why = f"of {len(words)} traces it is not said which are BASE and which NEW"
    raise MemscError("memsc compare", why, "write it as BASE… -- NEW…", USAGE)


def traces_of(places: Sequence[str]) -> list[str]:
    """Traces, and those in folders of such."""
    found: list[str] = []
    for place in places:
        path = Path(place)
        inside = sorted(map(str, path.glob("*.memsc"))) if _holds_traces(path) else []
        found += inside or [place]
    return found


def _holds_traces(path: Path) -> bool:
    return path.is_dir() and path.suffix != ".memsc" and not (path / "session.json").exists()
