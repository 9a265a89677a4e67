# SPDX-License-Identifier: MIT
"""What programs that walk stacks are compiled for: this kernel, and who may look (`stacks.h`)."""

from __future__ import annotations

import mmap
import platform

from memsc.tracer.helper.kernel.btf import offsets

TABLES = ("walk_rows", "walk_pages", "walk_spaces", "walk_processes", "walk_records")
RING_BYTES = 16 << 20
"""Of what is said of stacks that are new; locked kernel memory."""

_MEMBERS = {
    "WALK_TASK_MM": ("task_struct", "mm"),
    "WALK_TASK_CRED": ("task_struct", "cred"),
    "WALK_MM_FLAGS": ("mm_struct", "flags"),
    "WALK_CRED_UID": ("cred", "uid"),
    "WALK_CRED_SUID": ("cred", "suid"),
    "WALK_CRED_EUID": ("cred", "euid"),
}


def definitions(user: int) -> tuple[dict[str, int], str | None]:
    """The numbers that `stacks.h` wants.

    Args:
        user: whose programs may be walked; 0 may look into all.

    Returns:
        Them, and why nothing may be walked, if so.
    """
    found = {
        "WALK_X86": int(platform.machine() == "x86_64"),
        "WALK_RING_PAGES": RING_BYTES // mmap.PAGESIZE,
        "WALK_USER": user,
        "WALK_NEVER": 0,
    }
    if not user:
        return found, None
    wanted: dict[str, tuple[str, ...]] = {}
    for structure, member in _MEMBERS.values():
        wanted[structure] = (*wanted.get(structure, ()), member)
    try:
        known = offsets(wanted)
    except OSError as error:
        # Whose a program is cannot be told: then nobody's is walked.
        return found | {"WALK_NEVER": 1}, error.strerror or str(error)
    return found | {name: known[f"{s}.{m}"] for name, (s, m) in _MEMBERS.items()}, None
