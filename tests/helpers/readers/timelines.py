# SPDX-License-Identifier: MIT
"""Readers of timelines and pictures."""

from __future__ import annotations

import importlib
import subprocess
from pathlib import Path

from tests.helpers import browser
from tests.helpers.readers.seen import CALLS, STAGES, Export, Seen, Trial, tried


def perfetto(file: Path) -> Seen:
    """Perfetto's own description of its format."""
    proto = importlib.import_module("perfetto.protos.perfetto.trace.perfetto_trace_pb2")
    parsed = proto.Trace()
    parsed.ParseFromString(file.read_bytes())
    names: set[str] = set()
    told: set[str] = set()
    tracks: set[str] = set()
    flows = False
    for packet in parsed.packet:
        names |= {entry.name for entry in packet.interned_data.event_names}
        told |= {entry.name for entry in packet.interned_data.debug_annotation_names}
        tracks.add(packet.track_descriptor.name)
        flows = flows or bool(packet.track_event.flow_ids)
    return {
        "calls and stages": names >= {CALLS, *STAGES},
        "results and flags": bool(told),
        "arrows from call to service": flows,
        "kernel events by CPU": any(track.startswith("CPU") for track in tracks),
    }


def drawn(name: str, export: Export) -> Trial:
    """A browser."""
    if browser.BROWSER is None:
        return Trial(name, "Chromium", "it is not installed")
    said = subprocess.run(
        [browser.BROWSER, "--version"], capture_output=True, text=True, check=True
    )
    return tried(name, " ".join(said.stdout.split()[:2]), lambda: _drawn(export(name)))


def _drawn(file: Path) -> Seen:
    text = browser.dom(file.as_uri())
    seen = {"names and times on hovering": "<title>" in text}
    if not file.name.startswith(("profile", "offcpu")):
        return {"stages": all(f";{stage}: " in text for stage in STAGES), **seen}
    return {"call paths to _start": "_start;" in text, **seen}
