# SPDX-License-Identifier: MIT
"""The timeline for Perfetto, read by Perfetto's own protocol definitions."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import (
    ClockSnapshot,
    Trace,
    TracePacket,
    TrackDescriptor,
    TrackEvent,
)
from tests.helpers import traces

from memsc import analysis as ma
from memsc.analysis.export import protobuf
from memsc.analysis.export.formats import Options, export
from memsc.analysis.export.kernel_events import kernel_events
from memsc.analysis.export.timeline import lanes
from memsc.probes.declaration import find, names
from memsc.runtime.errors import MemscError
from memsc.tracer.format import EVENTS, NAME, TraceFolder, field
from memsc.tracer.format.output import prepare_output
from memsc.tracer.format.writer import TraceWriter

BOOTTIME, MONOTONIC = 6, 3


class Read:
    """A trace as a viewer understands it: slices by track, nested as they must be."""

    def __init__(self, path: Path) -> None:
        parsed = Trace()
        parsed.ParseFromString(path.read_bytes())
        self.tracks: dict[int, TrackDescriptor] = {}
        self.snapshots: list[ClockSnapshot] = []
        self.slices: list[dict[str, Any]] = []
        self.instants: list[dict[str, Any]] = []
        names: dict[int, str] = {}
        keys: dict[int, str] = {}
        texts: dict[int, str] = {}
        clock = None
        events: list[tuple[int, TrackEvent]] = []
        for packet in parsed.packet:
            kind = packet.WhichOneof("data")
            if kind == "track_descriptor":
                self.tracks[packet.track_descriptor.uuid] = packet.track_descriptor
            elif kind == "clock_snapshot":
                self.snapshots.append(packet.clock_snapshot)
            elif kind == "track_event":
                assert packet.sequence_flags & TracePacket.SEQ_NEEDS_INCREMENTAL_STATE
                events.append((packet.timestamp, packet.track_event))
            for entry in packet.interned_data.event_names:
                names[entry.iid] = entry.name
            for entry in packet.interned_data.debug_annotation_names:
                keys[entry.iid] = entry.name
            for entry in packet.interned_data.debug_annotation_string_values:
                texts[entry.iid] = entry.str.decode()
            if packet.HasField("trace_packet_defaults"):
                clock = packet.trace_packet_defaults.timestamp_clock_id
        assert clock == MONOTONIC
        stacks: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for time, event in sorted(events, key=lambda found: found[0]):
            assert event.track_uuid in self.tracks
            stack = stacks[event.track_uuid]
            if event.type == TrackEvent.TYPE_SLICE_END:
                stack.pop()["end"] = time
                continue
            told = {
                keys[a.name_iid]: texts[a.string_value_iid] if a.string_value_iid else a.int_value
                for a in event.debug_annotations
            }
            found: dict[str, Any] = {
                "track": self.tracks[event.track_uuid].name,
                "name": names[event.name_iid],
                "start": time,
                "depth": len(stack),
                "flows": list(event.flow_ids),
                "last": list(event.terminating_flow_ids),
                "told": told,
            }
            if event.type == TrackEvent.TYPE_INSTANT:
                self.instants.append(found)
            else:
                stack.append(found)
                self.slices.append(found)
        assert not any(stacks.values())


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> ma.Trace:
    folder = tmp_path_factory.mktemp("t") / "a.memsc"
    return ma.open(traces.fabricate(folder, rounds=4, calls=500))


def test_each_call_is_a_slice_cut_into_stages_and_one_of_the_service(
    trace: ma.Trace, tmp_path: Path
) -> None:
    path = tmp_path / "a.pftrace"
    assert export(trace, "perfetto", path).startswith("6000 calls")
    read = Read(path)
    application = [s for s in read.slices if s["track"].startswith("application")]
    whole = [s for s in application if s["depth"] == 0]
    stages = [s for s in application if s["depth"] == 1]
    service = [s for s in read.slices if s["track"].startswith("service CPU 0")]
    assert {s["name"] for s in whole} == {"getppid"}
    assert (len(whole), len(stages), len(service)) == (6000, 16000, 4000)
    assert {t.name for t in read.tracks.values() if not t.parent_uuid} == {
        "memsc: direct",
        "memsc: ipi",
        "memsc: memsc",
    }
    calls = trace.folder.read("calls").to_pandas()
    stamps = (trace.session.clock.ns(calls[name].to_numpy()) for name in ("called", "completed"))
    spent = -np.subtract(*stamps)
    forwarded = (calls["arm"] != "direct").to_numpy()
    assert sum(s["end"] - s["start"] for s in whole) == spent.sum()
    assert sum(s["end"] - s["start"] for s in stages) == spent[forwarded].sum()
    assert whole[0]["told"] == {"result": 1, "flags": "none"}


def test_an_arrow_joins_post_execute_and_complete(trace: ma.Trace, tmp_path: Path) -> None:
    path = tmp_path / "a.pftrace"
    export(trace, "perfetto", path, Options(arm="memsc", calls=100))
    flows: dict[int, list[str]] = defaultdict(list)
    for found in sorted(Read(path).slices, key=lambda s: s["start"]):
        for number in [*found["flows"], *found["last"]]:
            flows[number].append(found["track"].split()[0] + " " + found["name"])
    assert len(flows) == 100
    joined = ["application post", "service getppid", "application complete"]
    assert all(steps == joined for steps in flows.values())


def test_the_clock_is_stated(trace: ma.Trace, tmp_path: Path) -> None:
    path = tmp_path / "a.pftrace"
    assert export(trace, "perfetto", path).endswith("CLOCK_MONOTONIC")
    (snapshot,) = Read(path).snapshots
    assert snapshot.primary_trace_clock == MONOTONIC
    known = replace(trace.session.clock, boottime_offset_ns=77)
    session = replace(trace.session, clock=known)
    folder = TraceFolder(trace.folder.path, session, trace.folder.parts)
    assert export(ma.Trace(folder), "perfetto", path).endswith("snapshot to CLOCK_BOOTTIME")
    (snapshot,) = Read(path).snapshots
    assert snapshot.primary_trace_clock == BOOTTIME
    times = {c.clock_id: c.timestamp for c in snapshot.clocks}
    assert times[BOOTTIME] - times[MONOTONIC] == 77


def test_calls_posted_ahead_take_tracks_of_their_own(tmp_path: Path) -> None:
    records = traces.records(np.full((64, 4), 1000), flags=1)
    # Eight at a time: each is called while the seven before it are under way.
    for stamp in ("called", "posted", "picked", "executed", "completed"):
        records[stamp] = records[stamp] - np.arange(64) * 3550 - np.arange(64) % 8 * 40
    trace = ma.open(written(tmp_path / "a.memsc", records))
    export(trace, "perfetto", tmp_path / "a.pftrace")
    read = Read(tmp_path / "a.pftrace")
    assert len([s for s in read.slices if s["depth"] == 0]) == 64 * 2
    assert all(s["end"] > s["start"] for s in read.slices)


def written(folder: Path, records: Any, events: dict[str, Any] | None = None) -> Path:
    """A trace of one round of one arm."""
    arms = {"memsc": traces.Arm("memsc", "inline", [1], [0], len(records), 0, len(records))}
    done = traces.Round("memsc", "sync", 0, pids=[101], calls=len(records), lost=0)
    with TraceWriter(prepare_output(folder)) as writer:
        writer.calls(done.key, 101, records, traces.NAMES)
        writer.flush()
        writer.session(traces.session([done], arms))
    return folder


def kernel(tmp_path: Path, rows: list[tuple[int, int, int, str, int]]) -> ma.Trace:
    """A trace with scheduler events: time, cpu, tid, kind, target_tid."""
    folder = written(tmp_path / "a.memsc", traces.records(np.full((100, 4), 1000)))
    columns = list(zip(*rows, strict=True))
    kinds = pa.array(columns[3]).dictionary_encode().cast(NAME)
    table = pa.table(
        [*map(pa.array, columns[:3]), pa.array([101] * len(rows)), kinds, pa.array(columns[4])],
        schema=pa.schema(
            [
                *(field("time", "ns"), field("cpu"), field("tid"), field("pid")),
                *(field("kind", kind=NAME), field("target_tid")),
            ]
        ),
    )
    place = folder / EVENTS / "sched"
    place.mkdir(parents=True)
    pq.write_table(table, place / "part-0000.parquet")
    return ma.open(folder)


def test_kernel_events_stand_on_their_cpu_s_track(tmp_path: Path) -> None:
    start = 5_500_000
    trace = kernel(
        tmp_path,
        [
            (start - 10**9, 0, 5, "switch", 6),
            (start + 10, 0, 7, "switch", 101),
            (start + 12, 0, 101, "waking", 7),
            (start + 15, 1, 101, "reschedule_entry", 0),
            (start + 20, 0, 101, "switch", 7),
            (start + 30, 0, 8, "switch", 0),
            (start + 35, 1, 101, "reschedule_exit", 0),
            (start + 40, 1, 101, "reschedule_exit", 0),
        ],
    )
    said = export(trace, "perfetto", tmp_path / "a.pftrace")
    assert "100 calls" in said
    assert "7 kernel events" in said
    read = Read(tmp_path / "a.pftrace")
    lasts = {(s["track"], s["name"]): s["end"] - s["start"] for s in read.slices}
    assert lasts["CPU 0 · sched", "memsc application 101"] == 10
    assert lasts["CPU 1 · sched", "reschedule"] == 20
    kept = [(s["track"], s["name"], s["told"]["target_tid"]) for s in read.instants]
    # What has no fitting end only happens.
    assert sorted(kept) == [
        ("CPU 0 · sched", "switch", 0),
        ("CPU 0 · sched", "switch", 7),
        ("CPU 0 · sched", "waking", 7),
        ("CPU 1 · sched", "reschedule_exit", 0),
    ]


def test_events_outside_the_calls_shown_are_left_out(tmp_path: Path) -> None:
    trace = kernel(tmp_path, [(5_500_000, 0, 7, "switch", 101)])
    none = np.array([1]), np.array([2])
    assert not list(kernel_events(trace.folder, *none))


def test_a_window_shows_other_calls_than_the_first(trace: ma.Trace, tmp_path: Path) -> None:
    path = tmp_path / "a.pftrace"
    export(trace, "perfetto", path, Options(arm="direct", calls=5, window=(1e-4, None)))
    first = min(s["start"] for s in Read(path).slices)
    began = trace.session.clock.ns(np.array([trace.start_cycles]))[0]
    assert first - began >= 100_000
    with pytest.raises(MemscError, match="no calls in that window"):
        export(trace, "perfetto", path, Options(window=(1e6, None)))
    with pytest.raises(MemscError, match="its arms are direct, ipi, memsc"):
        export(trace, "perfetto", path, Options(arm="uring"))


columns_of = st.lists(
    st.tuples(st.integers(0, 2**62), st.integers(-(2**63), 2**63 - 1)), min_size=1, max_size=50
)


@given(columns_of)
def test_protobuf_reads_what_is_written(rows: list[tuple[int, int]]) -> None:
    first, second = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    inner = (
        *protobuf.hole(11, "a"),
        *protobuf.hole(47, "a", fixed=True),
        protobuf.Nested(4, (protobuf.data(10, "é"), *protobuf.hole(4, "b"))),
    )
    shape = protobuf.Nested(1, (*protobuf.hole(8, "a"), protobuf.Nested(11, inner)))
    parsed = Trace()
    parsed.ParseFromString(protobuf.encode((shape,), {"a": first, "b": second}))
    events = [packet.track_event for packet in parsed.packet]
    assert [packet.timestamp for packet in parsed.packet] == first.tolist()
    assert [list(event.flow_ids) for event in events] == [[a] for a in first.tolist()]
    assert [event.debug_annotations[0].int_value for event in events] == second.tolist()
    assert all(event.debug_annotations[0].name == "é" for event in events)


spans = st.lists(
    st.tuples(st.integers(0, 1000), st.one_of(st.integers(0, 5), st.integers(0, 1000))),
    max_size=300,
)


@given(spans)
def test_spans_of_one_lane_never_overlap(found: list[tuple[int, int]]) -> None:
    ordered = sorted(found)
    start = np.array([a for a, _ in ordered], np.int64)
    end = start + np.array([b for _, b in ordered], np.int64)
    lane = lanes(start, end)
    for number in set(lane.tolist()):
        mine = lane == number
        assert (start[mine][1:] >= end[mine][:-1]).all()


@pytest.mark.parametrize("name", names())
def test_the_events_of_any_probe_are_read_and_drawn(tmp_path: Path, name: str) -> None:
    folder = traces.fabricate(tmp_path / "a.memsc", rounds=1, calls=50)
    declared = find(name)
    event = np.zeros(1, declared.layout())
    event["time"] = ma.open(folder).session.rounds[0].start_ns
    for column in declared.columns:
        if column.type == "name":
            event[column.name] = b"8:0"
    with TraceWriter(folder) as writer:
        writer.events(name, event, {"kind": [kind.name for kind in declared.kinds]})
    export(ma.open(folder), "perfetto", tmp_path / "a.pftrace")
    assert Read(tmp_path / "a.pftrace").instants
