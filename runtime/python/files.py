# SPDX-License-Identifier: MIT
"""What the native build made, and where it lies.

A module of its own, so that `memsc run` finds the layer without loading the library.
"""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).resolve().parent
# Where memsc is installed it is beside this file, in the sources beside this folder.
NATIVE = (_HERE if (_HERE / "native").is_dir() else _HERE.parent) / "native"
LIBRARY = NATIVE / "libmemsc.so.0"
LAYOUT = NATIVE / "layout.json"
LAYER = NATIVE / "libmemsc-layer.so"
WORK = NATIVE / "memsc-work"
PEERS = NATIVE / "memsc-peers"
LAUNCH = NATIVE / "memsc-launch"

# The remedy where one of them is missing or of another version.
REINSTALL = "install memsc again, or run `make setup` where its sources are"
