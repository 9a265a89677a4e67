# SPDX-License-Identifier: MIT
"""What `report --json` prints is what its schema says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from tests.helpers import traces

from memsc.commands.__main__ import main

ROOT = Path(__file__).resolve().parents[2]
RECORDED = sorted(
    [*ROOT.glob("notebooks/traces/*.memsc"), *ROOT.glob("tests/unit/recorded/*.memsc")]
)
MADE = json.loads((ROOT / "docs" / "schemas" / "report.schema.json").read_text())


def report(capsys: pytest.CaptureFixture[str], *paths: Path) -> Any:
    main(["report", "--json", *map(str, paths)])
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_the_report_of_a_recorded_trace_is_as_the_schema_says(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jsonschema.validate(report(capsys, path), MADE)


def test_so_is_the_report_of_a_fleet(capsys: pytest.CaptureFixture[str]) -> None:
    jsonschema.validate(report(capsys, ROOT / "notebooks" / "traces" / "fleet"), MADE)


def test_the_schema_tells_what_is_no_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = report(capsys, traces.fabricate(tmp_path / "a.memsc", rounds=1, calls=50))
    jsonschema.validate(told, MADE)
    for change in (
        {"arms": None},
        {"clock": told["clock"] | {"hz": "fast"}},
        {"ratios": [{"arm": "memsc"}]},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(told | change, MADE)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({name: told[name] for name in told if name != "verdict"}, MADE)
