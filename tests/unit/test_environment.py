# SPDX-License-Identifier: MIT
"""The environment is JSON, hides nothing behind a null without a reason, and tells no secrets."""

from __future__ import annotations

import socket
from pathlib import Path

import msgspec

from memsc.runtime.topology import read
from memsc.tracer.format import Environment
from memsc.tracer.session.environment import Json, Unknown, describe, settle


def unexplained(environment: Environment) -> list[str]:
    return [
        name
        for name in environment.__struct_fields__
        if getattr(environment, name) is None and not getattr(environment, f"{name}_reason")
    ]


def put(root: Path, name: str, text: str) -> None:
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_this_machine_is_described_in_json() -> None:
    environment = describe()
    assert msgspec.json.decode(msgspec.json.encode(environment), type=Environment) == environment
    assert unexplained(environment) == []
    assert environment.kernel
    assert environment.cpus_online
    assert environment.glibc


def test_names_of_host_and_user_stay_out() -> None:
    text = msgspec.json.encode(describe()).decode()
    assert f'"{socket.gethostname()}"' not in text
    assert str(Path.home()) + "/" not in text


def test_an_empty_machine_gives_reasons_instead_of_values(tmp_path: Path) -> None:
    environment = describe(tmp_path, read())
    assert unexplained(environment) == []
    for name in ("kernel", "mitigations", "idle_driver", "cpufreq_driver", "hypervisor"):
        assert getattr(environment, name) is None
        assert getattr(environment, f"{name}_reason")


def test_only_timing_arguments_of_the_kernel_are_kept(tmp_path: Path) -> None:
    put(tmp_path, "proc/cmdline", "root=/dev/vda isolcpus=1 password=x nohz_full=1 idle=poll\n")
    arguments = describe(tmp_path, read()).kernel_arguments
    assert arguments == ["isolcpus=1", "nohz_full=1", "idle=poll"]


def test_sources_are_read_as_the_kernel_writes_them(tmp_path: Path) -> None:
    clock = "sys/devices/system/clocksource/clocksource0/"
    put(tmp_path, clock + "available_clocksource", "tsc kvm-clock \n")
    put(tmp_path, clock + "current_clocksource", "tsc\n")
    put(tmp_path, "proc/sys/kernel/version", "#1 SMP PREEMPT_DYNAMIC Debian 6.1\n")
    put(tmp_path, "sys/kernel/debug/sched/preempt", "none (voluntary) full \n")
    put(tmp_path, "sys/devices/system/cpu/nohz_full", "(null)\n")
    put(tmp_path, "proc/meminfo", "MemTotal:       16 kB\nMemFree: 1 kB\n")
    environment = describe(tmp_path, read())
    expected: dict[str, Json] = {
        "clocksource": "tsc",
        "hypervisor": "kvm",
        "preemption": "voluntary",
        "nohz_full_cpus": "",
        "memory_bytes": 16384,
    }
    assert {name: getattr(environment, name) for name in expected} == expected


def test_unknown_becomes_null_with_its_reason() -> None:
    assert settle({"a": 1, "b": Unknown("so")}) == {"a": 1, "b": None, "b_reason": "so"}
