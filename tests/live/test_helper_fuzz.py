# SPDX-License-Identifier: MIT
"""Whatever the privileged helper is sent, it answers each message once, and lives.

MEMSC_FUZZ_ROUNDS says how many messages of each sort; `make test-requests` sends 20,000.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.live.test_helper import Wire

from memsc.tracer.helper import wire

pytestmark = pytest.mark.bpf
ROUNDS = int(os.environ.get("MEMSC_FUZZ_ROUNDS", "300"))
OPERATIONS = (
    *("load", "attach", "detach", "track", "cpus", "misses", "costs", "mappings", "counters"),
    *("isolate", "adopt", "release", "switches", "none"),
)
FIELDS = ("probes", "ring_bytes", "pid", "tid", "cpu", "cpus", "application", "service", "account")
# No number is that of a process or of a CPU: nothing of the machine is to be isolated or watched.
JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.text(max_size=20)
    | st.floats()
    | st.integers(max_value=-1)
    | st.integers(min_value=1 << 23)
    | st.sampled_from(["../sched", "sched\n", "tracking", "sched"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


def asked(op: object, fields: wire.Message) -> wire.Message:
    return {"op": op, **fields}


REQUESTS = st.builds(
    asked,
    st.sampled_from(OPERATIONS) | JUNK,
    st.dictionaries(st.sampled_from(FIELDS), JUNK, max_size=4),
)


@pytest.fixture(scope="module")
def helper() -> Iterator[Wire]:
    found = Wire()
    yield found
    found.ours.close()
    assert found.process.wait() == 0


def answers(helper: Wire) -> None:
    reply = helper.receive()
    if reply["ok"] is not True:
        assert reply["ok"] is False
        assert all(reply[part] for part in ("what", "why", "remedy"))


@settings(max_examples=ROUNDS)
@given(REQUESTS)
def test_requests_that_make_no_sense(helper: Wire, request_: wire.Message) -> None:
    line = json.dumps(request_).encode()
    if request_["op"] == "quit" or len(line) > wire.MAX_BYTES:
        return
    helper.ours.send(line)
    answers(helper)
    assert helper.process.poll() is None


@settings(max_examples=ROUNDS)
@given(st.binary(min_size=1, max_size=300))
def test_bytes_that_make_no_sense(helper: Wire, line: bytes) -> None:
    helper.ours.send(line)
    answers(helper)
    assert helper.process.poll() is None
