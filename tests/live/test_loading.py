# SPDX-License-Identifier: MIT
"""What is compiled is kept; what BCC does not stand costs the probe alone, and is told."""

from __future__ import annotations

import marshal
import os
import re
import struct
import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
from tests.helpers import dying

from memsc.runtime.errors import MemscError
from memsc.tracer.helper import boot
from memsc.tracer.helper.loading import kept
from memsc.tracer.helper.loading.apart import Apart, NotDoneError
from memsc.tracer.helper.loading.kept import Kept
from memsc.tracer.helper.loading.objects import Map, Object, renumbered
from memsc.tracer.session.observe import channel
from memsc.tracer.session.observe.probe_client import Helper


def aborting() -> bytes:
    os.write(2, b"what():  no such thing\n")
    os.abort()


def failing() -> bytes:
    raise MemscError("compiling", "error: unknown type", "install it")


def why(work: Callable[[], bytes]) -> str:
    with pytest.raises(NotDoneError) as caught:
        Apart(work).result()
    return str(caught.value)


def test_what_a_child_makes_comes_back() -> None:
    done: list[int] = []

    def work() -> bytes:
        done.append(os.getpid())
        return b"made\0" * 100_000

    assert Apart(work).result() == b"made\0" * 100_000
    assert done == []


def test_what_ends_the_child_is_told() -> None:
    assert why(aborting) == "it ends the process (SIGABRT): what():  no such thing"


def test_what_it_raises_is_told() -> None:
    assert why(failing) == "error: unknown type"
    assert why(lambda: bytes(os.kill(1 << 22, 0) or b"")) == "No such process"


def test_nothing_said_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    assert why(lambda: os._exit(3)) == "nothing was said"
    assert capfd.readouterr() == ("", "")


def test_what_was_compiled_is_kept_by_all_it_depends_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Kept(tmp_path, "object", ["text", "0.31"])
    assert one.read() is None
    one.write(b"code")
    assert Kept(tmp_path, "object", ["text", "0.31"]).read() == b"code"
    assert Kept(tmp_path, "object", ["text", "0.32"]).read() is None
    assert Kept(tmp_path, "object", ["text0", ".31"]).read() is None
    assert Kept(tmp_path, "object-2", ["text", "0.31"]).read() is None
    monkeypatch.setattr(kept, "MOST", 3)
    os.utime(next(tmp_path.iterdir()), ns=(1, 1))
    for number in range(3):
        Kept(tmp_path, "object", [str(number)]).write(b"more")
    assert len(list(tmp_path.iterdir())) == 3
    assert one.read() is None


def spoil(file: Path, how: str) -> None:
    """Make of what was kept something that is not to be believed."""
    if how == "another's" and os.geteuid():
        pytest.skip("needs root")
    data = file.read_bytes()
    if how == "cut short":
        file.write_bytes(data[:-1])
    elif how == "changed":
        file.write_bytes(data[:-1] + b"!")
    elif how == "writable":
        file.chmod(0o622)
    elif how == "open folder":
        file.parents[1].chmod(0o777)
    elif how == "another's":
        os.chown(file, 65534, 65534)
    else:
        file.write_bytes(b"")


@pytest.mark.parametrize("how", ["cut short", "changed", "writable", "another's", "empty"])
def test_what_is_not_as_it_was_kept_is_not_believed(how: str, tmp_path: Path) -> None:
    one = Kept(tmp_path, "object", ["text"])
    one.write(b"code")
    (path,) = tmp_path.iterdir()
    spoil(path, how)
    assert one.read() is None
    one.write(b"again")
    assert one.read() == b"again"


def test_an_object_is_packed_and_unpacked() -> None:
    maps = {"tracked": Map(1, 4, 8, 65536, 0), "events": Map(27, 0, 0, 1 << 20, 0)}
    made = Object(maps, {"program": bytes(range(64))})
    assert Object.unpacked(made.packed()) == made


def test_only_loads_of_maps_are_renumbered() -> None:
    a_map = struct.pack("<BBhi", 0x18, 0x12, 0, 7) + bytes(8)
    a_number = struct.pack("<BBhi", 0x18, 0x02, 0, 7) + bytes(8)
    code = renumbered(a_map + a_number, {7: 1})
    assert code == struct.pack("<BBhi", 0x18, 0x12, 0, 1) + bytes(8) + a_number
    with pytest.raises(KeyError):
        renumbered(a_map, {8: 1})


@pytest.mark.bpf
def test_what_is_kept_is_loaded_without_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    with Helper() as helper:
        first = helper.load(["ipi", "sched"])
    # A compiler that cannot be had would end the helper.
    monkeypatch.setattr(channel, "COMMAND", (sys.executable, dying.__file__, "believe", "ipi"))
    with Helper() as helper:
        assert helper.load(["ipi", "sched"]) == first
        assert helper.attach("sched")["sched"].usable


@pytest.mark.bpf
@pytest.mark.parametrize(
    ("how", "said"), [("abort", "SIGABRT.*out_of_range"), ("complain", "no such structure")]
)
def test_a_probe_that_cannot_be_had_costs_itself(
    how: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "COMMAND", (sys.executable, dying.__file__, how, "ipi"))
    with Helper() as helper:
        states = helper.load(["ipi", "sched", "noise"])
        assert not states["ipi"].usable
        assert states["ipi"].reason is not None
        assert re.search(said, states["ipi"].reason)
        assert states["sched"].usable
        assert states["noise"].usable
        assert helper.attach("sched")["sched"].usable


@pytest.mark.bpf
def test_where_one_cannot_be_had_the_others_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = (sys.executable, dying.__file__, "complain", "ipi", str(tmp_path))
    monkeypatch.setattr(channel, "COMMAND", command)
    asked: list[int] = []
    for _ in range(2):
        with Helper() as helper:
            states = helper.load(["ipi", "sched", "noise"])
        assert [name for name, state in states.items() if not state.usable] == ["ipi"]
        asked.append(len((tmp_path / "compiled").read_text().split()))
    # All, each alone, all but the one; then all again, and that one.
    assert asked == [5, 5 + 2]


@pytest.mark.bpf
def test_all_that_cannot_be_had_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "COMMAND", (sys.executable, dying.__file__, "complain", "ipi"))
    with Helper() as helper, pytest.raises(MemscError, match="no such structure"):
        helper.load(["ipi"])


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The helper keeps its code here, in this process."""
    folder = tmp_path / "cache" / "code"
    monkeypatch.setattr(boot, "CODE", folder)
    return folder


def code_of(path: Path) -> object:
    """What a module says whose code the helper's way of importing brings."""
    spec = spec_from_file_location("module", path, loader=boot.Loader("module", str(path)))
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.SAID


def test_the_helpers_code_is_compiled_once_and_known_by_its_source(
    cache: Path, tmp_path: Path
) -> None:
    path = tmp_path / "module.py"
    path.write_text("SAID = 1")
    assert code_of(path) == 1
    (file,) = cache.iterdir()
    # To see that it is read: other code, well kept.
    boot.keep(file, marshal.dumps(compile("SAID = 2", "elsewhere", "exec")))
    assert code_of(path) == 2
    status = path.stat()
    path.write_text("SAID = 3")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert code_of(path) == 3


@pytest.mark.parametrize("how", ["cut short", "changed", "writable", "open folder", "another's"])
def test_code_that_is_not_as_it_was_kept_is_not_believed(
    how: str, cache: Path, tmp_path: Path
) -> None:
    path = tmp_path / "module.py"
    path.write_text("SAID = 1")
    assert code_of(path) == 1
    (file,) = cache.iterdir()
    boot.keep(file, marshal.dumps(compile("SAID = 2", "elsewhere", "exec")))
    spoil(file, how)
    assert code_of(path) == 1
