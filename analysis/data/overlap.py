# SPDX-License-Identifier: MIT
"""Intervals against intervals, without a loop over either: who had a CPU when, and for how long."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memsc.analysis.data.distinct import distinct

Ints = NDArray[np.int64]


class Segments(NamedTuple):
    """Disjoint stretches of one CPU's time, ascending.

    Attributes:
        start, end: shape (n,), nanoseconds.
        owner: shape (n,), index of the interval that has the CPU.
    """

    start: Ints
    end: Ints
    owner: Ints


class Pairs(NamedTuple):
    """Queries and segments that overlap.

    Attributes:
        query, segment: shape (n,), indices.
        ns: shape (n,), for how long, at least 1.
    """

    query: Ints
    segment: Ints
    ns: Ints


def flatten(start: Ints, end: Ints, level: Ints) -> Segments:
    """Who is on top: intervals that nest become stretches that do not.

    Args:
        start: begin of each interval of one CPU, in any order.
        end: of each.
        level: an interval interrupts those of lower levels. Of two of one level that overlap, which
            should not be, the later has the CPU until it ends.

    Returns:
        The covered time, cut where its owner changes.
    """
    if not len(start):
        return Segments(*(np.zeros(0, np.int64) for _ in range(3)))
    edges = distinct(np.concatenate([start, end]))
    owner = np.full(len(edges) - 1, -1) if len(edges) > 1 else np.zeros(0, np.int64)
    at = edges[:-1]
    for one in distinct(level):
        mine = np.flatnonzero(level == one)
        mine = mine[np.argsort(start[mine], kind="stable")]
        begins = start[mine]
        found = np.searchsorted(begins, at, "right") - 1
        active = (found >= 0) & (at < end[mine][found])
        owner = np.where(active, mine[found], owner)
    covered = owner >= 0
    return Segments(at[covered], edges[1:][covered], owner[covered])


def overlaps(start: Ints, end: Ints, segments: Segments) -> Pairs:
    """Every pair of a query and a segment that share time.

    Args:
        start: begin of each query, in any order.
        end: of each; those of no length overlap nothing.
        segments: disjoint and ascending.
    """
    first = np.searchsorted(segments.end, start, "right")
    last = np.searchsorted(segments.start, end, "left")
    query, segment = expand(first, np.where(end > start, last, first))
    ns = np.minimum(end[query], segments.end[segment]) - np.maximum(
        start[query], segments.start[segment]
    )
    real = ns > 0
    return Pairs(query[real], segment[real], ns[real])


def expand(first: Ints, last: Ints) -> tuple[Ints, Ints]:
    """The ranges first … last - 1 written out: which range, and which element, of each."""
    counts = np.maximum(last - first, 0)
    total = int(counts.sum())
    which = np.repeat(np.arange(len(counts)), counts)
    before = np.cumsum(counts) - counts
    return which, np.arange(total) - before[which] + first[which]


def covered_until(time: Ints, start: Ints, end: Ints) -> Ints:
    """How much of the time up to each instant intervals cover that follow one another.

    Args:
        time: instants.
        start: begin of each interval, ascending, none before the one before it has ended.
        end: of each.
    """
    if not len(start):
        return np.zeros(len(time), np.int64)
    before = np.cumsum(end - start) - (end - start)
    found = np.searchsorted(start, time, "right") - 1
    at = np.maximum(found, 0)
    return np.where(found >= 0, before[at] + np.minimum(time - start[at], (end - start)[at]), 0)
