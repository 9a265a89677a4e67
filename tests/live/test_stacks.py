# SPDX-License-Identifier: MIT
"""Stacks on and off the CPU: of a real program that is where it says, and placed by stage."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from matplotlib.patches import Rectangle
from tests.helpers import traces
from tests.helpers.command import MEMSC
from tests.helpers.required import layered

from memsc import analysis as ma
from memsc.analysis.domains.stacks import Stacks
from memsc.runtime.errors import MemscError
from memsc.tracer.format import Arm, ProbeStatus, Round, open_trace
from memsc.tracer.format.output import prepare_output
from memsc.tracer.format.tables import STACKS, STACKS_SCHEMA
from memsc.tracer.format.writer import TraceWriter

PLACES = Path(__file__).with_name("programs") / "places.c"
SLEEPS = 53


@pytest.mark.bpf
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the program is written for x86-64")
@layered
def test_a_program_is_seen_where_it_is_though_it_is_gone_by_then(tmp_path: Path) -> None:
    program, folder = tmp_path / "places", tmp_path / "places.memsc"
    command = ["gcc", "-O1", "-fno-omit-frame-pointer", "-o", str(program), str(PLACES)]
    subprocess.run(command, check=True)
    command = [*MEMSC, "trace", "-o", str(folder)]
    command += ["--transport", "direct", "--probes", "profile,offcpu", "--"]
    done = subprocess.run(
        [*command, str(program), "300", str(SLEEPS)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not program.exists()
    trace = open_trace(folder)
    (done_round,) = trace.session.rounds
    assert done_round.events_lost == {"profile": 0, "offcpu": 0}
    # Rings apart, the kernel skips a hit while its CPU is inside another BPF program, which may be
    # another tracer's on this machine; it tells how many.
    missed = trace.session.probes["offcpu"].lost
    assert missed is not None
    stacks = ma.open(folder).stacks
    on = stacks.df_folded("profile", kernel=False)
    on = on[on["side"] == "application"]
    spinning = on[on["stack"].str.endswith("main;outer;spin_here")]["weight"].sum()
    assert spinning > 0
    assert on[on["stack"].str.contains("[anon]", regex=False)]["weight"].sum() > 0
    # Nothing that a program does in user space is seen as the kernel's.
    assert not on["stack"].str.contains("_[k]", regex=False).any()

    off = stacks.df_folded("offcpu")
    asleep = off[off["stack"].str.contains("main;outer;sleep_here;.*nanosleep.*_\\[k\\]")]
    assert len(asleep) >= 1
    events = trace.read("events/offcpu").to_pandas()
    frames = trace.read("stacks").to_pandas()
    leaves = frames[(frames["depth"] == 0) & (frames["function"] == "sleep_here")]["stack"]
    mine = events[events["user_stack"].isin(set(leaves)) & (events["kind"] != "preempted")]
    slept = int(done.stdout)
    assert slept - missed <= len(mine) <= slept
    assert 0 < slept <= SLEEPS
    seen = mine[mine["kind"] == "blocked"]
    # A sleep has begun before the thread is off its CPU, on a slow machine long before.
    assert (seen["duration"] > 0).all()
    assert seen["duration"].max() >= 200_000
    assert (seen["waited"] <= seen["duration"]).all()


@pytest.mark.bpf
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the program is written for x86-64")
@layered
def test_a_static_program_is_seen_whole_inlined_made_or_too_deep(tmp_path: Path) -> None:
    program, folder = tmp_path / "whole", tmp_path / "whole.memsc"
    source = PLACES.with_name("whole.cc")
    command = ["g++", "-O2", "-g", "-static-pie", "-o", str(program), str(source)]
    subprocess.run(command, check=True)
    command = [*MEMSC, "trace", "-o", str(folder), "--transport", "direct", "--probes", "profile"]
    # A program that is linked statically is carried by nobody, but seen beside one that is.
    command += ["--no-calibrate", "--", "sh", "-c", f"{program} 0.2; true"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 4), done.stderr
    pid = done.stdout.split()[0]
    Path(f"/tmp/perf-{pid}.map").unlink()
    folded = ma.open(folder).stacks.df_folded("profile", kernel=False)
    seen = folded.groupby("stack")["weight"].sum()
    whole = [stack for stack in seen.index if stack.startswith("_start;") and ";main;" in stack]
    ends = {stack.split(";main;")[1]: seen[stack] for stack in whole}
    assert ends["outer(double);spin_inlined"] > 0
    assert ends["made(double);py::handler:/srv/app.py"] > 0
    # Of 302 frames a walk has the innermost 127, and says that there are more.
    deep = [stack for stack in seen.index if stack.endswith("outer(double);spin_inlined")]
    cut = max(set(deep) - set(whole), key=lambda stack: seen[stack])
    frames = cut.split(";")
    assert frames[0] == "[truncated]"
    assert frames.count("deep(int,_double)") == len(frames) - 3
    assert len(frames) > 100
    assert (
        "spin_inlined"
        not in subprocess.run(["nm", program], capture_output=True, text=True, check=True).stdout
    )


# ---- places in calls ----

TID, SERVICE, PID = 101, 102, 100
EVENT = np.dtype(
    [
        ("time", "u8"),
        ("cpu", "u4"),
        ("kind", "u4"),
        ("pid", "u4"),
        ("tid", "u4"),
        ("user_stack", "i4"),
        ("kernel_stack", "i4"),
        ("comm", "S16"),
    ]
)


def fabricated(folder: Path, moments: list[tuple[int, int, int, int, int]]) -> Stacks:
    """A trace of calls of 100 + 200 + 300 + 400 cycles, one each 1050, and samples at cycles.

    Args:
        folder: where.
        moments: cycle, cpu, tid, user_stack, kernel_stack of each sample.
    """
    calls = traces.records(np.tile([100, 200, 300, 400], (10, 1)), tid=TID)
    start, end = int(calls["called"][0]) - 1000, int(calls["completed"][-1]) + 1000
    times = traces.CLOCK.ns(np.array([start, end]))
    only = Round("memsc", "sync", 0, start_ns=int(times[0]), end_ns=int(times[1]), pids=[PID])
    events = np.zeros(len(moments), EVENT)
    for row, (at, cpu, tid, user, kernel) in enumerate(moments):
        time = int(traces.CLOCK.ns(np.array([at]))[0])
        events[row] = (time, cpu, 0, PID if tid in (TID, SERVICE) else 7, tid, user, kernel, b"x")
    frames = [
        (0, 0, "inner", "/bin/some"),
        (0, 1, "outer", "/bin/some"),
        (1, 0, "read", "[kernel]"),
        (2, 0, "", "/lib/bare.so"),
        (2, 1, "", "[unknown]"),
        (3, 0, "", "/lib/bare.so"),
    ]
    starts = [0x1230 if stack == 3 else -1 for stack, *_ in frames]
    stack, depth, function, module = zip(*frames, strict=True)
    with TraceWriter(prepare_output(folder)) as writer:
        writer.calls(only.key, PID, calls, traces.NAMES)
        writer.events("profile", events, {"kind": ("sample",)})
        columns = {"stack": stack, "depth": depth, "function": function, "module": module}
        writer.append(
            STACKS,
            pa.table({**columns, "offset": [0] * len(frames), "start": starts}, STACKS_SCHEMA),
        )
        arm = Arm("memsc", "inline", [1], [0], 10, 0, 10)
        probes = {"profile": ProbeStatus(attached=True, seen=len(moments), lost=0)}
        writer.session(traces.session([only], {"memsc": arm}, probes=probes))
    return ma.open(folder).stacks


def test_a_sample_falls_into_the_stage_of_the_call_under_way(tmp_path: Path) -> None:
    begin = 2_000_000 + 1050  # of the second call
    stacks = fabricated(
        tmp_path / "a.memsc",
        [
            (begin + 50, 1, TID, 0, -14),
            (begin + 200, 1, TID, 0, -14),
            (begin + 400, 1, TID, 0, -14),
            (begin + 800, 1, TID, 0, -14),
            (begin + 1020, 1, TID, 0, -14),
            (begin + 400, 0, SERVICE, 0, 1),
            (begin + 200, 0, SERVICE, 0, -14),
            (begin + 200, 0, 9, -1, 1),
        ],
    )
    samples = stacks.df_samples()
    expected = ["post", "poll", "execute", "complete", "between", "execute", "between", "between"]
    assert samples["stage"].tolist() == expected
    assert samples["side"].tolist() == ["application"] * 5 + ["service"] * 2 + ["other"]
    assert set(samples["arm"]) == {"memsc"}
    folded = stacks.df_folded()
    weights = {(r.side, r.stage, r.stack): r.weight for r in folded.itertuples()}
    assert weights["application", "post", "outer;inner"] == 1
    assert weights["service", "execute", "outer;inner;read_[k]"] == 1
    assert weights["other", "between", "read_[k]"] == 1
    assert folded["weight"].sum() == len(samples)
    application, service = stacks.plot_functions().axes
    assert [label.get_text() for label in application.get_yticklabels()] == ["inner"]
    widths = [bar.get_width() for bar in application.patches if isinstance(bar, Rectangle)]
    assert sum(widths) == 5 / 8
    names = {label.get_text() for label in service.get_yticklabels()}
    assert names == {"inner", "read_[k]"}
    with pytest.raises(MemscError, match="its arms are memsc"):
        stacks.plot_functions(arm="ipi")


def test_what_stacks_do_not_show_is_said(tmp_path: Path) -> None:
    at = 2_000_000
    stacks = fabricated(
        tmp_path / "a.memsc",
        [
            (at, 1, TID, 0, -14),
            (at, 1, TID, 2, -14),
            (at, 1, TID, -17, -14),
            (at, 1, TID, -14, 1),
            (at, 1, TID, 3, -14),
        ],
    )
    (row,) = stacks.df_coverage().to_dict("records")
    assert (row["samples"], row["no_user"], row["lost"]) == (5, 0.4, 0.2)
    assert (row["unnamed"], row["leaf_only"]) == (0.4, 0.4)
    # A function without a name is told from others by where it begins, if that is known.
    innermost = set(stacks.df_folded()["stack"].str.split(";").str[-1])
    assert innermost >= {"[bare.so]", "bare.so@0x1230"}


def test_a_trace_without_samples_says_what_brings_them(tmp_path: Path) -> None:
    folder = traces.fabricate(tmp_path / "a.memsc", rounds=2, calls=20)
    with pytest.raises(MemscError, match="--probes profile"):
        ma.open(folder).stacks.df_folded()


def test_a_probe_that_saw_nothing_is_empty_and_no_error(tmp_path: Path) -> None:
    stacks = fabricated(tmp_path / "a.memsc", [])
    assert stacks.df_samples().empty
    assert stacks.df_folded().empty
    assert os.path.isdir(tmp_path / "a.memsc" / "stacks")  # noqa: PTH112
