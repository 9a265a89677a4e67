# SPDX-License-Identifier: MIT
"""Latency by call path: what is divided stays whole, and a program's calls are where they are."""

from __future__ import annotations

import gzip
import json
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from tests.helpers import firefox_profiler, traces
from tests.helpers.command import MEMSC
from tests.helpers.required import layered

from memsc import analysis as ma
from memsc.analysis.export.formats import Options, export
from memsc.analysis.report import text
from memsc.analysis.report.page import to_html
from memsc.analysis.report.summary import summarise
from memsc.analysis.trace import Trace
from memsc.probes.declaration import find
from memsc.runtime.errors import MemscError
from memsc.tracer.format import SESSION, Arm, ProbeStatus, Round
from memsc.tracer.format.output import prepare_output
from memsc.tracer.format.tables import STACKS, STACKS_SCHEMA
from memsc.tracer.format.writer import TraceWriter

TID, PID, CALLS, EVERY = 101, 100, 3000, 10
LONG, SHORT = (100, 200, 300, 400), (10, 20, 30, 40)
PLACES = Path(__file__).with_name("programs") / "paths.c"


def fabricated(
    folder: Path, arms: tuple[str, ...] = ("memsc",), stripped: tuple[str, ...] = ()
) -> Trace:
    """A trace of calls, every third of them long and made by `slow`, the others by `quick`."""
    rounds, described = list[Round](), dict[str, Arm]()
    looked = np.arange(0, CALLS, EVERY)
    frames = [
        *((0, 0, "memsc_dispatch", "/x/libmemsc-layer.so"), (0, 1, "read", "/lib/libc.so.6")),
        *((0, 2, "slow", "/bin/some"), (0, 3, "main", "/bin/some"), (0, 4, "_start", "/bin/some")),
        *((1, 0, "memsc_dispatch", "/x/libmemsc-layer.so"), (1, 1, "read", "/lib/libc.so.6")),
        *(
            (1, 2, "quick;er", "/bin/some"),
            (1, 3, "main", "/bin/some"),
            (1, 4, "_start", "/bin/some"),
        ),
    ]
    with TraceWriter(prepare_output(folder)) as writer:
        for number, arm in enumerate(arms):
            stages = np.array([LONG if i % 3 == 0 else SHORT for i in range(CALLS)])
            calls = traces.records(stages, tid=TID, start=2_000_000 + number * 20_000_000)
            start, end = int(calls["called"][0]) - 1000, int(calls["completed"][-1]) + 1000
            times = traces.CLOCK.ns(np.array([start, end]))
            key = Round(
                arm, "sync", number, start_ns=int(times[0]), end_ns=int(times[1]), pids=[PID]
            )
            events = np.zeros(len(looked), np.dtype(find("paths").layout()))
            events["time"] = traces.CLOCK.ns(calls["called"][looked].astype(np.int64)) - 20
            events["pid"], events["tid"], events["caller"] = PID, TID, TID
            events["number"] = calls["number"][looked]
            events["user_stack"] = np.where(looked % 3 == 0, 0, 1)
            writer.calls(key.key, PID, calls, traces.NAMES)
            writer.events("paths", events, {"kind": ("called",)})
            rounds.append(key)
            described[arm] = Arm(arm, "inline", [1], [0], CALLS, 0, CALLS)
        frames = [(s, d, "" if m in stripped else f, m) for s, d, f, m in frames]
        stack, depth, function, module = zip(*frames, strict=True)
        columns = {"stack": stack, "depth": depth, "function": function, "module": module}
        writer.append(
            STACKS,
            pa.table(
                {**columns, "offset": [7] * len(frames), "start": [-1] * len(frames)}, STACKS_SCHEMA
            ),
        )
        probes = {"paths": ProbeStatus(attached=True, seen=len(looked), lost=0)}
        writer.session(traces.session(rounds, described, probes=probes))
    return ma.open(folder)


def test_what_all_calls_took_is_divided_among_their_paths(tmp_path: Path) -> None:
    trace = fabricated(tmp_path / "a.memsc")
    calls = trace.paths.df_calls()
    assert len(calls) == CALLS // EVERY
    paths = trace.paths.df_paths()
    assert [trace.paths.path(stack).names for stack in paths["stack"]] == [
        ("_start", "main", "slow", "read"),
        ("_start", "main", "quick;er", "read"),
    ]
    ns = trace.session.clock.ns_per_cycle
    whole = CALLS / 3 * sum(LONG) + CALLS * 2 / 3 * sum(SHORT)
    assert paths["calls"].sum() == pytest.approx(CALLS)
    assert paths["total_ns"].sum() == pytest.approx(whole * ns)
    assert paths["total_ns"][0] == pytest.approx(CALLS / 3 * sum(LONG) * ns)
    for stage, cycles in zip(("post", "poll", "execute", "complete"), LONG, strict=True):
        assert paths[f"{stage}_ns"][0] == pytest.approx(CALLS / 3 * cycles * ns)
    # Of a third of 300 calls: the binomial's own.
    assert paths["calls_error"][0] == pytest.approx(CALLS * (2 / 9 / 300) ** 0.5)
    assert (paths["total_error_ns"] > 0).all()
    assert (paths["failed"] == 0).all()


def test_a_call_that_no_record_is_there_of_is_left_out(tmp_path: Path) -> None:
    trace = fabricated(tmp_path / "a.memsc")
    events = trace.folder.read("events/paths").to_pandas()
    moved = events.assign(time=events["time"] + 10**9, number=events["number"] + 1)
    for changed in (moved.iloc[:0], moved):
        found = trace.paths._matched(changed)  # pyright: ignore[reportPrivateUsage]
        assert found.empty


def test_a_report_says_where_calls_come_from(tmp_path: Path) -> None:
    trace = fabricated(tmp_path / "a.memsc")
    summary = summarise(trace)
    said = text.to_string(summary)
    assert "Where the calls come from: memsc, most time" in said
    assert "main → slow → read → getppid()" in said
    shown = to_html(trace, summary)
    assert "<h2>Where the calls come from</h2>" in shown
    assert "main → slow → read → getppid()" in shown
    assert f"{CALLS // EVERY} calls looked at" in shown
    assert max(map(len, said.splitlines())) <= text.WIDTH
    assert summary.paths is not None
    (first, second) = summary.paths.rows
    assert first.path[-2] == second.path[-2] == "read"
    assert summary.paths.calls == CALLS // EVERY


@pytest.mark.parametrize(
    ("stripped", "share"),
    [
        ((), {}),
        (("/bin/some",), {"/bin/some": 0.75}),
        (("/lib/libc.so.6",), {"/lib/libc.so.6": 0.25}),
    ],
)
def test_a_report_says_whose_functions_have_no_names(
    tmp_path: Path, stripped: tuple[str, ...], share: dict[str, float]
) -> None:
    trace = fabricated(tmp_path / "a.memsc", stripped=stripped)
    summary = summarise(trace)
    assert summary.paths is not None
    assert summary.paths.nameless == share
    said = text.to_string(summary)
    for module, of_frames in share.items():
        assert f"Frames without a name: {100 * of_frames:.0f} % in {module}" in said
    assert share or "Frames without a name" not in said
    assert ("Frames without a name" in to_html(trace, summary)) is bool(share)


def test_collapsed_stacks_end_in_the_stage(tmp_path: Path) -> None:
    trace = fabricated(tmp_path / "a.memsc", ("direct", "memsc"))
    out = tmp_path / "out"
    export(trace, "calls-folded", out)
    lines = dict(line.rsplit(" ", 1) for line in out.read_text().splitlines())
    assert len(lines) == 2 * 2 * 4
    (name,) = (
        line for line in lines if line.startswith("memsc;_start;main;slow;") and "poll" in line
    )
    assert int(lines[name]) == round(CALLS / 3 * LONG[1] * trace.session.clock.ns_per_cycle)
    assert all(line.count(";") == 6 for line in lines)
    export(trace, "calls-folded", out, Options(arm="memsc", base="direct"))
    for line in out.read_text().splitlines():
        _, old, new = line.rsplit(" ", 2)
        assert old == new
    export(trace, "calls-flamegraph", out)
    drawn = out.read_text()
    assert ">slow<" in drawn
    assert "quick;er" in drawn


# ---- pprof ----


def fields(message: bytes) -> list[tuple[int, Any]]:
    """Fields of a protocol-buffer message: numbers, and bytes of what has a length."""
    found: list[tuple[int, Any]] = []
    at = 0

    def varint() -> int:
        nonlocal at
        value, shift = 0, 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        key = varint()
        if key & 7 == 0:
            found.append((key >> 3, varint()))
        else:
            assert key & 7 == 2
            size = varint()
            found.append((key >> 3, message[at : at + size]))
            at += size
    return found


def test_pprof_has_calls_and_nanoseconds_of_each_path(tmp_path: Path) -> None:
    trace = fabricated(tmp_path / "a.memsc")
    out = tmp_path / "out.pb.gz"
    export(trace, "pprof", out)
    profile = fields(gzip.decompress(out.read_bytes()))
    strings = [value.decode() for number, value in profile if number == 6]
    assert strings[0] == ""
    kinds = [dict(fields(value)) for number, value in profile if number == 1]
    assert [(strings[k[1]], strings[k[2]]) for k in kinds] == [
        ("calls", "count"),
        ("time", "nanoseconds"),
    ]
    functions = {
        dict(fields(value))[1]: strings[dict(fields(value))[2]]
        for number, value in profile
        if number == 5
    }
    samples = [dict(fields(value)) for number, value in profile if number == 2]
    assert [functions[place] for place in samples[0][1]][1:] == ["read", "slow", "main", "_start"]
    assert len(samples) == 2


@pytest.mark.long
@pytest.mark.skipif(not shutil.which("go"), reason="needs Debian's golang-go")
def test_go_reads_pprof(tmp_path: Path) -> None:
    trace = fabricated(tmp_path / "a.memsc")
    out = tmp_path / "out.pb.gz"
    export(trace, "pprof", out)
    for index, whole in (("calls", CALLS), ("time", None)):
        command = ["go", "tool", "pprof", "-top", "-cum", f"-sample_index={index}", str(out)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
        assert f"Type: {index}" in done.stdout
        shown = {line.split()[-1]: line.split() for line in done.stdout.splitlines() if "%" in line}
        assert {"main", "slow", "quick;er", "read"} <= set(shown)
        if whole:
            assert shown["main"][3] == str(whole)
            assert shown["slow"][3] == str(whole // 3)


# ---- Firefox Profiler ----


def test_firefox_has_a_sample_and_a_marker_of_each_call(tmp_path: Path) -> None:
    trace = fabricated(tmp_path / "a.memsc", ("direct", "memsc"))
    out = tmp_path / "out.json"
    export(trace, "firefox", out)
    profile = json.loads(out.read_text())
    assert profile["meta"]["preprocessedProfileVersion"] == 47
    direct, memsc = profile["threads"]
    assert (direct["pid"], memsc["pid"]) == ("direct", "memsc")
    for thread in (direct, memsc):
        for name in ("samples", "markers", "stackTable", "frameTable", "funcTable"):
            table = thread[name]
            columns = [value for value in table.values() if isinstance(value, list)]
            assert {len(column) for column in columns} == {table["length"]}, name
        assert thread["samples"]["length"] == CALLS // EVERY
        strings, stacks = thread["stringArray"], thread["stackTable"]
        names: list[str] = []
        place = thread["samples"]["stack"][0]
        while place is not None:
            function = thread["frameTable"]["func"][stacks["frame"][place]]
            names.append(strings[thread["funcTable"]["name"][function]])
            place = stacks["prefix"][place]
        assert names[1:] == ["read", "slow", "main", "_start"]
        whole = (CALLS / 3 * sum(LONG) + CALLS * 2 / 3 * sum(SHORT)) * 1e-6
        weight = sum(thread["samples"]["weight"])
        assert weight == pytest.approx(whole * trace.session.clock.ns_per_cycle)
        marker = thread["markers"]["data"][0]
        assert marker["poll"] == pytest.approx(200e-6 * trace.session.clock.ns_per_cycle)


@pytest.mark.skipif(not firefox_profiler.COMMAND.exists(), reason="npm has not brought it")
def test_firefox_profiler_itself_shows_what_the_trace_has(tmp_path: Path) -> None:
    trace = fabricated(tmp_path / "a.memsc", ("direct", "memsc"))
    export(trace, "firefox", tmp_path / "out.json")
    ns = trace.session.clock.ns_per_cycle
    slow, quick = CALLS / 3 * sum(LONG) * ns * 1e-6, CALLS * 2 / 3 * sum(SHORT) * ns * 1e-6
    found = firefox_profiler.threads(tmp_path / "out.json", tmp_path)
    assert [one.name for one in found] == [f"direct {TID}", f"memsc {TID}"]
    for one in found:
        assert one.unit == "tracing-ms"
        assert one.functions["some!_start"] == pytest.approx(slow + quick)
        assert one.functions["some!slow"] == pytest.approx(slow)
        assert one.functions["some!quick;er"] == pytest.approx(quick)
        assert one.functions["libc.so.6!read"] == pytest.approx(slow + quick)
        assert sum(one.markers.values()) == CALLS // EVERY
        assert {"case", "result", "post", "poll", "execute", "complete"} <= one.fields.keys()


def test_firefox_takes_a_session_that_was_cut_short_before_its_first_round_ended(
    tmp_path: Path,
) -> None:
    arms = fabricated(tmp_path / "a.memsc").session.arms
    probes = {"paths": ProbeStatus(attached=True)}
    cut = traces.session([], arms, complete=False, probes=probes)
    (tmp_path / "a.memsc" / SESSION).write_bytes(msgspec.json.encode(cut))
    out = tmp_path / "out.json"
    export(ma.open(tmp_path / "a.memsc"), "firefox", out)
    profile = json.loads(out.read_text())
    (thread,) = profile["threads"]
    assert thread["samples"]["length"] == CALLS // EVERY
    clock = traces.CLOCK
    since = (clock.ns(np.array([2_000_000]))[0] - clock.anchor_ns) * 1e-6
    assert thread["samples"]["time"][0] == pytest.approx(since)


def test_a_trace_without_paths_says_what_brings_them(tmp_path: Path) -> None:
    folder = traces.fabricate(tmp_path / "a.memsc", rounds=2, calls=20)
    trace = ma.open(folder)
    with pytest.raises(MemscError, match="--probes paths"):
        trace.paths.df_paths()
    assert summarise(trace).paths is None


# ---- a real program ----


@pytest.mark.bpf
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the program is carried on x86-64")
@layered
def test_calls_of_a_program_are_where_it_makes_them(tmp_path: Path) -> None:
    program, folder = tmp_path / "paths", tmp_path / "paths.memsc"
    subprocess.run(["gcc", "-O2", "-o", str(program), str(PLACES)], check=True)
    command = [*MEMSC, "trace", "-o", str(folder)]
    command += ["--no-calibrate", "--transport", "direct", "--probes", "paths"]
    done = subprocess.run(
        [*command, "--paths-every", "7", "--", str(program), "4000"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    trace = ma.open(folder)
    paths = trace.paths.df_paths().query("syscall == 'getppid'")
    names = {trace.paths.path(int(stack)).names: n for stack, n in paths[["stack", "calls"]].values}
    by_caller = {path[-2]: calls for path, calls in names.items()}
    assert set(by_caller) == {"often", "seldom"}
    for path in names:
        assert path[0] == "_start"
        assert path[-1] == "getppid" or path[-1].endswith("getppid")
        assert "main" in path
    whole = sum(by_caller.values())
    assert whole == pytest.approx(4000)
    # One of seven of 4,000: three standard errors are 5 %.
    assert by_caller["often"] / whole == pytest.approx(0.75, abs=0.06)
    errors = trace.paths.df_paths().query("failed > 0")
    assert {trace.paths.path(int(stack)).names[-2] for stack in errors["stack"]} >= {"failing"}
