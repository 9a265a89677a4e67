# SPDX-License-Identifier: MIT
"""What is written is what is read, and what is not a whole trace is refused by name."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.helpers import traces

from memsc.runtime.errors import MemscError
from memsc.tracer import format as fmt
from memsc.tracer.format.output import prepare_output
from memsc.tracer.format.writer import TraceWriter

ROOT = Path(__file__).resolve().parents[2]
KEY = fmt.RoundKey("memsc", "sync", 0)


@settings(deadline=None, max_examples=25)
@given(
    st.lists(
        st.tuples(*[st.integers(0, 2**40)] * 4, st.sampled_from([0, 1, 110, 999])), max_size=40
    ),
    st.integers(0, 31),
)
def test_write_then_read_is_identity(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, ...]], flags: int
) -> None:
    table = np.array(rows, np.int64).reshape(-1, 5)
    written = traces.records(table[:, :4], number=table[:, 4], flags=flags)
    folder = prepare_output(tmp_path_factory.mktemp("t") / "a.memsc")
    with TraceWriter(folder) as writer:
        writer.calls(KEY, 7, written, traces.NAMES)
        writer.session(traces.session([], {}))
    trace = fmt.open_trace(folder)
    assert trace.rows(fmt.CALLS) == len(written)
    if not len(written):
        return
    read = trace.read(fmt.CALLS)
    assert read.schema.equals(fmt.CALLS_SCHEMA)
    for name in traces.CALL.names or ():
        assert read[name].to_pylist() == written[name].tolist()
    names = [traces.NAMES.get(n, f"#{n}") for n in written["number"].tolist()]
    assert read["syscall"].to_pylist() == names


def test_units_stand_in_the_columns(tmp_path: Path) -> None:
    folder = traces.fabricate(tmp_path / "a.memsc", rounds=1, calls=10)
    schema = fmt.open_trace(folder).read(fmt.CALLS).schema
    assert schema.field("called").metadata == {b"unit": b"cycles"}


def test_session_survives_the_round_trip(tmp_path: Path) -> None:
    folder = traces.fabricate(tmp_path / "a.memsc", rounds=1, calls=10)
    session = fmt.open_trace(folder).session
    assert fmt.decode_session(session.encode(), folder) == session
    assert session.rounds[0].key == ("direct", "sync", 0)


def test_parts_are_whole_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memsc.tracer.format.writer.PART_ROWS", 100)
    folder = prepare_output(tmp_path / "a.memsc")
    writer = TraceWriter(folder)
    writer.session(traces.session([], {}, complete=False))
    stages = np.arange(250 * 4).reshape(-1, 4)
    writer.calls(KEY, 7, traces.records(stages), traces.NAMES)
    # The writer dies here: two parts are whole, fifty rows are gone.
    trace = fmt.open_trace(folder)
    assert not trace.session.complete
    assert [part.rows for part in trace.parts[fmt.CALLS]] == [100, 100]
    assert all(pq.read_metadata(part.path).num_row_groups == 1 for part in trace.parts[fmt.CALLS])


def test_events_keep_their_columns_and_names(tmp_path: Path) -> None:
    layout = np.dtype("u8, u4, u4, u4, u1, u4, S16, u4")
    layout.names = ("time", "cpu", "pid", "tid", "kind", "target", "comm", "_pad")
    events = np.zeros(3, layout)
    events["kind"], events["comm"], events["target"] = [0, 1, 9], [b"a", b"b", b"a"], [4, 5, 6]
    folder = prepare_output(tmp_path / "a.memsc")
    with TraceWriter(folder) as writer:
        writer.session(traces.session([], {}))
        writer.events("ipi", events, {"kind": ["send", "receive"]}, {"target": "cpu"})
    table = fmt.open_trace(folder).read("events/ipi")
    assert table["kind"].to_pylist() == ["send", "receive", "#9"]
    assert table["comm"].to_pylist() == ["a", "b", "a"]
    assert table["target"].to_pylist() == [4, 5, 6]
    assert "_pad" not in table.column_names
    assert table.schema.field("time").metadata == {b"unit": b"ns"}


def test_a_missing_table_says_which_probe_would_bring_it(tmp_path: Path) -> None:
    trace = fmt.open_trace(traces.fabricate(tmp_path / "a.memsc", rounds=1, calls=10))
    with pytest.raises(MemscError, match="--probes sched"):
        trace.read("events/sched")


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        (fmt.SESSION, None, "session.json is missing"),
        (fmt.SESSION, b"{}", "not a memsc session"),
        (fmt.SESSION, b"\0", "not a memsc session"),
        (fmt.SESSION, b'{"schema": 99}', "upgrade memsc"),
        (fmt.SESSION, b'{"schema": 1}', "damaged session"),
        ("calls/part-0001.parquet", b"PAR1 and then nothing", "part-0001.parquet"),
        ("calls/part-0001.parquet", b"", "part-0001.parquet"),
    ],
)
def test_what_is_not_whole_is_refused(
    tmp_path: Path, file: str, content: bytes | None, says: str
) -> None:
    folder = traces.fabricate(tmp_path / "a.memsc", rounds=2, calls=10)
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_bytes(content)
    with pytest.raises(MemscError, match=says):
        fmt.open_trace(folder)


def test_foreign_things_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MemscError, match="no such folder"):
        fmt.open_trace(tmp_path / "none.memsc")
    with pytest.raises(MemscError, match="not a memsc trace"):
        fmt.open_trace(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(MemscError, match="not a folder"):
        fmt.open_trace(tmp_path / "file")


def test_a_wrong_field_is_named(tmp_path: Path) -> None:
    folder = traces.fabricate(tmp_path / "a.memsc", rounds=1, calls=10)
    content = json.loads((folder / fmt.SESSION).read_text())
    content["rounds"][0]["calls"] = "many"
    (folder / fmt.SESSION).write_text(json.dumps(content))
    with pytest.raises(MemscError, match=r"\$\.rounds\[0\]\.calls"):
        fmt.open_trace(folder)


def test_output_is_replaced_only_by_force_and_only_a_trace(tmp_path: Path) -> None:
    folder = traces.fabricate(tmp_path / "a.memsc", rounds=1, calls=10)
    with pytest.raises(MemscError, match="-f"):
        prepare_output(folder)
    assert prepare_output(folder, force=True) == folder
    foreign = tmp_path / "mine"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("x")
    with pytest.raises(MemscError, match="not a trace"):
        prepare_output(foreign, force=True)
    assert (foreign / "thesis.txt").exists()


def test_a_new_folder_comes_with_its_session(tmp_path: Path) -> None:
    """Whoever is killed leaves a trace, or nothing."""
    folder = prepare_output(tmp_path / "a.memsc")
    assert not list(tmp_path.iterdir())
    (tmp_path / ".a.memsc.partial").mkdir()  # of one that was killed in that moment
    (tmp_path / ".a.memsc.partial" / "session.json").write_text("{")
    with TraceWriter(folder) as writer:
        writer.session(traces.session([], {}, complete=False))
    assert [path.name for path in tmp_path.iterdir()] == ["a.memsc"]
    assert fmt.open_trace(folder).session.rounds == []


def _recorded(writer: TraceWriter, calls: int) -> None:
    writer.session(traces.session([], {}, complete=False))
    writer.calls(KEY, 7, traces.records(np.ones((calls, 4), np.int64)), traces.NAMES)
    writer.flush()


@pytest.mark.parametrize("kept", [(), ("notes.txt",)])
def test_a_trace_gives_way_once_there_is_a_new_one(tmp_path: Path, kept: tuple[str, ...]) -> None:
    """Until then it is only put aside, and whatever the user keeps in its folder stays."""
    folder = traces.fabricate(tmp_path / "a.memsc", rounds=1, calls=10)
    for name in kept:
        (folder / name).touch()
    before = sorted(folder.rglob("*"))
    recorded = fmt.open_trace(folder).rows(fmt.CALLS)

    writer = TraceWriter(prepare_output(folder, force=True), replace=True)
    assert sorted(folder.rglob("*")) == before
    assert not writer.begun
    writer.withdraw()  # before it had begun
    writer.session(traces.session([], {}, complete=False))
    assert writer.begun
    assert fmt.open_trace(folder).rows(fmt.CALLS) == 0
    writer.withdraw()
    assert sorted(folder.rglob("*")) == before
    assert list(tmp_path.iterdir()) == [folder]

    writer = TraceWriter(prepare_output(folder, force=True), replace=True)
    writer.session(traces.session([], {}, complete=False))
    (folder / fmt.SESSION).unlink()  # killed between one's going and the other's coming
    assert fmt.open_trace(prepare_output(folder, force=True)).rows(fmt.CALLS) == recorded

    _recorded(TraceWriter(prepare_output(folder, force=True), replace=True), 7)
    assert fmt.open_trace(folder).rows(fmt.CALLS) == 7
    assert list(tmp_path.iterdir()) == [folder]
    assert all((folder / name).exists() for name in kept)

    empty = TraceWriter(prepare_output(folder, force=True), replace=True)
    empty.session(traces.session([], {}, complete=True))  # it made no call, and that is a trace
    assert fmt.open_trace(folder).rows(fmt.CALLS) == 0
    assert list(tmp_path.iterdir()) == [folder]


def test_a_session_that_could_not_begin_is_taken_back(tmp_path: Path) -> None:
    there = tmp_path / "there.memsc"
    there.mkdir()
    for folder in (tmp_path / "new.memsc", there):
        writer = TraceWriter(prepare_output(folder))
        writer.session(traces.session([], {}, complete=False))
        writer.withdraw()
    assert list(tmp_path.iterdir()) == [there]
    assert not list(there.iterdir())
    writer.session(traces.session([], {}, complete=False))
    writer.calls(KEY, 7, traces.records(np.ones((10, 4), np.int64)), traces.NAMES)
    writer.flush()
    writer.withdraw()
    assert fmt.open_trace(there).rows(fmt.CALLS) == 10


def test_a_full_disk_keeps_what_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = prepare_output(tmp_path / "a.memsc")
    writer = TraceWriter(folder)
    writer.session(traces.session([], {}, complete=False))
    writer.calls(KEY, 7, traces.records(np.ones((10, 4), np.int64)), traces.NAMES)
    writer.flush()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    writer.calls(KEY, 7, traces.records(np.ones((10, 4), np.int64)), traces.NAMES)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(MemscError, match="No space left on device; 10 calls are kept"):
            writer.flush()
    assert fmt.open_trace(folder).rows(fmt.CALLS) == 10
    assert not list(folder.glob("**/.*"))


def test_flags_are_those_of_the_shared_layout() -> None:
    header = Path(__file__).resolve().parents[2] / "runtime/src/layout.h"
    found = re.findall(r"MEMSC_CALL_(\w+) = (\d+)", header.read_text())
    assert {name.lower(): int(bit) for name, bit in found} == fmt.FLAGS


def test_a_killed_writer_leaves_what_was_flushed(tmp_path: Path) -> None:
    script = f"""
import os, signal, numpy as np
from pathlib import Path
from memsc.tracer.format.output import prepare_output
from memsc.tracer.format.writer import TraceWriter
from memsc.tracer.format import RoundKey
from tests.helpers import traces
writer = TraceWriter(prepare_output(Path({str(tmp_path / "a.memsc")!r})))
writer.session(traces.session([], {{}}, complete=False))
for index in range(3):
    rows = traces.records(np.ones((100, 4), np.int64))
    writer.calls(RoundKey("memsc", "sync", index), 7, rows, traces.NAMES)
    if index < 2:
        writer.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""
    root = Path(__file__).resolve().parents[2]
    ended = subprocess.run([sys.executable, "-c", script], cwd=root, check=False)
    assert ended.returncode == -signal.SIGKILL
    trace = fmt.open_trace(tmp_path / "a.memsc")
    assert not trace.session.complete
    assert trace.rows(fmt.CALLS) == 200


def test_the_documented_schemas_are_those_of_the_structures() -> None:
    command = [sys.executable, ROOT / "tools/schemas", "--check"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def within(some: Any, more: Any) -> bool:
    """Whether all that one JSON value says stands in another."""
    if isinstance(some, dict) and isinstance(more, dict):
        return all(name in more and within(value, more[name]) for name, value in some.items())
    if isinstance(some, list) and isinstance(more, list):
        return len(some) == len(more) and all(map(within, some, more))
    return some == more


def test_a_recorded_session_opens_as_it_is_and_loses_nothing() -> None:
    found = sorted((ROOT / "notebooks/traces").glob("*.memsc/session.json"))
    assert found
    for file in found:
        again = fmt.decode_session(file.read_bytes(), file).encode()
        assert within(json.loads(file.read_text()), json.loads(again)), file
