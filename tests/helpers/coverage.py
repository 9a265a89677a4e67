# SPDX-License-Identifier: MIT
"""How much of a program's system calls is forwarded, as the kernel's own tracepoints count it.

Run as a program it serves a test through lines of JSON (`CountingService`), in a process and a
mount namespace of its own.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from elftools.elf.elffile import ELFFile

from memsc.runtime.library import LAYER, local_reason, syscall_name
from memsc.tracer.helper.kernel import tracefs
from memsc.tracer.helper.loading.headers import find_headers

SLOT, OWN, SERVICE, OUTSIDE = range(4)
TARGET = 0.99


@dataclass
class Coverage:
    """What the threads of a tree of processes did after the layer had started in each.

    Attributes:
        forwarded: calls that service threads made, by name.
        missed: calls that could be forwarded and that the application's threads made.
        local: calls that cannot, likewise: on the caller on purpose.
        own: calls of the layer and the runtime for themselves, on the application's threads.
        without: programs executed that never started the layer.
        where: (program, name): missed.
    """

    forwarded: Counter[str] = field(default_factory=Counter[str])
    missed: Counter[str] = field(default_factory=Counter[str])
    local: Counter[str] = field(default_factory=Counter[str])
    own: Counter[str] = field(default_factory=Counter[str])
    without: Counter[str] = field(default_factory=Counter[str])
    where: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])

    @property
    def share(self) -> float:
        """Forwarded, of all that could be."""
        forwarded, missed = self.forwarded.total(), self.missed.total()
        return forwarded / (forwarded + missed) if forwarded + missed else 0.0

    def row(self, name: str) -> str:
        """A line of the table."""
        most = ", ".join(f"{call} {n}" for call, n in self.missed.most_common(3))
        return (
            f"{name:<12} {self.forwarded.total():>9,} {self.missed.total():>7,} "
            f"{self.share:>8.2%} {self.local.total():>8,} {self.own.total():>7,}  {most}"
        )


HEADING = f"{'':<12} {'forwarded':>9} {'missed':>7} {'coverage':>8} {'local':>8} {'own':>7}"


class Counts:
    """The BPF programs, attached until closed.

    Args:
        service_cpu: the service's one CPU.
    """

    def __init__(self, service_cpu: int) -> None:
        bcc: Any = importlib.import_module("bcc")
        tracefs.mount()  # for this process alone, which is why it has to be one of its own
        find_headers().apply()
        with LAYER.open("rb") as file:
            elf = ELFFile(file)
            (code,) = (
                segment.header
                for segment in elf.iter_segments("PT_LOAD")
                if segment.header.p_flags & 1
            )
            section: Any = elf.get_section_by_name(".memsc_stubs")
            slots = section.header
        begin = slots.sh_offset - code.p_offset
        known = {
            "CODE_OFFSET": code.p_offset,
            "CODE_SIZE": -(-code.p_filesz // 4096) * 4096,
            "SLOTS_BEGIN": begin,
            "SLOTS_END": begin + slots.sh_size,
            "SERVICE_CPU": service_cpu,
        }
        text = "".join(f"#define {name} {value}ull\n" for name, value in known.items())
        text += Path(__file__).with_suffix(".c").read_text()
        self._bpf = bcc.BPF(text=text, cflags=["-w"])

    def start(self, command: Sequence[str], cwd: str, output: str, error: str) -> int:
        """Start a command that is counted from its first exec on; returns its process number."""
        for table in ("images", "counts", "programs"):
            self._bpf[table].clear()
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.read(reading, 1)
                os.chdir(cwd)
                for number, path in ((1, output), (2, error)):
                    os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                os.closerange(3, 256)
                signal.signal(signal.SIGPIPE, signal.SIG_DFL)
                signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
                os.execvp(command[0], list(command))
            finally:
                os._exit(127)
        os.close(reading)
        images = self._bpf["images"]
        images[ctypes.c_uint32(child)] = images.Leaf(0, 0)
        os.write(writing, b"g")
        os.close(writing)
        return child

    def read(self) -> Coverage:
        """What was counted so far."""
        found = Coverage()
        for who, number, program, count in self._rows("counts"):
            name = syscall_name(number)
            if local_reason(number) is not None:
                found.local[name] += 0 if who in (SERVICE, OWN) else count
            elif who == SERVICE:
                found.forwarded[name] += count
            elif who == OWN:
                found.own[name] += count
            else:
                found.missed[name] += count
                found.where[program, name] += count
        started = Counter[str]()
        for _, what, program, count in self._rows("programs"):
            if what == 0:
                found.without[program] += count
            elif what == 2:
                started[program] += count
        found.without -= started
        return found

    def _rows(self, table: str) -> Iterator[tuple[int, int, str, int]]:
        for key, value in self._bpf[table].items():
            yield key.who, key.number, key.program.decode(errors="replace"), value.value


class CountingService:
    """The service that counts, for a test."""

    def __init__(self, service_cpu: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.helpers.coverage", str(service_cpu)],
            cwd=Path(__file__).resolve().parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def _ask(self, **question: object) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def start(self, command: Sequence[str], cwd: Path, output: Path, error: Path) -> int:
        """Start a command, its output in files; returns its process number."""
        files = {"cwd": str(cwd), "output": str(output), "error": str(error)}
        return int(self._ask(command=list(command), **files)["pid"])

    def finish(self) -> tuple[int, Coverage]:
        """Wait for its end; exit status (negative: a signal) and what was counted."""
        answer = self._ask()
        names = ("forwarded", "missed", "local", "own", "without")
        groups = {name: Counter[str](answer[name]) for name in names}
        where = Counter({(program, call): n for program, call, n in answer["where"]})
        return answer["status"], Coverage(**groups, where=where)

    def close(self) -> None:
        """End it; the kernel detaches."""
        self._process.communicate()


def _serve() -> None:
    counts = Counts(int(sys.argv[1]))
    child = 0
    for line in sys.stdin:
        question = json.loads(line)
        if question:
            child = counts.start(**question)
            answer: dict[str, object] = {"pid": child}
        else:
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            found = counts.read()
            where = [(*key, n) for key, n in found.where.items()]
            answer = {**vars(found), "where": where, "status": status}
        print(json.dumps(answer), flush=True)  # noqa: T201 - its answer


if __name__ == "__main__":
    _serve()
