# SPDX-License-Identifier: MIT
"""The choice of CPUs, over machines that are made up and over this one."""

from __future__ import annotations

import contextlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memsc.runtime.errors import USAGE, MemscError
from memsc.runtime.topology import Topology, format_cpus, parse_cpus, place, read


@dataclass(frozen=True)
class Machine:
    """Packages × caches × cores × threads; numbered as Linux does, siblings far apart."""

    packages: int
    caches: int
    cores: int
    threads: int

    @property
    def count(self) -> int:
        return self.packages * self.caches * self.cores * self.threads

    def core(self, cpu: int) -> int:
        return cpu % (self.packages * self.caches * self.cores)

    def cache(self, cpu: int) -> int:
        return self.core(cpu) // self.cores

    def package(self, cpu: int) -> int:
        return self.cache(cpu) // self.caches

    def write(self, root: Path, offline: frozenset[int] = frozenset(), isolated: str = "") -> Path:
        everyone = range(self.count)
        online = [cpu for cpu in everyone if cpu not in offline]

        def put(name: str, text: str) -> None:
            file = root / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text + "\n")

        put("cpu/present", format_cpus(everyone))
        put("cpu/online", format_cpus(online))
        put("cpu/isolated", isolated)
        for cpu in online:
            core = [o for o in online if self.core(o) == self.core(cpu)]
            cache = [o for o in online if self.cache(o) == self.cache(cpu)]
            put(f"cpu/cpu{cpu}/topology/core_cpus_list", format_cpus(core))
            put(f"cpu/cpu{cpu}/cache/index0/level", "1")
            put(f"cpu/cpu{cpu}/cache/index0/shared_cpu_list", format_cpus(core))
            put(f"cpu/cpu{cpu}/cache/index3/level", "3")
            put(f"cpu/cpu{cpu}/cache/index3/shared_cpu_list", format_cpus(cache))
        for package in range(self.packages):
            node = [cpu for cpu in everyone if self.package(cpu) == package]
            put(f"node/node{package}/cpulist", format_cpus(node))
        return root


def build(
    machine: Machine,
    offline: frozenset[int] = frozenset(),
    allowed: frozenset[int] | None = None,
    reachable: frozenset[int] | None = None,
    isolated: str = "",
) -> Topology:
    every = frozenset(range(machine.count))
    with tempfile.TemporaryDirectory() as folder:
        root = machine.write(Path(folder), offline, isolated)
        return read(
            root,
            every if allowed is None else allowed,
            every if reachable is None else reachable,
        )


machines = st.builds(
    Machine,
    packages=st.integers(1, 2),
    caches=st.integers(1, 3),
    cores=st.integers(1, 3),
    threads=st.integers(1, 2),
)
cpu_sets = st.sets(st.integers(0, 8191), min_size=1, max_size=40)


@given(cpu_sets)
def test_writing_then_reading_a_list_is_identity(cpus: set[int]) -> None:
    assert parse_cpus(format_cpus(cpus)) == tuple(sorted(cpus))


@pytest.mark.parametrize(
    ("text", "cpus"),
    [
        ("0", (0,)),
        ("0,2-3", (0, 2, 3)),
        ("3,1,1", (1, 3)),
        (" 1 , 4 - 5 \n", (1, 4, 5)),
        ("0-0", (0,)),
    ],
)
def test_lists(text: str, cpus: tuple[int, ...]) -> None:
    assert parse_cpus(text) == cpus


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        ",",
        "0,",
        "a",
        "-1",
        "1-",
        "3-1",
        "0x1",
        "1.5",
        "²",
        "0-99999999999",
        "9999",
        "1--2",
    ],
)
def test_a_bad_list_is_a_usage_error_that_quotes_it(text: str) -> None:
    with pytest.raises(MemscError) as caught:
        parse_cpus(text, "--app-cpus")
    assert caught.value.status == USAGE
    assert f"--app-cpus '{text}'" in str(caught.value)


@given(st.text(max_size=12))
def test_no_text_makes_the_parser_fail_otherwise(text: str) -> None:
    with contextlib.suppress(MemscError):
        assert parse_cpus(text)


@given(machines)
def test_reading_finds_what_the_machine_was_made_of(machine: Machine) -> None:
    topology = build(machine)
    assert topology.online == frozenset(range(machine.count))
    for number, cpu in topology.cpus.items():
        assert len(cpu.siblings) == machine.threads
        assert len(cpu.cache) == machine.cores * machine.threads
        assert cpu.siblings <= cpu.cache
        assert number in cpu.siblings
        assert cpu.node == machine.package(number)


@given(machines, st.sampled_from(["memsc", "ipi"]))
def test_defaults_are_the_nearest_cpus_that_share_no_core(machine: Machine, transport: str) -> None:
    if machine.count == 1:
        return
    topology = build(machine)
    chosen = place(topology, transport)
    (app,), (service,) = chosen.app_cpus, chosen.service_cpus
    assert app != service
    shares_core = service in topology.cpus[app].siblings
    shares_cache = service in topology.cpus[app].cache
    one_core = machine.packages * machine.caches * machine.cores == 1
    assert shares_core == one_core
    assert shares_cache == (machine.cores > 1 or one_core)
    assert bool(chosen.notes) == (shares_core or not shares_cache)


@given(machines, st.data())
def test_defaults_stay_within_what_is_allowed(machine: Machine, data: st.DataObject) -> None:
    every = st.sampled_from(range(machine.count))
    allowed = frozenset(data.draw(st.sets(every, min_size=1)))
    topology = build(machine, allowed=allowed)
    try:
        chosen = place(topology, "memsc")
    except MemscError:
        assert len(allowed) == 1
    else:
        assert {*chosen.app_cpus, *chosen.service_cpus} <= allowed


def test_the_application_prefers_an_isolated_cpu() -> None:
    topology = build(
        Machine(1, 1, 4, 1),
        allowed=frozenset({0, 2, 3}),
        reachable=frozenset(range(4)),
        isolated="1",
    )
    assert place(topology, "memsc").app_cpus == (1,)


def test_the_given_side_decides_the_other() -> None:
    topology = build(Machine(2, 1, 2, 1))
    assert place(topology, "memsc", app_cpus=[0]).service_cpus == (1,)
    assert place(topology, "memsc", service_cpus=[3]).app_cpus == (2,)


@pytest.mark.parametrize(
    ("apps", "services", "why"),
    [
        ([9], None, "no CPU 9"),
        (None, [9], "no CPU 9"),
        ([3], None, "CPU 3 is offline"),
        ([2], None, "excludes CPU 2"),
        ([0], [0], "CPU of its own"),
        ([0, 1], [1], "CPU of its own"),
        ([], None, "names no CPU"),
    ],
)
def test_a_bad_choice_is_refused_by_name(
    apps: list[int] | None, services: list[int] | None, why: str
) -> None:
    topology = build(
        Machine(1, 1, 4, 1),
        offline=frozenset({3}),
        reachable=frozenset({0, 1}),
        allowed=frozenset({0, 1}),
    )
    with pytest.raises(MemscError) as caught:
        place(topology, "memsc", apps, services)
    assert why in str(caught.value)
    assert caught.value.remedy


def test_one_cpu_is_refused_where_both_sides_poll() -> None:
    topology = build(Machine(1, 1, 1, 1))
    with pytest.raises(MemscError) as caught:
        place(topology, "memsc")
    assert "--transport direct" in caught.value.remedy
    assert "ipi" in caught.value.remedy
    assert place(topology, "direct").app_cpus == (0,)
    shared = place(topology, "ipi")
    assert shared.app_cpus == shared.service_cpus == (0,)
    assert shared.notes


def test_a_bare_sysfs_is_read_at_its_plainest(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "online").write_text("0-1\n")
    topology = read(tmp_path, {0, 1}, {0, 1})
    assert topology.present == {0, 1}
    assert topology.cpus[0].siblings == {0}
    assert topology.cpus[0].cache == {0, 1}
    assert topology.cpus[0].node is None


def test_this_machine_agrees_with_the_kernel() -> None:
    topology = read()
    affinity = os.sched_getaffinity(0)
    assert topology.allowed == affinity
    assert topology.allowed <= topology.reachable <= topology.online <= topology.present
    assert os.sched_getaffinity(0) == affinity, "looking must not change the affinity"
    assert set(place(topology, "direct").app_cpus) <= affinity
