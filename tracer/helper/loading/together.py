# SPDX-License-Identifier: MIT
"""Compiles probes into one text and has it verified; one that is refused costs itself alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress

from memsc.probes.source import compose
from memsc.runtime.errors import MemscError
from memsc.tracer.helper.loading import bcc
from memsc.tracer.helper.loading.headers import Headers, cache_folder
from memsc.tracer.helper.loading.probe import LoadedProbe
from memsc.tracer.helper.loading.rehearsal import Remembered, rehearse


class Together:
    """Probes that are loaded together.

    Args:
        tracking: keeps the set of tracked tasks for all of them.
        headers: what they are compiled with.
        cpus: that the kernel may ever have.
        kernel_stacks: let probes show where threads are in the kernel.
        walk: what programs that walk stacks are told.
    """

    def __init__(
        self,
        tracking: LoadedProbe,
        headers: Headers,
        cpus: int,
        kernel_stacks: bool,
        walk: Mapping[str, int],
    ) -> None:
        self._tracking = tracking
        self._headers = headers
        self._cpus = cpus
        self._kernel_stacks = kernel_stacks
        self._walk = walk

    def load(self, probes: Mapping[str, LoadedProbe], pages: Mapping[str, int]) -> bcc.Compiled:
        """Compile and load them; those that cannot be are refused, each with its reason.

        Args:
            probes: by name.
            pages: sizes of their ring buffers.

        Raises:
            MemscError: none of them can be compiled.
        """
        self._headers.apply()
        refused = self._refused(probes, pages)
        for name, why in refused.items():
            probes[name].refuse(why)
        return self._done([one for name, one in probes.items() if name not in refused], pages)

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

    def _done(self, parts: Collection[LoadedProbe], pages: Mapping[str, int]) -> bcc.Compiled:
        compiled = bcc.compile_text(self._text(parts, pages))
        for part in (self._tracking, *parts):
            part.load(compiled)
        return compiled

    def _refused(
        self, probes: Mapping[str, LoadedProbe], pages: Mapping[str, int]
    ) -> dict[str, str]:
        """Names of those that cannot be compiled and loaded, and why."""
        remembered = None
        with suppress(MemscError, OSError):  # the cache may be read-only, or another's
            text = self._text(probes.values(), pages)
            remembered = Remembered(cache_folder(), text, bcc.version(), self._headers.release)
        if remembered:
            return {}
        why = rehearse(lambda: self._done(probes.values(), pages))
        if why is None:
            if remembered is not None:
                with suppress(OSError):
                    remembered.keep()
            return {}
        alone = {
            name: rehearse(lambda one=one: self._done([one], pages)) for name, one in probes.items()
        }
        refused = {name: reason for name, reason in alone.items() if reason}
        # All for the same reason, or none alone: it is not a probe's fault.
        if not probes.keys() - refused.keys() or not refused:
            raise MemscError("attaching probes", why, bcc.FITTING)
        return refused
