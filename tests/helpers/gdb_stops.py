# SPDX-License-Identifier: MIT
"""Run by gdb's own Python: stops a program again and again, and writes down where it stands.

A line of JSON for each stop: the program counters of all frames as gdb unwinds them, the registers
as DWARF numbers them, and a piece of the stack in hexadecimal.
"""

from __future__ import annotations

import json
import os
import random
import threading
import time

import gdb  # pyright: ignore

PAGE, PIECE = 4096, 64 << 10
NAMES = ("rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp")


def frames() -> list[int]:
    found = []
    frame = gdb.newest_frame()
    while frame is not None and len(found) < 127:
        if frame.type() != gdb.INLINE_FRAME:
            found.append(frame.pc())
        frame = frame.older()
    return found


def stop(process: gdb.Inferior) -> dict[str, object]:
    registers = [int(gdb.parse_and_eval(f"${name}")) % (1 << 64) for name in NAMES]
    registers += [int(gdb.parse_and_eval(f"$r{number}")) % (1 << 64) for number in range(8, 16)]
    begin = registers[7] // PAGE * PAGE
    data = b""
    for at in range(begin, begin + PIECE, PAGE):
        try:
            data += bytes(process.read_memory(at, PAGE))
        except gdb.MemoryError:
            break
    rip = int(gdb.parse_and_eval("$pc")) % (1 << 64)
    return {"rip": rip, "registers": registers, "stack": data.hex(), "frames": frames()}


def main() -> None:
    for setting in ("past-main on", "past-entry on", "limit 127"):
        gdb.execute(f"set backtrace {setting}")
    gdb.execute("set pagination off")
    gdb.execute("set debuginfod enabled off")
    gdb.execute(f"attach {os.environ['PROGRAM']}")
    process = gdb.selected_inferior()
    chance = random.Random(1)
    with open(os.environ["OUTPUT"], "w", encoding="utf-8") as file:  # noqa: PTH123
        for _ in range(int(os.environ["STOPS"])):
            wait = chance.uniform(0.001, 0.02)

            def interrupt(wait: float = wait) -> None:
                time.sleep(wait)
                os.kill(process.pid, 5)  # SIGTRAP

            threading.Thread(target=interrupt).start()
            gdb.execute("continue", to_string=True)
            file.write(json.dumps(stop(process)) + "\n")
    gdb.execute("kill")


main()
