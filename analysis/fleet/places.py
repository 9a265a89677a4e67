# SPDX-License-Identifier: MIT
"""Finds the traces of a fleet, on any file system that fsspec knows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any

from memsc.analysis.fleet.partition import Partition
from memsc.runtime.errors import MemscError
from memsc.tracer.format import SESSION, SUFFIX, location

_HOST, _RUN = "host=", "run="
_IN = "::"


def find_partitions(places: Sequence[str]) -> list[Partition]:
    """The traces at some places, each once, by path.

    Args:
        places: traces, folders of traces, folders of such folders, or patterns of any of them.

    Raises:
        MemscError: a place holds no trace, or its file system is not known here.
    """
    found = {path: _partition(path) for place in places for path in _traces(place)}
    return [found[path] for path in sorted(found)]


def _traces(place: str) -> list[str]:
    from fsspec.core import url_to_fs  # noqa: PLC0415 (seldom needed)

    location(place)  # says what is not installed
    fs, root = url_to_fs(place)
    what = f"cannot open {place}"
    try:
        matches = fs.glob(root) if any(c in root for c in "*?[") else [root] * fs.exists(root)
        found = [trace for match in matches for trace in _below(fs, match.rstrip("/"))]
    except PermissionError as error:
        raise MemscError(what, "permission denied", "check who may read it") from error
    if not found:
        why = "no trace is there" if matches else "nothing is there"
        raise MemscError(what, why, "name traces, or folders that hold them")
    if fs.protocol[0] == "file":
        return found
    _, *holder = place.split(_IN)  # as the archive that it is in: zip://*/::s3://bucket/a.zip
    return [_IN.join([fs.unstrip_protocol(trace), *holder]) for trace in found]


def _below(fs: Any, folder: str) -> Iterator[str]:
    for pattern in ("", "/*", "/*/*"):
        found = [folder] if not pattern else fs.glob(folder + pattern)
        traces = [path for path in found if _is_trace(fs, path)]
        if traces:
            yield from traces
            return


def _is_trace(fs: Any, path: str) -> bool:
    # A folder by that name is meant to be a trace: if it is none, that must be said, not passed by.
    return path.endswith(SUFFIX) or fs.exists(f"{path}/{SESSION}")


def _partition(path: str) -> Partition:
    parts = PurePosixPath(path.split(_IN, maxsplit=1)[0].rsplit("://", maxsplit=1)[-1]).parts
    hosts = [part.removeprefix(_HOST) for part in parts if part.startswith(_HOST)]
    run = parts[-1].removesuffix(SUFFIX).removeprefix(_RUN)
    return Partition(path, hosts[-1] if hosts else parts[-2] if len(parts) > 1 else "", run)
