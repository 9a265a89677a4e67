# SPDX-License-Identifier: MIT
"""Whether probes could sit somewhere: tried with a program that does nothing, and taken back."""

from __future__ import annotations

import errno
import os
from contextlib import suppress

from memsc.probes.declaration import Hook
from memsc.tracer.helper.kernel import bpf, perf


def attach(hook: Hook) -> str:
    """Attach by the first variant that can be, and detach; returns which it is, for a user.

    Raises:
        OSError: the tracepoint is missing, and nothing stands in for it.
    """
    try:
        return tracepoint(hook.place)
    except OSError as error:
        for variant in hook.instead:
            if variant.way not in ("fentry", "kprobe"):
                continue
            with suppress(OSError):
                look = enter if variant.way == "fentry" else probe
                for place, _ in variant.points:
                    look(place)
                return f"attaches by {variant.way} instead"
        raise error


def tracepoint(event: str) -> str:
    """Attach to a tracepoint, and detach."""
    program = bpf.load_program(bpf.RAW_TRACEPOINT)
    try:
        os.close(bpf.attach_raw(program, event.partition(":")[2]))
    except FileNotFoundError as error:
        raise OSError(errno.ENOENT, "no such tracepoint") from error
    finally:
        os.close(program)
    return "attaches"


def probe(function: str) -> None:
    """Attach a kprobe to a function's entry, and detach."""
    os.close(perf.open_kprobe(function))


def enter(function: str) -> None:
    """Attach an fentry program to a function's entry, and detach."""
    program = bpf.load_program(bpf.TRACING, bpf.function_id(function))
    try:
        os.close(bpf.attach_raw(program, None))
    finally:
        os.close(program)
