# SPDX-License-Identifier: MIT
"""What users install: the source archive, the wheel made from it, and memsc in an environment
that has this wheel and what it declares to need, and nothing else."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from memsc.commands.__main__ import NAMES
from memsc.runtime import topology
from memsc.runtime.launch import TRANSPORTS

ROOT = Path(__file__).resolve().parents[2]
SPINS = len(topology.read().reachable) > 1

# Not in bin/memsc's own words, for it is to find every module that is there.
IMPORT_ALL = """
import importlib, pkgutil, memsc
names = [module.name for module in pkgutil.walk_packages(memsc.__path__, "memsc.")]
print(len([importlib.import_module(name) for name in names if name not in %r]))
"""
# What a shell does when TYPED stands there and the tab key is pressed; one offer a line.
COMPLETE = {
    "bash": """
        . /usr/share/bash-completion/bash_completion
        . "$SHARE/bash-completion/completions/memsc"
        COMP_LINE=$TYPED COMP_POINT=${#TYPED}
        read -ra COMP_WORDS <<<"$TYPED"
        [[ $TYPED == *' ' ]] && COMP_WORDS+=('')
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        set -- $(complete -p memsc)
        while [[ $1 != -F ]]; do shift; done
        $2 memsc "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}" 2>/dev/null
        printf '%s\\n' "${COMPREPLY[@]}" | sort -u
    """,
    "fish": 'source $SHARE/fish/vendor_completions.d/memsc.fish; complete -C "$TYPED"',
}
# The first needs a command line, the second is IPython's to load.
NOT_IMPORTED = ("memsc.commands.__main__", "memsc.commands.magic")


def needed(distribution: metadata.Distribution) -> Iterator[metadata.Distribution]:
    """What a distribution declares to need without extras, and theirs; some more than once."""
    for line in distribution.requires or ():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            found = metadata.distribution(requirement.name)
            assert requirement.specifier.contains(found.version), line
            yield found
            yield from needed(found)


def link(distribution: metadata.Distribution, site: Path) -> None:
    """Put a distribution that is installed here into another environment, too."""
    base = Path(str(distribution.locate_file("")))
    for name in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
        if not (site / name).is_symlink():
            (site / name).symlink_to(base / name)


class Installation:
    """A new environment, which sees no Python package of the system's, with the wheel in it.

    Args:
        folder: where the environment is made, and a folder to work in.
        wheel: what is installed.
    """

    def __init__(self, folder: Path, wheel: Path) -> None:
        self.bin = folder / "venv" / "bin"
        self.home = folder / "home"
        self.home.mkdir()
        # By the system's Python: this test's own one leads to the source tree.
        make = ["/usr/bin/python3", "-m", "venv", "--without-pip", folder / "venv"]
        subprocess.run(make, check=True)
        pip = [sys.executable, "-m", "pip", "--python", self.bin / "python", "--quiet"]
        pip += ["--disable-pip-version-check"]
        subprocess.run([*pip, "install", "--no-deps", "--no-index", wheel], check=True)
        self.site = next((folder / "venv").glob("lib/python3*/site-packages"))
        (memsc,) = metadata.distributions(name="memsc", path=[str(self.site)])
        for distribution in needed(memsc):
            link(distribution, self.site)

    def run(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """A command of the environment, with no variable that could lead elsewhere."""
        return subprocess.run(
            [self.bin / words[0], *words[1:]],
            cwd=self.home,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(self.home)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both; the wheel is made from the archive, so that cannot lack anything."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT]
    done = subprocess.run(build, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def installed(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return Installation(tmp_path_factory.mktemp("clean"), next(made.glob("*.whl")))


def test_the_archive_has_sources_alone(made: Path) -> None:
    with tarfile.open(next(made.glob("*.tar.gz"))) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    assert {"LICENSE", "runtime/src/layout.h", "tests/live/test_package.py"} <= set(names)
    assert not [name for name in names if name.startswith(("build/", ".venv", "runtime/native"))]


def test_the_wheel_has_what_runs_alone(made: Path) -> None:
    with zipfile.ZipFile(next(made.glob("*.whl"))) as archive:
        names = archive.namelist()
    ours = [name for name in names if name.startswith("memsc/")]
    kinds = {Path(name).suffix for name in ours}
    assert kinds == {".py", ".typed", ".c", ".h", ".html", ".md", ".json", ".so", ".0", ""}
    c_files = [name for name in ours if name.endswith((".c", ".h"))]
    elsewhere = [name for name in c_files if not name.startswith("memsc/probes/")]
    assert elsewhere == ["memsc/runtime/include/memsc.h"]
    native = {Path(name).name for name in ours if name.startswith("memsc/runtime/native/")}
    assert native >= {"libmemsc.so", "libmemsc.so.0", "layout.json"}
    assert native >= {"memsc-work", "memsc-launch", "memsc-peers"}
    assert "memsc-work-lttng" not in native  # needs what is only here


def test_everything_imports_with_what_is_declared(installed: Installation) -> None:
    done = installed.run("python", "-I", "-c", IMPORT_ALL % (NOT_IMPORTED,))
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100


@pytest.mark.parametrize("where", ["installed", "sources"])
def test_a_folder_of_its_name_does_not_hide_it(
    installed: Installation, tmp_path: Path, where: str
) -> None:
    (tmp_path / "memsc" / "commands").mkdir(parents=True)
    python = installed.bin / "python" if where == "installed" else sys.executable
    asked = [python, "-c", "import memsc.commands as found; print(found.__file__)"]
    done = subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("commands/__init__.py\n")
    run = [python, "-m", "memsc.commands", "--version"]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("memsc ")


def test_version(installed: Installation) -> None:
    done = installed.run("memsc", "--version")
    assert re.fullmatch(r"memsc \d+\.\d+\.\d+\n", done.stdout), done


def test_the_man_page_has_every_command(installed: Installation) -> None:
    page = installed.bin.parent / "share/man/man1/memsc.1"
    # Lines of over 80 bytes are style, not faults.
    checked = subprocess.run(
        ["mandoc", "-Tlint", "-Wwarning", page], capture_output=True, text=True, check=False
    )
    assert checked.stdout + checked.stderr == ""
    drawn = subprocess.run(
        ["mandoc", "-Tutf8", "-Owidth=78", page], capture_output=True, text=True, check=True
    )
    shown = re.sub(".\b", "", drawn.stdout)  # bold and underlined, as typewriters did
    assert page.read_text().isascii()
    for name in NAMES:
        assert f"memsc {name}" in shown
    assert "--service-cpus LIST" in shown
    assert re.search(r"EXIT STATUS\n +0 +fine", shown)
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("memsc re", {"report"}),
        ("memsc run --tr", {"--transport"}),
        ("memsc trace --transport ", {*TRANSPORTS}),
        ("memsc export --format p", {"perfetto", "parquet"}),
        ("memsc run -- mkfif", {"mkfifo"}),
        ("memsc run -- cat a", {"abc"}),
        ("memsc report a", {"a.memsc"}),
    ],
)
@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_shells_complete(
    installed: Installation, tmp_path: Path, shell: str, typed: str, offered: set[str]
) -> None:
    (tmp_path / "a.memsc").mkdir()
    (tmp_path / "abc").touch()
    share = str(installed.bin.parent / "share")
    done = subprocess.run(
        [shell, "--norc" if shell == "bash" else "--no-config", "-c", COMPLETE[shell]],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "SHARE": share, "TYPED": typed},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    said = {line.partition("\t")[0].rstrip("/") for line in done.stdout.splitlines()}
    assert said >= offered, done
    if not typed.endswith((" a", "--format p")):
        assert said == offered


def test_zsh_takes_its_completion(installed: Installation) -> None:
    functions = installed.bin.parent / "share/zsh/site-functions"
    script = "fpath=($1 $fpath); autoload -Uz compinit; compinit -D; print -r -- $_comps[memsc]"
    ask = ["zsh", "-f", "-c", script, "zsh", functions]
    done = subprocess.run(ask, capture_output=True, text=True, check=True)
    assert done.stdout == "_memsc\n"
    subprocess.run(["zsh", "-n", functions / "_memsc"], check=True)


@pytest.mark.skipif(not SPINS, reason="needs two CPUs")
def test_a_program_runs(installed: Installation) -> None:
    (installed.home / "a file").touch()
    for _ in range(2):  # by Python, and by the front alone
        done = installed.run("memsc", "run", "--", "ls")
        assert (done.returncode, done.stdout) == (0, "a file\n"), done
    counted = installed.run("memsc", "run", "--stats", "--", "ls")
    assert "getdents64" in counted.stderr, counted


@pytest.mark.bpf
@pytest.mark.skipif(not SPINS, reason="needs two CPUs")
def test_doctor_finds_the_systems_bcc(installed: Installation) -> None:
    done = installed.run("memsc", "doctor", "--json")
    assert done.returncode == 0, done
    said = json.loads(done.stdout)
    state = {feature["name"]: feature for feature in said["features"]}
    assert state["BCC"]["state"] == "ok", state["BCC"]
    assert said["environment"]["bcc"]


@pytest.mark.bpf
@pytest.mark.skipif(not SPINS, reason="needs two CPUs")
def test_a_trace_with_probes_and_its_report(installed: Installation) -> None:
    done = installed.run("memsc", "trace", "-o", "a.memsc", "--no-calibrate", "--", "ls", "/usr")
    assert done.returncode == 0, done
    session = json.loads((installed.home / "a.memsc/session.json").read_text())
    assert [p["reason"] for p in session["probes"].values() if not p["attached"]] == []
    done = installed.run("memsc", "report", "a.memsc", "--json", "--html", "a.html")
    assert done.returncode in (0, 4), done  # 4: too few calls for a verdict
    assert json.loads(done.stdout)["arms"]["memsc"]["lost"] == 0
    assert (installed.home / "a.html").stat().st_size > 10_000


@pytest.mark.bpf
@pytest.mark.skipif(not SPINS, reason="needs two CPUs")
def test_stripped_libraries_are_traced_as_well(installed: Installation) -> None:
    files = [*(installed.site / "memsc/runtime/native").iterdir()]
    programs = [file for file in files if file.suffix != ".json"]
    subprocess.run(["strip", *programs], check=True)
    for program in programs:
        assert not re.search(rb"\.symtab|\.debug", program.read_bytes())
    probes = ["--probes", "stages", "--no-calibrate"]
    done = installed.run("memsc", "trace", "-o", "bare.memsc", *probes, "--", "ls", "/usr")
    assert done.returncode == 0, done
    session = json.loads((installed.home / "bare.memsc/session.json").read_text())
    assert session["probes"]["stages"]["seen"] > 0
    done = installed.run("memsc", "report", "bare.memsc", "--json")
    assert json.loads(done.stdout)["arms"]["memsc"]["lost"] == 0


def test_a_build_without_the_layer_says_so(installed: Installation) -> None:
    """As on 64-bit Arm: what needs it is refused in a line, what does not works."""
    layer = installed.site / "memsc/runtime/native/libmemsc-layer.so"
    away = layer.rename(installed.home.parent / layer.name)
    try:
        done = installed.run("memsc", "run", "--transport", "ipi", "--", "true")
        assert done.returncode == 1, done
        last = done.stderr.splitlines()[-1]
        assert re.fullmatch(r"memsc: .*no C-library layer.*; .*--transport direct.*", last), done
        done = installed.run("memsc", "run", "--transport", "direct", "--", "echo", "works")
        assert (done.returncode, done.stdout) == (0, "works\n"), done
        done = installed.run("memsc", "doctor")
        assert done.returncode == 1, done
        assert "not possible, see C-library layer" in done.stdout
    finally:
        away.rename(layer)
