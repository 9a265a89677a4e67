# SPDX-License-Identifier: MIT
"""What BCC does not stand costs the probe alone, and its message is kept."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest
from tests.helpers import dying

from memsc.runtime.errors import MemscError
from memsc.tracer.helper.loading import rehearsal
from memsc.tracer.helper.loading.rehearsal import Remembered, rehearse
from memsc.tracer.session.observe import channel
from memsc.tracer.session.observe.probe_client import Helper


def aborting() -> None:
    os.write(2, b"what():  no such thing\n")
    os.abort()


def failing() -> None:
    raise MemscError("compiling", "error: unknown type", "install it")


def test_what_goes_well_is_done_in_the_child_alone() -> None:
    done: list[int] = []
    assert rehearse(lambda: done.append(os.getpid())) is None
    assert done == []


def test_what_ends_the_child_is_told() -> None:
    assert rehearse(aborting) == "it ends the process (SIGABRT): what():  no such thing"


def test_what_it_raises_is_told() -> None:
    assert rehearse(failing) == "error: unknown type"
    assert rehearse(lambda: os.kill(1 << 22, 0)) == "No such process"


def test_nothing_said_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    assert rehearse(lambda: os._exit(3)) == "nothing was said"
    assert capfd.readouterr() == ("", "")


def test_what_went_well_is_remembered_by_all_it_depends_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Remembered(tmp_path, "text", "0.31")
    assert not one
    one.keep()
    assert Remembered(tmp_path, "text", "0.31")
    assert not Remembered(tmp_path, "text", "0.32")
    assert not Remembered(tmp_path, "text0", ".31")
    monkeypatch.setattr(rehearsal, "KEPT", 3)
    os.utime(next(tmp_path.iterdir()), ns=(1, 1))
    for number in range(3):
        Remembered(tmp_path, str(number)).keep()
    assert len(list(tmp_path.iterdir())) == 3
    assert not one


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
def test_all_that_cannot_be_had_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "COMMAND", (sys.executable, dying.__file__, "complain", "ipi"))
    with Helper() as helper, pytest.raises(MemscError, match="no such structure"):
        helper.load(["ipi"])
