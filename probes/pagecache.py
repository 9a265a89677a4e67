# SPDX-License-Identifier: MIT
"""Pages that tracked threads bring into the page cache, or put out: of calls that miss it."""

from __future__ import annotations

from memsc.probes.declaration import Column, Hook, Kind, Probe, Variant

_FIELDS = ("i_ino", "index", "s_dev")


def _hook(kind: str, event: str) -> Hook:
    place, program = f"filemap:{event}", f"pagecache_on_{kind}"
    # Before it had large folios the kernel moved page by page, and said no order.
    single = Variant("tracepoint", ((place, f"{program}_one"),), _FIELDS)
    return Hook(
        place,
        program,
        kinds=(kind,),
        fields=(*_FIELDS, "order"),
        required=True,
        instead=(single,),
    )


PROBE = Probe(
    name="pagecache",
    summary="pages that enter and leave the page cache",
    kinds=(
        Kind("add", "tid brings pages of a file into the page cache"),
        Kind("remove", "tid puts them out"),
    ),
    columns=(
        Column("inode", "u64", "number", "the file's inode"),
        Column("index", "u64", "pages", "where in the file"),
        Column("device", "u32", "number", "its file system's device: major << 20 | minor"),
        Column("pages", "u32", "pages", "how many"),
    ),
    cost_ns=180,
    hooks=(
        _hook("add", "mm_filemap_add_to_page_cache"),
        _hook("remove", "mm_filemap_delete_from_page_cache"),
    ),
    ring_bytes=16 << 20,
)
