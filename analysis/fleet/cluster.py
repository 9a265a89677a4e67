# SPDX-License-Identifier: MIT
"""The same work on the workers of a `dask.distributed` cluster.

A worker that is lost loses its work alone: the scheduler gives it to another. What comes back is
in the order it was handed out, whichever worker did it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any, TypeVar

from memsc.runtime.errors import MemscError

T = TypeVar("T")
R = TypeVar("R")

PATIENCE_S = 60.0
"""How long no worker may be there before the work is given up."""
_LOOK_S = 2.0


def on_cluster(
    address: str,
    work: Callable[[T], R],
    items: Sequence[T],
    failed: Callable[[T, str], R],
    progress: Callable[[R], None] | None = None,
) -> list[R]:
    """Does some work for each item on a cluster.

    Args:
        address: of its scheduler, as in `tcp://10.0.0.1:8786`.
        work: a function that the workers can import, or a `partial` of one; its result is small.
        items: what it is done for.
        failed: what stands for an item whose work cannot be done, given why: every worker that
            tried it died, or memsc itself failed.
        progress: told each result as it comes.

    Returns:
        One result an item, in the items' order.

    Raises:
        MemscError: dask is not installed, no cluster answers, its workers have another memsc or
            none, or all of them are gone.
    """
    what = f"cannot use the cluster {address}"
    try:
        from distributed import Client, wait  # noqa: PLC0415 (an extra, and slow to import)
    except ImportError as error:
        remedy = "pip install 'memsc[scale]'"
        raise MemscError(what, "dask.distributed is not installed", remedy) from error
    try:
        client = Client(address, timeout="10s", set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        why = f"no scheduler answers ({_line(error)})"
        raise MemscError(what, why, "start one with `dask scheduler`, or check it") from error
    with client, client.as_current():
        _same_memsc(client, what)
        futures: list[Any] = client.map(work, list(items), pure=False, retries=1)
        index = {future.key: i for i, future in enumerate(futures)}
        results: dict[int, R] = {}
        open_ones, alone_since = list(futures), time.monotonic()
        while open_ones:
            try:
                waited: Any = wait(open_ones, timeout=_LOOK_S, return_when="FIRST_COMPLETED")
                done: set[Any] = waited.done
            except TimeoutError:
                done = set()
            if done or client.scheduler_info(n_workers=-1)["workers"]:
                alone_since = time.monotonic()
            elif time.monotonic() - alone_since > PATIENCE_S:
                raise MemscError(what, "it has no workers left", "start some and try again")
            for future in done:
                result = _result(future, items[index[future.key]], failed)
                results[index[future.key]] = result
                if progress:
                    progress(result)
            open_ones = [future for future in open_ones if future not in done]
        return [results[i] for i in range(len(items))]


def _result(future: Any, item: T, failed: Callable[[T, str], R]) -> R:
    try:
        return future.result()
    except Exception as error:  # whatever a worker raised, or KilledWorker when it died of it
        return failed(item, f"{type(error).__name__}: {_line(error)}")


def memsc_version() -> str:
    """The version of memsc here: what a worker is asked for."""
    return version("memsc")


def _same_memsc(client: Any, what: str) -> None:
    ours = memsc_version()
    try:
        found: dict[str, str] = client.run(memsc_version)
    except Exception as error:  # a worker without memsc cannot even read the question
        why = f"its workers have no memsc ({_line(error)})"
        raise MemscError(what, why, "install memsc where the workers run") from error
    others = sorted({theirs for theirs in found.values() if theirs != ours})
    if others:
        why = f"its workers have memsc {', '.join(others)}, here is {ours}"
        raise MemscError(what, why, "install the same version everywhere")


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
