# SPDX-License-Identifier: MIT
"""Puts the probes' C together: one text, one set of shared maps, one ring buffer per probe."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from memsc.probes.declaration import FOLDER, Hook, Probe

_ARGUMENT = re.compile(r"^(int \w+\()(struct tracepoint__\w+ \*)(\w+)(\)\n\{\n)", re.MULTILINE)
_FUNCTION = re.compile(r"^int (\w+)\(.*?^}\n", re.MULTILINE | re.DOTALL)


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def _without(text: str, programs: Collection[str]) -> str:
    return _FUNCTION.sub(lambda found: "" if found[1] in programs else found[0], text)


def _handler(probe: Probe, hook: Hook) -> str:
    """The program of a hook at a static probe: all are alike but for the kind of their events."""
    (kind,) = hook.kinds
    constant = f"MEMSC_{probe.name.upper()}_{kind.upper()}"
    call = f"return {probe.name}_on({constant}, ctx);"
    return f"int {hook.program}(struct pt_regs *ctx)\n{{\n    {call}\n}}\n"


def compose(
    probes: Sequence[Probe],
    pages: Mapping[str, int],
    possible_cpus: int,
    absent: Collection[str] = (),
    *,
    kernel_stacks: bool = True,
    walk: Mapping[str, int] | None = None,
) -> str:
    """The C text of these probes.

    Args:
        probes: which; `tracking` among them if children are to be tracked.
        pages: ring buffer size of each probe with events, in pages.
        possible_cpus: CPUs the kernel may ever have; sizes the per-CPU counters.
        kernel_stacks: let probes show where threads are in the kernel, which tells addresses.
        walk: what `stacks.h` is told by definitions, for probes that walk stacks.
        absent: programs to leave out, because BCC cannot compile a tracepoint that does not exist.
    """
    defined = f"#define POSSIBLE_CPUS {possible_cpus}\n#define KERNEL_STACKS {int(kernel_stacks)}\n"
    walking = any(probe.walks for probe in probes)
    defined += f"#define WALKS {int(walking)}\n"
    defined += "".join(f"#define {name} {value}\n" for name, value in (walk or {}).items())
    parts = [defined, _read("common.h")]
    if walking:
        parts += [_read(name) for name in ("rules.h", "walk.h", "stacks.h")]
    for probe in probes:
        if probe.walks:
            parts.append(f"BPF_PERCPU_ARRAY({probe.name}_walk, struct memsc_walk, 1);\n")
        if probe.readings:
            parts.append(f"#define {probe.name.upper()}_READ {len(probe.readings)}\n")
        if probe.kinds:
            ring = _read("ring.h").replace("probe_PAGES", str(pages[probe.name]))
            parts += [probe.c_declarations(), re.sub(r"\bprobe_", f"{probe.name}_", ring)]
        static = [hook for hook in probe.hooks if hook.way == "usdt"]
        if static:
            parts.append(re.sub(r"\bprobe_", f"{probe.name}_", _read("call.h")))
        parts.append(_without(_read(f"{probe.name}.c"), absent))
        parts += [_handler(probe, hook) for hook in static if hook.program not in absent]
    return _each_once("\n".join(parts))


def _each_once(text: str) -> str:
    """The text with each tracepoint's structure named by one program's parameters only.

    BCC defines the structure wherever it is a parameter, and twice where two programs share a
    tracepoint.
    """
    seen: set[str] = set()

    def rewritten(found: re.Match[str]) -> str:
        head, kind, name, tail = found.groups()
        if kind not in seen:
            seen.add(kind)
            return found[0]
        return f"{head}void *context{tail}    {kind}{name} = context;\n"

    return _ARGUMENT.sub(rewritten, text)
