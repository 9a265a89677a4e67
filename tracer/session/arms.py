# SPDX-License-Identifier: MIT
"""From what a user asked for to the launches of the arms, on CPUs that exist."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from memsc.runtime import topology
from memsc.runtime.errors import USAGE, MemscError
from memsc.runtime.launch import Launch, parse_arm

ALL = (("direct", "inline"), ("ipi", "inline"), ("memsc", "inline"), ("memsc", "scanner"))


def product(transports: Sequence[str], services: Sequence[str]) -> list[tuple[str, str]]:
    """Transports and service modes as arms; `direct` has no service and appears once."""
    return [
        (transport, service)
        for transport in transports
        for service in (services[:1] if transport == "direct" else services)
    ]


def place(
    arms: Sequence[tuple[str, str]],
    template: Launch,
    app_cpus: str | None = None,
    service_cpus: str | None = None,
) -> tuple[list[Launch], list[str]]:
    """Launches of arms, all on the same CPUs, or a comparison would compare CPUs.

    Args:
        arms: pairs of transport and service mode.
        template: everything else about them.
        app_cpus: CPU list as the user gave it; None chooses by topology.
        service_cpus: likewise.

    Returns:
        The launches, and what is less than ideal about the CPUs, one line each.

    Raises:
        MemscError: no such arm or CPU, one arm twice, or too few CPUs.
    """
    launches = [parse_arm(transport, service, template) for transport, service in arms]
    names = [launch.arm for launch in launches]
    if twice := next((name for name in names if names.count(name) > 1), None):
        why = "its calls could not be told apart"
        remedy = "name it once; to compare an arm with itself, record two traces"
        raise MemscError(f"arm {twice} is named twice", why, remedy, USAGE)
    # The most demanding transport decides for all.
    demanding = max((launch.transport for launch in launches), key=_DEMAND.__getitem__)
    placement = topology.place(
        topology.read(),
        demanding,
        None if app_cpus is None else topology.parse_cpus(app_cpus, "--app-cpus"),
        None if service_cpus is None else topology.parse_cpus(service_cpus, "--service-cpus"),
    )
    placed = [
        replace(
            launch,
            app_cpus=placement.app_cpus,
            service_cpus=() if launch.transport == "direct" else placement.service_cpus,
        )
        for launch in launches
    ]
    return placed, list(placement.notes)


def place_all(
    template: Launch, app_cpus: str | None = None, service_cpus: str | None = None
) -> tuple[list[Launch], list[str]]:
    """Launches of all arms for which there are CPUs; arguments and errors as for `place`.

    Returns:
        As `place`; which arms are left out, and why, is among the lines.
    """
    try:
        return place(ALL, template, app_cpus, service_cpus)
    except MemscError as error:
        # On one CPU those whose sides take turns still run. Whatever else is wrong is so again.
        some = [arm for arm in ALL if arm[0] not in topology.SPINNING]
        launches, notes = place(some, template, app_cpus, service_cpus)
        without = ", ".join(parse_arm(*arm, template).arm for arm in ALL if arm not in some)
        return launches, [f"without {without}: {error.why}", *notes]


_DEMAND = {"direct": 0, "ipi": 1, "memsc": 2, "adaptive": 2}
