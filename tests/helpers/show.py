# SPDX-License-Identifier: MIT
"""Print how this process was started, all of it that a program may notice.

What Python changes for itself, signals and locale, is read where Python has not been, or left out.
"""

import json
import os
import resource
import sys
from pathlib import Path

status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines())
shown = {
    "argv": sys.argv,
    "environment": Path("/proc/self/environ").read_text().split("\0"),
    "cpus": sorted(os.sched_getaffinity(0)),
    "files": sorted(file.name for file in Path("/proc/self/fd").iterdir()),
    "umask": os.umask(0),
    "limit": resource.getrlimit(resource.RLIMIT_NOFILE),
    "core": resource.getrlimit(resource.RLIMIT_CORE),
    "folder": str(Path.cwd()),
    "blocked": status["SigBlk"],
}
sys.stdout.write(json.dumps(shown) + "\n")
