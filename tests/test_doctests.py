# SPDX-License-Identifier: MIT
"""The examples of the docstrings say what comes out, on a trace that is shipped."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

from memsc import analysis as ma
from memsc.tracer import format as fmt

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted(f"memsc.analysis.{found.name}" for found in pkgutil.iter_modules(ma.__path__))


@pytest.mark.parametrize("name", ["memsc.analysis", *MODULES, fmt.__name__])
def test_examples_are_true(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    trace = ma.open("notebooks/traces/calls.memsc")
    known = {"ma": ma, "t": trace, "file": tmp_path / "figure.png"}
    found = doctest.testmod(importlib.import_module(name), extraglobs=known)
    assert found.failed == 0
