# SPDX-License-Identifier: MIT
"""One round: a session, a fault, and what is there afterwards, as a line of JSON.

python tests/helpers/enclosure.py python -m tests.helpers.faults.round SEED NUMBER FOLDER
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from tests.helpers.faults import strike
from tests.helpers.faults.plan import plan
from tests.helpers.faults.world import World

from memsc.runtime.errors import MemscError
from memsc.tracer.format import open_trace

_SIGNALLED = (-9, -15)  # ended by its session, or by the kernel when that was killed


def run(world: World) -> dict[str, object]:
    """Do it; what was found wrong stands under `faults`."""
    planned = world.plan
    prefix, undo = strike.prepare(world)
    world.start(prefix)
    if not planned.early:
        world.wait_for_target()
    time.sleep(planned.delay)
    strike.strike(world)
    status = world.wait()
    undo()
    faults = [f"left: {what}" for what in world.left()]
    if "Traceback" in world.messages:
        faults.append(f"a traceback: {world.messages}")
    if status not in strike.endings(world):
        faults.append(f"the session's status is {status}")
    spared = strike.fate(world) == strike.SPARED and (world.ran or world.plan.form == "pid")
    if spared and not world.finished():
        faults.append(f"the program did not finish: {world.messages}")
    faults += looked_through(world)
    if world.screen_kept(status):
        faults.append("the terminal still shows the session's screen")
    return {
        "status": status,
        "faults": faults,
        "messages": world.messages,
        "finished": world.finished(),
    }


def looked_through(world: World) -> list[str]:
    """What is wrong with the trace."""
    if not (world.trace / "session.json").exists():
        return []
    try:
        trace = open_trace(world.trace)
    except MemscError as error:
        return [f"the trace does not open: {error}"]
    faults: list[str] = []
    rounds = trace.session.rounds
    for r in rounds:
        counted = (r.calls or 0) + (r.lost or 0) + (r.unfinished or 0)
        if r.recording and r.made is not None and counted != r.made:
            faults.append(
                f"{r.calls} recorded, {r.lost} lost, {r.unfinished} unfinished of {r.made}"
            )
        ended = r.exit_status in _SIGNALLED and strike.fate(world) == strike.ENDED
        if r.stopped == "killed" and r.lost:
            faults.append(f"{r.lost} calls were lost with the session")
        if r.exit_status != 0 and not (ended or r.attached or r.stopped == "killed"):
            faults.append(f"the program's exit status is {r.exit_status}")
        if r.exit_status == 0 and r.unfinished:
            faults.append(f"{r.unfinished} calls have no end")
        made = world.calls_to_make()
        # The program's C library makes a few of its own.
        if r.exit_status == 0 and made is not None and not made <= (r.made or 0) < made + 100:
            faults.append(f"{r.made} calls made, not {made}")
    kept = sum((r.calls if r.kept is None else r.kept) or 0 for r in rounds)
    if trace.rows("calls") < kept:
        faults.append("calls are missing from the table")
    return faults


if __name__ == "__main__":
    planned = plan(int(sys.argv[1]), int(sys.argv[2]))
    json.dump(run(World(planned, Path(sys.argv[3]))), sys.stdout)
