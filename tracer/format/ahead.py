# SPDX-License-Identifier: MIT
"""Reads the next while one is worked on: decoding takes a core of its own, and no interpreter."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def ahead(jobs: Iterable[Callable[[], T]]) -> Iterator[T]:
    """What each job gives, in order; at most two results are held at a time.

    A job that fails raises where its result is due, not before.
    """
    with ThreadPoolExecutor(1) as pool:
        waiting: Future[T] | None = None
        for job in jobs:
            coming = pool.submit(job)
            if waiting:
                yield waiting.result()
            waiting = coming
        if waiting:
            yield waiting.result()
