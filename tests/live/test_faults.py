# SPDX-License-Identifier: MIT
"""Whatever fails, and whenever: nothing is left, no call goes uncounted, and no program is harmed.

MEMSC_FAULT_ROUNDS and MEMSC_FAULT_SEED say how many rounds, and which; `make test-faults` does
300. A round that failed is done again by its seed and number:

    MEMSC_FAULT_SEED=7 MEMSC_FAULT_FIRST=12 MEMSC_FAULT_ROUNDS=1 pytest tests/live/test_faults.py
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.helpers import enclosure
from tests.helpers.faults.plan import Plan, plan
from tests.helpers.required import require

from memsc.runtime.files import LAYER

pytestmark = pytest.mark.bpf
ROUNDS = int(os.environ.get("MEMSC_FAULT_ROUNDS", "10"))
FIRST = int(os.environ.get("MEMSC_FAULT_FIRST", "0"))
SEED = int(os.environ.get("MEMSC_FAULT_SEED", "20261124"))
PLANS = [plan(SEED, number) for number in range(FIRST, FIRST + ROUNDS)]


def name(planned: Plan) -> str:
    arm = f"{planned.transport}-{planned.service}"
    return f"{planned.seed}.{planned.number}-{planned.fault}-{arm}-{planned.program}"


def lacking() -> str | None:
    if len(os.sched_getaffinity(0)) < 2:
        return "needs two CPUs"
    if not LAYER.exists():
        return "needs the C-library layer, which this build has not"
    return enclosure.lacking()


@pytest.mark.parametrize("planned", PLANS, ids=name)
def test_nothing_is_lost_and_nobody_harmed(planned: Plan, tmp_path: Path) -> None:
    require(lacking())
    words = ("-m", "tests.helpers.faults.round", str(planned.seed), str(planned.number))
    done = subprocess.run(
        [sys.executable, enclosure.__file__, sys.executable, *words, str(tmp_path)],
        cwd=Path(__file__).resolve().parents[2],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"{planned}\n{done.stderr}"
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["faults"] == [], f"{planned}\n{found['messages']}"
