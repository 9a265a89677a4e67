# SPDX-License-Identifier: MIT
"""The shared format: what Python derives is what C laid out, and nothing moves unnoticed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memsc.runtime import topology
from memsc.runtime.errors import MemscError
from memsc.runtime.files import LAYOUT
from memsc.runtime.launch import MODES, TRANSPORTS
from memsc.runtime.layout import MAGIC, VERSION, layout
from memsc.tracer.format import FLAGS, POLLS, polls_of

GOLDEN = Path(__file__).with_name("golden") / f"layout-{VERSION}.json"
HEADER = Path(__file__).resolve().parents[2] / "runtime" / "src" / "layout.h"


def described(dtype: np.dtype[Any]) -> Any:
    """A dtype as plain values: fields with offset, size and type, at any depth."""
    if dtype.subdtype is not None:
        element, shape = dtype.subdtype
        return {"shape": list(shape), "of": described(element)}
    if dtype.fields is None:
        return dtype.str
    fields = {name: (found[0], int(found[1])) for name, found in dtype.fields.items()}
    return {
        "size": dtype.itemsize,
        "fields": {name: [offset, described(kind)] for name, (kind, offset) in fields.items()},
    }


def test_no_field_moves_without_a_new_version() -> None:
    """If this fails, step MEMSC_LAYOUT_VERSION, layout.VERSION and the golden file together.

    Where it is the size of the registry alone, MEMSC_REGISTRY_VERSION.
    """
    found = layout()
    parts = {"region": found.region, "slot": found.slot, "pages": found.pages, "call": found.call}
    now = {
        **{name: described(dtype) for name, dtype in parts.items()},
        "enums": {name: dict(values) for name, values in found.enums.items()},
    }
    assert now == json.loads(GOLDEN.read_text())


def test_library_header_and_python_agree_on_the_version() -> None:
    numbers = layout().enums["numbers"]
    assert (numbers["LAYOUT_VERSION"], numbers["MAGIC"]) == (VERSION, MAGIC)
    assert f"#define MEMSC_LAYOUT_VERSION {VERSION}u" in HEADER.read_text()


def test_sizes_are_what_the_format_promises() -> None:
    found = layout()
    assert found.call.itemsize == 64
    assert found.pages["page"].base.itemsize == 4096
    assert found.pages.itemsize % 4096 == 0
    assert found.region.itemsize <= 4096
    assert found.slot.itemsize % 4096 == 0


def test_flags_have_one_meaning_everywhere() -> None:
    flags = layout().enums["call_flags"]
    prefix = "CALL_"
    assert {name.removeprefix(prefix).lower(): value for name, value in flags.items()} == FLAGS


def test_polls_are_unpacked_as_they_are_packed() -> None:
    enum = layout().enums["polls"]
    assert {f"{side.upper()}_SHIFT": shift for side, shift in POLLS.items()} == {
        name.removeprefix("POLLS_"): enum[name]
        for name in ("POLLS_SERVICE_SHIFT", "POLLS_APP_SHIFT")
    }
    for polls, unpacked in (
        (0, 0),
        (5, 5),
        (2047, 2047),
        (2048, 2048),
        (2300, 2176),
        (1 << 30, 262_016),
    ):
        packed = min(2048 + (polls >> 7), 4095) if polls >= 2048 else polls
        flags = np.array([packed << POLLS["app"] | 7 << POLLS["service"] | FLAGS["woke"]])
        assert polls_of(flags, "app").tolist() == [unpacked]
        assert polls_of(flags, "service").tolist() == [7]


def test_names_of_transports_and_modes_are_those_of_the_library() -> None:
    enums = layout().enums
    assert [name.lower() for name in enums["transport"]] == list(TRANSPORTS)
    assert [name.lower() for name in enums["service_mode"]] == list(MODES)
    assert layout().region["service"].shape == (topology.MOST_SERVICES,)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        LAYOUT.read_bytes()[:2000],
        LAYOUT.read_bytes().replace(b'"<u4"', b'"four"'),
        LAYOUT.read_bytes().replace(b'"size"', b'"bytes"'),
    ],
)
def test_a_damaged_description_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "layout.json"
    file.write_bytes(content)
    with pytest.raises(MemscError, match="damaged; install memsc again"):
        layout(file)


def test_a_library_of_another_version_is_refused(tmp_path: Path) -> None:
    found = json.loads(LAYOUT.read_text())
    found["enums"]["numbers"]["LAYOUT_VERSION"] += 1
    file = tmp_path / "layout.json"
    file.write_text(json.dumps(found))
    with pytest.raises(MemscError, match=f"version {VERSION + 1} .* install memsc again"):
        layout(file)


def test_a_missing_description_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MemscError, match="install memsc again"):
        layout(tmp_path / "layout.json")
