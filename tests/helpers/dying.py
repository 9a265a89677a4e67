# SPDX-License-Identifier: MIT
"""A helper whose BCC aborts, or complains, over one probe: `dying.py abort|complain|believe PROBE`.

With `believe` it takes what is kept, which the others do not know of. `complain PROBE FOLDER` keeps
what it compiles in the folder, and a line in its `compiled` for each time that it was asked to.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from memsc.runtime.errors import MemscError
from memsc.tracer.helper import server
from memsc.tracer.helper.loading import bcc, together
from memsc.tracer.helper.loading.objects import Object

_compile = bcc.compile_text


def compile_text(text: str) -> Object:
    """As on a machine where BCC does not stand a probe."""
    for folder in sys.argv[3:]:
        with (Path(folder) / "compiled").open("a") as file:
            file.write("asked\n")
    if f"{sys.argv[2]}_events" in text:
        if sys.argv[1] == "complain":
            raise MemscError("attaching probes", "error: no such structure", "none")
        sys.stderr.write("terminate called after throwing an instance of 'std::out_of_range'\n")
        sys.stderr.flush()
        os.abort()
    return _compile(text)


class Forgetful:
    """Keeps nothing: here the same text went well before."""

    def __init__(self, *_: object) -> None:
        pass

    def read(self) -> None:
        return None

    def write(self, _: bytes) -> None:
        pass


if __name__ == "__main__":
    bcc.compile_text = compile_text
    if sys.argv[3:]:
        together.cache_folder = lambda: Path(sys.argv[3])
    elif sys.argv[1] != "believe":
        together.Kept = Forgetful
    status = server.serve(0, os.getppid())
    sys.stderr.flush()
    os._exit(status)
