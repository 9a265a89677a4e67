# SPDX-License-Identifier: MIT
"""The shared format as NumPy dtypes, as the build of the library has written it down.

`runtime/src/layout.h` is the only definition; nothing here knows an offset. `layout.json` is made
from it when the library is compiled (`runtime/describe.py`), and lies beside the library.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from memsc.runtime.errors import MemscError
from memsc.runtime.files import LAYOUT, REINSTALL

VERSION = 8  # MEMSC_LAYOUT_VERSION that this Python knows how to read
MAGIC = 0x3130637333656D6D


@dataclass(frozen=True)
class Layout:
    """dtypes of the region's parts, and the enumerations by name."""

    region: np.dtype[Any]
    slot: np.dtype[Any]
    pages: np.dtype[Any]
    call: np.dtype[Any]
    enums: Mapping[str, Mapping[str, int]]


@functools.cache
def layout(path: Path = LAYOUT) -> Layout:
    """The shared format of a built library.

    Args:
        path: what its build has written.

    Raises:
        MemscError: the file is missing, damaged, or of a library that this Python cannot read.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        enums: dict[str, dict[str, int]] = found["enums"]
        version = enums["numbers"]["LAYOUT_VERSION"]
        parts = {part: _dtype(found[part]) for part in ("region", "slot", "pages", "call")}
    except OSError as error:
        why = error.strerror or "unreadable"
        raise MemscError(f"reading {path.name}", why, REINSTALL) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise MemscError(f"reading {path.name}", "it is damaged", REINSTALL) from error
    if version != VERSION:
        why = f"the library writes version {version} of the format, this memsc reads {VERSION}"
        raise MemscError(f"reading {path.name}", why, REINSTALL)
    return Layout(**parts, enums=enums)


def _dtype(kind: Any) -> np.dtype[Any]:
    if isinstance(kind, str):
        return np.dtype(kind)
    if "of" in kind:
        return np.dtype((_dtype(kind["of"]), tuple(kind["shape"])))
    fields: dict[str, tuple[int, Any]] = kind["fields"]
    return np.dtype(
        {
            "names": list(fields),
            "formats": [_dtype(of) for _, of in fields.values()],
            "offsets": [offset for offset, _ in fields.values()],
            "itemsize": kind["size"],
        }
    )
