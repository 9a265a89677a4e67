# SPDX-License-Identifier: MIT
"""The order in which arms, cases and names are shown."""

from __future__ import annotations

from collections.abc import Collection, Sequence

ORDER = ("direct", "ipi", "adaptive", "memsc", "memsc-scanner", "uring")
"""Arms as they are shown: the reference, the baseline, then ours."""


def in_order(arms: Collection[str]) -> list[str]:
    """Arms in the order they are shown."""
    known = [arm for arm in ORDER if arm in arms]
    return known + sorted(set(arms) - set(known))


def natural(name: str) -> tuple[int, str, int]:
    """Orders cases: `sync` first, then by name with `batch-8` before `batch-64`."""
    head, _, tail = name.rpartition("-")
    number = int(tail) if head and tail.isdigit() else 0
    return (name != "sync", head if number else name, number)


def few(names: Sequence[str], most: int = 4) -> str:
    """Names for a sentence: a handful, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
