# SPDX-License-Identifier: MIT
"""Programs with the layer preloaded: where they may run, and what is in their environment."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.required import two_cpus

from memsc.runtime.files import LAYER

CPUS = sorted(os.sched_getaffinity(0))  # the service's is the first, the program's the last
# Transport and service of those arms that are not direct.
CARRIED = [("ipi", "inline"), ("memsc", "inline"), ("memsc", "scanner")]
LIMIT_S = 120
GLIBC = tuple(map(int, platform.libc_ver()[1].split(".")))
# By either a process joins at its first call; else the first calls of each are its own.
RECORDED = {"MEMSC_RECORD": "1", "MEMSC_RING": "1024"}
ATTACHABLE = ("--attachable",)

MARKS = [
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the layer knows x86-64 only"),
    two_cpus,
]


def arm(transport: str, service: str) -> tuple[str, ...]:
    """Options of `memsc run` for what carries calls, from the first of each process on."""
    joins = () if transport == "direct" else ATTACHABLE
    return (*joins, "--transport", transport, "--service", service)


def environment(transport: str | None, service: str = "inline", **more: str) -> dict[str, str]:
    """What a program finds in its environment: nothing of memsc's but what carries it.

    Args:
        transport: what carries its calls; None: no layer is preloaded.
        service: how its service is looked for.
        more: variables besides.
    """
    variables = {k: v for k, v in os.environ.items() if not k.startswith("MEMSC_")}
    variables["LC_ALL"] = "C"
    if transport is not None:
        variables |= {
            "LD_PRELOAD": str(LAYER),
            "MEMSC_TRANSPORT": transport,
            "MEMSC_SERVICE": service,
            "MEMSC_SERVICE_CPUS": str(CPUS[0]),
        }
    return variables | more


@contextmanager
def answering(
    *command: str, variables: dict[str, str], folder: Path | None = None
) -> Generator[subprocess.Popen[str]]:
    """`cat` that has given a line back, and waits for the next.

    Args:
        command: `cat`, or what becomes it.
        variables: its environment.
        folder: where it runs.
    """
    with subprocess.Popen(
        ["taskset", "-c", str(CPUS[-1]), *command],
        env=variables,
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write("before\n")
        process.stdin.flush()
        assert process.stdout.readline() == "before\n"
        yield process


def away() -> None:
    """Go where the service is not: on its CPU a program would call directly."""
    os.sched_setaffinity(0, {CPUS[-1]})


def run(
    command: list[str], variables: dict[str, str], **how: Any
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, away from the service's CPU and with nothing to read.

    Args:
        command: the program and its arguments.
        variables: its environment.
        how: as for `subprocess.run`.
    """
    return subprocess.run(
        command,
        check=False,
        env=variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        preexec_fn=away,
        **how,
    )
