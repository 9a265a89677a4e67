# SPDX-License-Identifier: MIT
"""Files that a user names: regular ones are whole or not there, all else is written to and kept."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
from pathlib import Path

import pytest
from tests.helpers import traces
from tests.helpers.command import FRONT

from memsc import analysis as ma
from memsc.analysis.export.formats import FORMATS, export
from memsc.commands.__main__ import main
from memsc.runtime.errors import MemscError
from memsc.runtime.outputs import is_kept, written

HEAD = b'"arm","case","syscall",'


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("outputs")
    return traces.fabricate(folder / "a.memsc", rounds=2, calls=300)


def shell(line: str, trace: Path, folder: Path) -> subprocess.CompletedProcess[bytes]:
    """The line with `export`, which writes a table, and `report`, in bash."""
    words = {
        "export": f"{FRONT} export {trace} --format csv -o",
        "report": f"{FRONT} report {trace}",
        "run": f"{FRONT} run -q --stats-json",
    }
    for name, command in words.items():
        line = line.replace(f"%{name}", command)
    return subprocess.run(
        ["bash", "-c", line], cwd=folder, capture_output=True, check=False, timeout=120
    )


@pytest.mark.parametrize(
    ("line", "where"),
    [
        ("%export -", "stdout"),
        ("%export /dev/stdout", "stdout"),
        ("%export /proc/self/fd/1", "stdout"),
        ("%export - | cat", "stdout"),
        ("%export /dev/stderr", "stderr"),
        ("{ echo before; %export -; echo after; } >>file; cat file", "between"),
        ("%export >(cat >&2) 2>/dev/null", "nothing"),
        ("%export >(cat)", "stdout"),
        ("mkfifo pipe; cat pipe & %export pipe; wait; test -p pipe", "stdout"),
        ("echo old >file; ln -s file link; %export link -f; test -L link; cat file", "stdout"),
        ("ln -s file link; %export link; test -L link; cat file", "stdout"),
        ("%export file; cat file", "stdout"),
    ],
)
def test_a_table_goes_where_it_is_wanted(
    line: str, where: str, trace: Path, tmp_path: Path
) -> None:
    done = shell(line, trace, tmp_path)
    assert done.returncode == 0, done
    if where == "between":
        assert done.stdout.startswith(b"before\n" + HEAD)
        assert done.stdout.endswith(b"\nafter\n")
    elif where != "nothing":
        assert getattr(done, where).startswith(HEAD), done
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_into_a_device_leaves_the_device(name: str, tmp_path: Path) -> None:
    recorded = ma.open(Path(__file__).parents[2] / "notebooks" / "traces" / "calls.memsc")
    device = tmp_path / "device"
    try:
        os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        device.open("wb").close()
    except PermissionError:
        pytest.skip("no devices can be made here")
    try:
        export(recorded, name, device)
    except MemscError as error:
        assert "probe" in str(error) or "--probes" in str(error), error
    assert stat.S_ISCHR(device.stat().st_mode)
    assert [path.name for path in tmp_path.iterdir()] == ["device"]


def test_a_page_and_figures_of_a_device_s_name(trace: Path, tmp_path: Path) -> None:
    done = shell("%report --html /dev/null; test -c /dev/null", trace, tmp_path)
    assert done.returncode == 0
    assert b"Where the time goes" in done.stdout
    done = shell("%report --html -", trace, tmp_path)
    assert done.stdout.startswith(b"<!doctype html>")
    assert b"Can it be believed?\n" not in done.stdout
    done = shell("ln -s /dev/stdout figure.svg; %report --figure figure.svg", trace, tmp_path)
    assert b"<svg" in done.stdout


def test_of_a_fleet_a_device_gets_every_page(trace: Path, tmp_path: Path) -> None:
    before = sorted(Path("/dev").iterdir())
    assert main(["report", str(trace), str(trace), "--html", "/dev/null"]) in (0, 1, 4)
    assert sorted(Path("/dev").iterdir()) == before


def test_statistics_into_a_pipe(trace: Path, tmp_path: Path) -> None:
    done = shell("%run >(cat) -- true", trace, tmp_path)
    assert done.stdout.startswith(b"{")
    done = shell("mkfifo pipe; cat pipe & %run pipe -- true; wait", trace, tmp_path)
    assert done.stdout.startswith(b"{")


def test_what_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("old")
    full = r"cannot write .*: No space left on device; free some"
    with pytest.raises(MemscError, match=full), written(file) as place:
        place.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(ZeroDivisionError), written(file) as place:
        place.write_text("half")
        raise ZeroDivisionError
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]
    with pytest.raises(MemscError, match="directory; choose another"), written(tmp_path):
        pass
    assert is_kept(Path("/dev/null"))
    assert not is_kept(file)


def test_a_reader_that_has_gone_is_no_fault(trace: Path, tmp_path: Path) -> None:
    done = shell("%export - | :; exit ${PIPESTATUS[0]}", trace, tmp_path)
    assert (done.returncode, done.stderr) in ((141, b""), (0, done.stderr))
