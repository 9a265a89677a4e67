# SPDX-License-Identifier: MIT
"""The examples of the docstrings say what comes out, on a trace that is shipped."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from functools import cache
from pathlib import Path

import pytest

from memsc import analysis as ma
from memsc import bench
from memsc.tracer import format as fmt

ROOT = Path(__file__).resolve().parents[2]
TRACES = {
    "t": "notebooks/traces/calls.memsc",
    "noisy": "notebooks/traces/tail.memsc",
    "counted": "notebooks/traces/counters.memsc",
    "timed": "notebooks/traces/thesis.memsc",
    "sampled": "tests/unit/recorded/sampled.memsc",
}
"""Names that examples use."""
MODULES = sorted(
    found.name
    for package in (ma, bench)
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
)


@cache
def opened() -> dict[str, ma.Trace]:
    """Those traces; what one example reads is there for the next."""
    return {name: ma.open(ROOT / path) for name, path in TRACES.items()}


@pytest.mark.parametrize("name", ["memsc.analysis", *MODULES, fmt.__name__])
def test_examples_are_true(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    known = {**opened(), "ma": ma, "file": tmp_path / "figure.png"}
    found = doctest.testmod(importlib.import_module(name), extraglobs=known)
    assert found.failed == 0
