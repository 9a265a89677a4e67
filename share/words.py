# SPDX-License-Identifier: MIT
"""Write the man page and the shells' completions, from the parser that prints --help.

    words.py VERSION OUTPUT

The wheel brings what this makes. memsc is imported from the sources beside this folder, and nothing
that it needs beyond Python itself.
"""

from __future__ import annotations

import argparse
import importlib
import re
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import shtab
from argparse_manpage.manpage import Manpage

ROOT = Path(__file__).resolve().parent.parent
FILES = {
    "bash": "bash-completion/completions/memsc",
    "zsh": "zsh/site-functions/_memsc",
    "fish": "fish/vendor_completions.d/memsc.fish",
}
PAGE = "man/man1/memsc.1"

# What stands for a word in the help, and how it is completed: a program first, then its arguments.
PROGRAM = {
    "bash": "_memsc_program",
    "zsh": "_normal",
    "fish": "(__fish_complete_command) (__fish_complete_path)",
}
PROGRAM_IN_BASH = '_memsc_program() { compgen -c -- "$1"; compgen -f -- "$1"; }'
COMPLETED = {
    **dict.fromkeys(("TRACE", "BASE", "NEW", "DIR"), shtab.DIRECTORY),
    **dict.fromkeys(("FILE", "FILE.md"), shtab.FILE),
    "PROGRAM …": PROGRAM,
}


def parser() -> argparse.ArgumentParser:
    """Memsc's parser, with every sub-command."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    for name, folder in settings["tool"]["memsc"]["packages"].items():
        part = ModuleType(f"memsc.{name}")
        part.__path__ = [str(ROOT / folder)]
        sys.modules[part.__name__] = part
    sys.modules["memsc"] = ModuleType("memsc")
    main = importlib.import_module("memsc.commands.__main__")
    return cast("argparse.ArgumentParser", main.build(main.NAMES))


def chosen() -> dict[str, tuple[str, ...]]:
    """Words of which an option takes one, or several with commas between, by what the help says."""
    launch = importlib.import_module("memsc.runtime.launch")
    declaration = importlib.import_module("memsc.probes.declaration")
    probes = (*(probe.name for probe in declaration.offered()), "none")
    return {"T": launch.TRANSPORTS, "MODE": launch.MODES, "P": probes}


def actions(of: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Every argument of a parser and of its sub-commands."""
    for action in of._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub in cast("dict[str, argparse.ArgumentParser]", action.choices).values():
                yield from actions(sub)
        else:
            yield action


def complete(of: argparse.ArgumentParser) -> None:
    """Say of each argument how it is completed, where its own choices do not say it."""
    words = chosen()
    for action in actions(of):
        name = str(action.metavar)
        if name in COMPLETED:
            cast("Any", action).complete = COMPLETED[name]
        elif (several := name.removesuffix(",…")) in words:
            action.choices = words[several]


def page(of: argparse.ArgumentParser, version: str) -> str:
    """The man page."""
    heading, _, rest = str(of.epilog).partition(":\n")
    of.epilog = None
    data = {
        "project_name": "memsc",
        "version": version,
        "manual_title": "User Commands",
        "description": "forward system calls to another CPU, and show where the time goes",
    }
    made = Manpage(of, data)
    rows = textwrap.dedent(rest).rstrip().replace("-", r"\-")
    made.add_section(heading, "=", f".nf\n{rows}\n.fi")
    made.add_section("see also", "=", ".BR perf (1),\n.BR strace (1),\n.BR futex (2)")
    # A date is no option. Where the locale is C, man shows ASCII only, and nothing for the rest.
    text = str(made).replace(made.date.replace("-", r"\-"), made.date, 1)
    text = text.replace("…", "...").replace("→", "\\->")
    return re.sub("^'", r"\\&'", text, flags=re.MULTILINE)  # a quote there would begin a macro


def main(version: str, output: Path) -> None:
    """Write all of it into a folder laid out like /usr/share."""
    texts = {PAGE: page(parser(), version)}
    for shell, name in FILES.items():
        of = parser()
        complete(of)
        preamble = PROGRAM_IN_BASH if shell == "bash" else ""
        texts[name] = shtab.complete(of, shell, preamble=preamble)
    for name, text in texts.items():
        file = output / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
