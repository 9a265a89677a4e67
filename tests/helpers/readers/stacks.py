# SPDX-License-Identifier: MIT
"""Readers of stacks."""

from __future__ import annotations

import base64
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.helpers import browser, firefox_profiler
from tests.helpers.readers.seen import (
    CALLS,
    READERS,
    STAGES,
    Export,
    Seen,
    Trial,
    of_debian,
    of_npm,
    tried,
)

FLAMEGRAPH = Path("/usr/share/perl5/Devel/NYTProf/flamegraph.pl")
"""Debian has it in libdevel-nytprof-perl."""


def stacks(export: Export) -> Iterator[Trial]:
    """Formats that speedscope opens."""
    page = READERS / "node_modules" / "speedscope" / "dist" / "release" / "index.html"
    if not page.exists() or browser.BROWSER is None:
        yield Trial("folded, speedscope, chrome, …", "speedscope", "it or Chromium is not here")
        return
    reader = of_npm("speedscope")

    def shown(name: str, *options: str) -> dict[str, str]:
        # Of several profiles it shows the first: that of one arm is asked for.
        return speedscope(page, export(name, "--arm", "memsc", *options))

    for name in ("folded", "speedscope", "chrome"):
        yield tried(name, reader, lambda name=name: _stages(shown(name), timed=name != "folded"))
    yield tried(
        "folded --base",
        f"{reader} (flamegraph.pl's is the format)",
        lambda: _differential(shown("folded", "--base", "direct")),
    )
    for name in ("calls-folded", "calls-speedscope", "profile-folded", "offcpu-folded"):
        yield tried(name, reader, lambda name=name: _paths(shown(name), calls=name[0] == "c"))
    yield tried("pprof", reader, lambda: _paths(shown("pprof"), calls=True))
    yield Trial("firefox", reader, "of Firefox it opens only what older developer tools saved")


def _differential(frames: dict[str, str]) -> Seen:
    return {
        "stacks": {re.sub(r" \d+$", "", frame) for frame in frames} >= STAGES,
        "frames by their names": not any(re.search(r" \d+$", frame) for frame in frames),
    }


def _paths(frames: dict[str, str], *, calls: bool) -> Seen:
    seen = {"call paths to _start": any("_start" in frame for frame in frames)}
    if calls:
        seen["stages"] = set(frames) >= STAGES
    seen["nanoseconds"] = any(re.search(r"\d[nµm]?s$", total) for total in frames.values())
    return seen


def _stages(found: dict[str, str], *, timed: bool) -> Seen:
    return {
        "stages": set(found) >= STAGES,
        "system calls": CALLS in found,
        "each name in one row": not any("{" in frame for frame in found),
        "nanoseconds": timed and all(re.search(r"\d[nµm]?s$", total) for total in found.values()),
    }


def speedscope(page: Path, file: Path) -> dict[str, str]:
    """The total of each frame of the profile that speedscope's own importer shows first."""
    script = file.with_suffix(".js")
    content = base64.b64encode(file.read_bytes()).decode()
    script.write_text(f"speedscope.loadFileFromBase64({file.name!r}, {content!r})")
    address = f"{page.as_uri()}#view=sandwich&localProfilePath={script}"
    text = browser.dom(address, height=4_000)  # it draws the rows that fit
    rows = re.findall(r"<tr[^>]*>\s*<td[^>]*>([^<]+?) \([^)]*\)<.*?>([^<>]+)</td></tr>", text)
    return {name: total.replace(",", "") for total, name in rows}


def go(export: Export) -> Trial:
    """Go's pprof."""
    try:
        said = subprocess.run(["go", "version"], capture_output=True, text=True, check=True).stdout
    except OSError:
        return Trial("pprof", "go tool pprof", "Debian's golang-go is not installed")
    reader = f"go tool pprof {said.split()[2].removeprefix('go')}"
    return tried("pprof", reader, lambda: _pprof(export("pprof")))


def _pprof(file: Path) -> Seen:
    def told(*options: str) -> str:
        run = ["go", "tool", "pprof", *options, str(file)]
        done = subprocess.run(run, capture_output=True, text=True, check=True, cwd=file.parent)
        return done.stdout

    texts = {index: told("-top", "-cum", f"-sample_index={index}") for index in ("calls", "time")}
    tags = told("-tags")
    return {
        "call paths to _start": all("_start" in text for text in texts.values()),
        "calls and nanoseconds": all(f"Type: {index}" in text for index, text in texts.items()),
        "system calls": all(CALLS in text for text in texts.values()),
        "arms and cases (tags)": "arm" in tags and "memsc" in tags,
        "stages": any("complete" in text for text in texts.values()),
    }


def firefox(export: Export) -> Trial:
    """Firefox Profiler's own importer."""
    if not firefox_profiler.COMMAND.exists():
        return Trial("firefox", "Firefox Profiler", "npm has not brought it")
    reader = f"Firefox Profiler ({of_npm(firefox_profiler.PACKAGE)})"
    return tried("firefox", reader, lambda: _firefox(export("firefox")))


def _firefox(file: Path) -> Seen:
    found = firefox_profiler.threads(file, file.parent)
    return {
        "call paths to _start": all(any("!_start" in f for f in one.functions) for one in found),
        "system calls": all(f"{CALLS}()" in one.functions for one in found),
        "arms": {one.name.split()[0] for one in found} == {"direct", "memsc"},
        "milliseconds": all(one.unit == "tracing-ms" for one in found),
        "calls as markers": all(one.markers.get(CALLS) for one in found),
        "stages (fields of markers)": all(one.fields.keys() >= STAGES for one in found),
    }


def flamegraph_pl(export: Export) -> Iterator[Trial]:
    """Brendan Gregg's script, of which folded stacks are the format."""
    differs = ("--base", "direct")
    for name, options in (("folded", ()), ("folded --base", differs), ("calls-folded", ())):
        if not FLAMEGRAPH.exists():
            yield Trial(name, "flamegraph.pl", "Debian's libdevel-nytprof-perl is not installed")
            continue
        reader = of_debian("flamegraph.pl", "libdevel-nytprof-perl")
        yield tried(
            name,
            reader,
            lambda name=name, options=options: _by_flamegraph_pl(
                export(name.split()[0], "--arm", "memsc", *options), differs=bool(options)
            ),
        )


def _by_flamegraph_pl(file: Path, *, differs: bool) -> Seen:
    run = ["perl", str(FLAMEGRAPH), str(file)]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    seen = {
        "stages": all(f">{stage}" in done.stdout for stage in STAGES),
        "system calls": CALLS in done.stdout,
        "every line": "Ignored" not in done.stderr,
    }
    if differs:
        seen["the change, by colour"] = "%)</title>" in done.stdout
    return seen
