# SPDX-License-Identifier: MIT
"""The `memsc` command: finds the sub-command, calls it, and turns errors into an exit status."""

from __future__ import annotations

import os
import signal

# `python -m memsc.commands` holds Ctrl-C as the front does, until `start` can end quietly: what is
# imported first takes a tenth of a second.
if __name__ == "__main__" and signal.SIGINT not in signal.pthread_sigmask(
    signal.SIG_BLOCK, {signal.SIGINT}
):
    os.environ["MEMSC_FRONT_HELD"] = "1"

import _thread
import argparse
import importlib
import importlib.util
import inspect
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn, Protocol, cast

from memsc.commands.sides import sides_apart
from memsc.commands.streams import prepare, say, silence
from memsc.runtime import own_name
from memsc.runtime.errors import REMEDIES, USAGE, MemscError, hidden, reason, shortage

NAMES = ("doctor", "run", "trace", "report", "compare", "export", "bench", "clean")

DESCRIPTION = """\
Forward a program's system calls through shared memory to another CPU, measure
where the time of each call goes, and explain it.
"""

EPILOG = """\
exit status:
  0  fine
  1  failure: one line on stderr says what, why and the remedy
  2  usage
  3  a condition of --fail-if was met
  4  the verdict is withheld: calls were lost, programs ran
     unrecorded, or there are too few samples; or a condition
     of --fail-if is not settled
  `memsc run` ends with the status of its program.
"""


class Command(Protocol):
    """What `memsc.commands.NAME.Command` offers; its docstring is the sub-command's help."""

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add the sub-command's arguments."""
        ...

    def run(self, args: argparse.Namespace) -> int:
        """Do the work and return the exit status; raise MemscError for a failure."""
        ...


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaint is one line, like every other error of memsc."""

    def error(self, message: str) -> NoReturn:
        """Print one line on stderr and exit with status 2."""
        self.exit(USAGE, f"memsc: {message}; see '{self.prog} --help'\n")


class Version(argparse.Action):
    """Print the installed version: looked up only when asked for, since looking takes long."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        """Print and exit."""
        from importlib.metadata import version

        print(f"memsc {version('memsc')}")
        parser.exit()


def available() -> tuple[str, ...]:
    """Names of the sub-commands that this installation has, in the order of the help."""
    return tuple(name for name in NAMES if importlib.util.find_spec(f"memsc.commands.{name}"))


def load(name: str) -> Command:
    """Import one sub-command."""
    return cast("Command", importlib.import_module(f"memsc.commands.{name}").Command())


def build(names: Sequence[str]) -> argparse.ArgumentParser:
    """Build a parser that knows the sub-commands names; each one's module is imported."""
    parser = Parser(
        prog="memsc",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=Version, nargs=0, help="print the version and exit")
    group = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name in names:
        command = load(name)
        text = inspect.getdoc(command) or ""
        sub = group.add_parser(
            name,
            help=text.partition("\n")[0],
            description=text,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        command.configure(sub)
        sub.set_defaults(loaded=command)
    return parser


def parse(argv: Sequence[str]) -> tuple[Command, argparse.Namespace]:
    """Parse argv, importing no other sub-command than the one it names.

    Raises:
        SystemExit: 0 after --help or --version, 2 on a usage error.
    """
    names = available()
    if argv and argv[0] in names:
        names = (argv[0],)
    parser = build(names)
    if argv and argv[0] not in names and not argv[0].startswith("-"):
        parser.error(f"there is no command '{argv[0]}' (there are: {', '.join(names)})")
    args, unknown = parser.parse_known_args(sides_apart(argv) if names == ("compare",) else argv)
    if unknown:
        at = f"{parser.prog} {args.command}" if args.command else parser.prog
        parser.exit(USAGE, f"memsc: unknown: {' '.join(unknown)}; see '{at} --help'\n")
    if args.command is None:
        parser.print_help(sys.stderr)
        raise SystemExit(USAGE)
    return args.loaded, args


def complain(error: MemscError) -> int:
    """Print an error as the one line that users and scripts rely on; return its status."""
    say(f"memsc: {error}")
    return error.status


def tidy(argv: Sequence[str]) -> None:
    """Undo what dead sessions left, when there is any sign of one; looking costs microseconds.

    Calls that they had not written come into their traces first, wherever argv says these are now.
    """
    signs = [f"/dev/shm/memsc-{os.getuid()}"]
    if os.geteuid() == 0:
        signs.append("/run/memsc")
    for folder in signs:
        try:
            with os.scandir(folder) as entries:
                found = any(e.name.startswith(("session-", "isolation-")) for e in entries)
        except OSError:
            continue
        if found:
            from memsc.tracer.state.leftovers import tidy as remove

            for line in remove([Path(word) for word in argv if os.path.isdir(word)]):  # noqa: PTH112
                say(f"memsc: {line}")
            return


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line argv (default: this process's) and return its exit status.

    Raises:
        SystemExit: see parse.
    """
    try:
        if argv is None:
            own_name.take(own_name.SESSION)
        return _run(sys.argv[1:] if argv is None else argv)
    except MemscError as error:
        return complain(error)
    except KeyboardInterrupt as error:
        return 128 + getattr(error, "number", signal.SIGINT)  # Ended, by another signal
    except BrokenPipeError:
        silence(1)
        return 128 + signal.SIGPIPE
    except MemoryError:
        return complain(MemscError("memsc", "out of memory", "free some, or raise `ulimit -v`"))
    except RuntimeError as error:
        if "new thread" not in str(error):
            raise
        return complain(MemscError("memsc", str(error), "raise `ulimit -v` and `ulimit -u`"))
    except OSError as error:
        if lack := hidden(error):
            return complain(MemscError("memsc", *lack))
        remedy = REMEDIES.get(error.errno or 0) or shortage(str(error))
        if not remedy:
            raise
        silence(1)
        what = error.filename or "the output is incomplete"
        return complain(MemscError(str(what), reason(error), remedy))
    finally:
        # What nobody could be told is still there, for which newer Pythons end with 120.
        try:
            sys.stderr.flush()
        except OSError:
            silence(2)


def _run(argv: Sequence[str]) -> int:
    try:
        command, args = parse(argv)
    except SystemExit:
        sys.stdout.flush()  # the help, which may have found no room
        raise
    if args.command != "clean":  # which says what it removes
        tidy(argv)
    # Who was started ignoring them hears of no child's end; `run` leaves that to its program, too.
    if args.command != "run" and signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    status = command.run(args)
    sys.stdout.flush()
    return status


def once_more(lost: sys.UnraisableHookArgs) -> None:
    """Send a signal again that was raised where Python ignores it: in a finaliser, or in an import.

    As `sys.unraisablehook`. It comes a moment later, for here it would be ignored as well.
    """
    if not issubclass(lost.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(lost)
        return
    number = getattr(lost.exc_value, "number", signal.SIGINT)

    def send() -> None:
        time.sleep(0.005)
        os.kill(os.getpid(), number)

    _thread.start_new_thread(send, ())


def start() -> NoReturn:
    """What is installed as the command calls this: `main`, in whatever state it was started."""
    status = 128 + signal.SIGINT
    interrupted: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        interrupted.append(number)
        signal.default_int_handler(number, frame)

    try:
        prepare()
        if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
            signal.signal(signal.SIGINT, interrupt)
            sys.unraisablehook = once_more
        if os.environ.pop("MEMSC_FRONT_HELD", None):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        status = main()
    except KeyboardInterrupt:
        pass
    except Exception:
        if not interrupted:  # libraries that are imported make other errors of it
            raise
    finally:
        if signal.getsignal(signal.SIGINT) == interrupt:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # all is done that Ctrl-C could spoil
    sys.exit(status)


if __name__ == "__main__":
    start()
