# SPDX-License-Identifier: MIT
"""Compiles probes into one text and has it verified; one that is refused costs itself alone."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from memsc.probes.source import compose
from memsc.runtime.errors import MemscError
from memsc.tracer.helper.kernel import tracefs
from memsc.tracer.helper.loading import bcc
from memsc.tracer.helper.loading.apart import Apart, NotDoneError
from memsc.tracer.helper.loading.headers import Headers, cache_folder
from memsc.tracer.helper.loading.kept import Kept
from memsc.tracer.helper.loading.objects import Object
from memsc.tracer.helper.loading.probe import LoadedProbe
from memsc.tracer.helper.loading.programs import Loaded

_VERIFIERS = 4  # programs are verified at the same time


class Together:
    """Probes that are loaded together.

    Args:
        tracking: keeps the set of tracked tasks for all of them.
        headers: what they are compiled with.
        tracefs_: where it is mounted; BCC makes structures of what it says of tracepoints.
        cpus: that the kernel may ever have.
        kernel_stacks: let probes show where threads are in the kernel.
        walk: what programs that walk stacks are told.
    """

    def __init__(
        self,
        tracking: LoadedProbe,
        headers: Headers,
        tracefs_: Path,
        *,
        cpus: int,
        kernel_stacks: bool,
        walk: Mapping[str, int],
    ) -> None:
        self._tracking = tracking
        self._headers = headers
        self._tracefs = tracefs_
        self._cpus = cpus
        self._kernel_stacks = kernel_stacks
        self._walk = walk
        self._has_compiled = False

    def load(
        self, probes: Mapping[str, LoadedProbe], pages: Mapping[str, int], *, trying: bool = False
    ) -> Loaded:
        """Compile and load them; those that cannot be are refused, each with its reason.

        Args:
            probes: by name.
            pages: sizes of their ring buffers.
            trying: try the compiler, on less, also where they had been compiled before.

        Raises:
            MemscError: none of them can be compiled.
        """
        self._headers.apply()
        trial = None
        compiled, refused = self._compiled(probes, pages)
        if trying and not self._has_compiled:
            trial = Apart(lambda: bcc.compile_text(self._text([], pages)).packed())
        for name, why in refused.items():
            probes[name].refuse(why)
        loaded = Loaded(compiled)
        parts = [self._tracking, *(probes[name] for name in probes if name not in refused)]

        def load(part: LoadedProbe) -> None:
            part.load(loaded)

        with ThreadPoolExecutor(_VERIFIERS) as pool:
            list(pool.map(load, parts))
        if trial is not None:
            _result(trial)
        return loaded

    def _text(self, parts: Collection[LoadedProbe], pages: Mapping[str, int]) -> str:
        parts = [self._tracking, *parts]
        absent = set[str]().union(*(part.absent for part in parts))
        declared = [part.probe for part in parts]
        return compose(
            declared,
            pages,
            self._cpus,
            absent,
            kernel_stacks=self._kernel_stacks,
            walk=self._walk,
        )

    def _kept(self, parts: Collection[LoadedProbe], pages: Mapping[str, int]) -> Kept | None:
        """What is kept of them, by all that the compiler's work depends on; None without a cache.

        Raises:
            MemscError: BCC is missing.
        """
        words = [self._text(parts, pages), bcc.identity(), *self._headers.words()]
        for part in (self._tracking, *parts):
            words += self._formats(part)
        with suppress(MemscError, OSError):  # read-only, or another's
            return Kept(cache_folder(), "object-1", words)
        return None

    def _formats(self, part: LoadedProbe) -> Iterator[str]:
        for one in part.hooks:
            for variant in one.variants:
                if variant.way == "tracepoint":
                    for place, _ in variant.points:
                        yield tracefs.format_of(self._tracefs, place)

    def _compile(self, parts: Collection[LoadedProbe], pages: Mapping[str, int]) -> Object:
        """Compile them, in a child, and keep the result; or take what had been kept of them.

        Raises:
            NotDoneError: they cannot be.
        """
        kept = self._kept(parts, pages)
        packed = kept and kept.read()
        if packed is None:
            text = self._text(parts, pages)
            packed = Apart(lambda: bcc.compile_text(text).packed()).result()
            self._has_compiled = True
            if kept:
                kept.write(packed)
        return Object.unpacked(packed)

    def _compiled(
        self, probes: Mapping[str, LoadedProbe], pages: Mapping[str, int]
    ) -> tuple[Object, dict[str, str]]:
        """Those that can be compiled, and the others' names with the reason.

        Raises:
            MemscError: none can.
        """
        try:
            return self._compile(probes.values(), pages), {}
        except NotDoneError as error:
            why = str(error)
        refused: dict[str, str] = {}
        for name, one in probes.items():
            try:
                self._compile([one], pages)
            except NotDoneError as error:
                refused[name] = str(error)
        # All for the same reason, or none alone: it is not a probe's fault.
        if not probes.keys() - refused.keys() or not refused:
            raise _error(why)
        rest = [one for name, one in probes.items() if name not in refused]
        try:
            return self._compile(rest, pages), refused
        except NotDoneError as error:
            raise _error(str(error)) from error


def _result(trial: Apart) -> bytes:
    try:
        return trial.result()
    except NotDoneError as error:
        raise _error(str(error)) from error


def _error(why: str) -> MemscError:
    return MemscError("attaching probes", why, bcc.FITTING)
