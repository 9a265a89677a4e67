# SPDX-License-Identifier: MIT
# IPython is only there in a notebook, and loosely typed.
"""memsc in a notebook: `%load_ext memsc.commands.magic`.

Afterwards figures of memsc are shown as they are saved, and `%memsc` or `%%memsc` traces a command:

    %memsc --transport direct,memsc -- ls -l

    %%memsc --rounds 4 --as t
    dd if=/dev/zero of=/dev/null bs=512 count=1000
"""

from __future__ import annotations

import atexit
import re
import shlex
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memsc.runtime.errors import USAGE, MemscError

if TYPE_CHECKING:
    from memsc.analysis.trace import Trace

_WHAT = "%memsc"


def load_ipython_extension(shell: Any) -> None:
    """What `%load_ext` calls."""
    from matplotlib.figure import Figure

    from memsc.analysis.figures.files import to_svg

    shell.display_formatter.formatters["image/svg+xml"].for_type(Figure, to_svg)
    # One picture for each figure: without this, its description is printed too.
    shell.display_formatter.formatters["image/png"].for_type(Figure, _nothing)
    shell.register_magic_function(_magic(shell), "line_cell", "memsc")


def _nothing(_: Any) -> None:
    return None


def _magic(shell: Any) -> Any:
    def memsc(line: str, cell: str | None = None) -> Trace | None:
        """Trace a command: options of `memsc trace`, then the command; `--as NAME` keeps it."""
        from IPython.core.error import UsageError

        try:
            name, arguments = arguments_of(line, cell)
            trace = record(arguments)
        except MemscError as error:
            raise UsageError(f"memsc: {error}") from None
        if name is not None:
            shell.user_ns[name] = trace
        return trace

    return memsc


def arguments_of(line: str, cell: str | None) -> tuple[str | None, list[str]]:
    """The variable that keeps the trace, and the arguments of `memsc trace`.

    Raises:
        MemscError: no command, or more than one.
    """
    body = (cell or "").replace("\\\n", " ")
    try:
        words = shlex.split(line)
        command = shlex.split(body, comments=True)
    except ValueError as error:
        raise MemscError(_WHAT, str(error).lower(), "close the quotation", USAGE) from error
    lines = [text.strip() for text in body.splitlines()]
    if len([text for text in lines if text and not text.startswith("#")]) > 1:
        why = "the cell has more than one command"
        raise MemscError(_WHAT, why, "put them behind sh -c '…'", USAGE)
    for text in (line.partition("-- ")[2], body):
        if operators := _of_a_shell(text):
            why = f"no shell is there for {' and '.join(operators)}"
            raise MemscError(_WHAT, why, "put the command behind sh -c '…'", USAGE)
    name = None
    own = words[: words.index("--")] if "--" in words else words
    if "--as" in own:
        at = own.index("--as")
        name = words[at + 1] if at + 1 < len(own) else ""
        if not name.isidentifier():
            raise MemscError(f"{_WHAT} --as", "no variable is named", "write --as t", USAGE)
        del words[at : at + 2]
    if command:
        words += command if "--" in words else ["--", *command]
    if not words or words[-1] == "--":
        why = "no command"
        raise MemscError(_WHAT, why, "write %memsc -- ls, or the command in the cell", USAGE)
    return name, words


def _of_a_shell(text: str) -> list[str]:
    """Pipes, redirections and the like that are not quoted, each once."""
    bare = re.sub(r"\\.", "_", text)
    lexer = shlex.shlex(bare, posix=False, punctuation_chars=True)
    lexer.whitespace_split = True
    try:
        return list(dict.fromkeys(word for word in lexer if not set(word) - set("|&;<>()")))
    except ValueError:  # a quotation that a backslash ended
        return []


def record(arguments: list[str]) -> Trace:
    """Runs `memsc trace` and opens what it recorded; without -o the trace is gone with Python.

    Raises:
        MemscError: nothing was recorded.
    """
    from memsc.analysis import open as open_trace
    from memsc.tracer.format import SESSION

    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    chosen = next(
        (own[i + 1] for i, word in enumerate(own[:-1]) if word in ("-o", "--output")), None
    )
    folder = Path(chosen or Path(tempfile.mkdtemp(dir=_kept())) / "cell.memsc")
    where = [] if chosen else ["-o", str(folder)]
    command = [sys.executable, "-m", "memsc.commands", "trace", *where, *arguments]
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,  # as the locale has it, which is the child's, too
        errors="replace",
    )
    try:
        said, complaints = process.communicate()
    except KeyboardInterrupt:
        # It has the same Ctrl-C, and ends its program and its trace in order.
        said, complaints = process.communicate()
    print(said, end="")
    print(complaints, end="", file=sys.stderr)
    if not (folder / SESSION).exists():
        last = complaints.strip().splitlines()[-1:] or ["it said nothing"]
        why = last[0].removeprefix("memsc: ")
        raise MemscError(_WHAT, why, "see memsc trace --help")
    return open_trace(folder)


@cache
def _kept() -> Path:
    """A folder for this Python's traces."""
    from memsc.tracer.state.folders import scratch

    return _OPEN.enter_context(scratch())


_OPEN = ExitStack()
atexit.register(_OPEN.close)
