# SPDX-License-Identifier: MIT
"""What the C-library layer counted, as its programs told it, summed up.

Each program that exits or executes another says it in one message: see `runtime/layer/stats.h`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from memsc.runtime.carried import FILTERED, Carried
from memsc.runtime.printable import printable
from memsc.runtime.session_socket import Message

SCHEMA = 1
_GROUPS = ("sites", "unpatched", "forwarded", "local")


class Tally:
    """Counts of all programs of a run.

    Attributes:
        programs: names of the programs that left their counts, one for each line.
        groups: `forwarded` and `local` calls by system call, `sites` rewritten by kind,
            `unpatched` sites by reason.
        missed: calls that could have been forwarded, by reason and system call.
        carried: which programs were carried at all.
    """

    def __init__(self) -> None:
        self.programs: list[str] = []
        self.groups: dict[str, Counter[str]] = {group: Counter() for group in _GROUPS}
        self.missed: Counter[tuple[str, str]] = Counter()
        self.carried = Carried()

    def add(self, message: Message) -> None:
        """Add what a program said; what is none of it is passed over: it may say anything."""
        self.carried.add(message)
        found = message.said
        try:
            groups = {group: _counts(found[group]) for group in _GROUPS}
            missed = {str(why): _counts(calls) for why, calls in found["missed"].items()}
            program = printable(str(found["program"]))
        except (ValueError, KeyError, TypeError, AttributeError):
            return
        self.programs.append(program)
        for group, by_name in groups.items():
            self.groups[group].update(by_name)
        for why, by_name in missed.items():
            for name, n in by_name.items():
                self.missed[printable(why), name] += n

    @property
    def forwarded(self) -> Counter[str]:
        """Calls that the service made, by system call."""
        return self.groups["forwarded"]

    @property
    def local(self) -> Counter[str]:
        """Calls that stayed on the caller on purpose, by system call."""
        return self.groups["local"]

    @property
    def missed_by_call(self) -> Counter[str]:
        """Calls that could have been forwarded and were not, by system call."""
        sums = Counter[str]()
        for (_, name), n in self.missed.items():
            sums[name] += n
        return sums

    @property
    def share(self) -> float | None:
        """Forwarded, of all that could be; None if there was nothing to forward."""
        forwarded, missed = self.forwarded.total(), self.missed.total()
        return forwarded / (forwarded + missed) if forwarded + missed else None

    @property
    def directly(self) -> Counter[tuple[str, str]]:
        """What an exec led to that memsc did not carry: (path, why), how often."""
        found = self.carried.directly()
        return Counter({(path, why): n for (path, why), n in found.items() if why != FILTERED})

    @property
    def filtered(self) -> Counter[str]:
        """Those that went on directly under a seccomp filter of their own, by name."""
        found = self.carried.left
        return Counter({name: n for (name, why), n in found.items() if why == FILTERED})

    @property
    def uncounted(self) -> Counter[str]:
        """Programs that were carried and left no counts, since a signal ended them, by name."""
        return self.carried.running

    def local_by_reason(self) -> dict[str, Counter[str]]:
        """Calls that stayed on the caller by why, as the runtime's table has it; the most first."""
        reasons: dict[str, Counter[str]] = {}
        known = _reasons()
        for name, n in self.local.items():
            reasons.setdefault(known.get(name, _UNKNOWN), Counter())[name] += n
        return _most_first(reasons)

    def missed_by_reason(self) -> dict[str, Counter[str]]:
        """Missed calls by why, the most first."""
        reasons: dict[str, Counter[str]] = {}
        for (why, name), n in self.missed.items():
            reasons.setdefault(why, Counter())[name] += n
        return _most_first(reasons)

    def rows(self) -> list[tuple[str, int, int, int]]:
        """(system call, forwarded, missed, local), the most frequent first."""
        forwarded, missed, local = self.forwarded, self.missed_by_call, self.local
        every = forwarded + missed + local
        names = sorted(every, key=lambda name: (-every[name], name))
        return [(name, forwarded[name], missed[name], local[name]) for name in names]


def to_json(tally: Tally) -> dict[str, Any]:
    """All of it, for `memsc run --stats-json`; see docs/design.md."""
    share = tally.share
    return {
        "schema": SCHEMA,
        "programs": dict(Counter(tally.programs)),
        "forwarded": tally.forwarded.total(),
        "missed": tally.missed.total(),
        "local": tally.local.total(),
        "share": share,
        "share_reason": None if share is not None else "nothing could be forwarded",
        "calls": {
            name: {"forwarded": forwarded, "missed": missed, "local": local}
            for name, forwarded, missed, local in tally.rows()
        },
        "missed_by_reason": tally.missed_by_reason(),
        "local_by_reason": tally.local_by_reason(),
        "directly": [
            {"path": path, "why": why, "times": n} for (path, why), n in tally.directly.items()
        ],
        "filtered": dict(tally.filtered),
        "uncounted": dict(tally.uncounted),
        "instructions": {
            "rewritten": dict(tally.groups["sites"]),
            "left": dict(tally.groups["unpatched"]),
        },
    }


_UNKNOWN = "not in memsc's table"


def _reasons() -> dict[str, str]:
    """Why each system call stays on the caller, or some of its calls do, by name."""
    from memsc.runtime.library import exception, local_reason, syscall_name  # noqa: PLC0415

    reasons = {
        syscall_name(number): local_reason(number) or exception(number) for number in range(512)
    }
    return {name: why for name, why in reasons.items() if why is not None}


def _counts(found: Mapping[Any, Any]) -> Counter[str]:
    return Counter({printable(str(name)): int(n) for name, n in found.items()})


def _most_first(reasons: dict[str, Counter[str]]) -> dict[str, Counter[str]]:
    return dict(sorted(reasons.items(), key=lambda item: (-item[1].total(), item[0])))
