# SPDX-License-Identifier: MIT
"""Pages that tracked threads change, and their way to storage: of calls that write."""

from __future__ import annotations

from memsc.probes.declaration import Column, Hook, Kind, Probe, Variant

_PAGE = ("name", "ino", "index")


def _hook(kind: str, event: str, before: str) -> Hook:
    # Before it had large folios the kernel moved page by page.
    single = Variant("tracepoint", ((f"writeback:{before}", f"writeback_on_{kind}_page"),), _PAGE)
    return Hook(
        f"writeback:{event}",
        f"writeback_on_{kind}",
        kinds=(kind,),
        fields=_PAGE,
        required=True,
        instead=(single,),
    )


PROBE = Probe(
    name="writeback",
    summary="changed pages of files, until they are written to storage",
    kinds=(
        Kind("dirty", "tid changes a page (or folio) that was as it is on storage"),
        Kind("wait", "tid finds one being written, and waits until it is"),
        Kind("write", "a file that a tracked thread changed is written, mostly by a kernel thread"),
        Kind("throttle", "tid has changed too much: it is made to sleep"),
    ),
    columns=(
        Column("inode", "u64", "number", "the file's inode; of throttle 0"),
        Column("index", "u64", "pages", "where in the file; of throttle 0"),
        Column(
            "pages",
            "u64",
            "pages",
            "of write how many, 0 for the inode alone; of throttle how many were changed since the "
            "last; else 1, although a folio may be more",
        ),
        Column(
            "took",
            "i64",
            "ns",
            "of write since the file was last changed, of throttle the sleep it is given; else -1",
        ),
        Column("device", "name", "name", "what it is written to: major:minor, or a file system's"),
    ),
    cost_ns=440,
    hooks=(
        _hook("dirty", "writeback_dirty_folio", "writeback_dirty_page"),
        _hook("wait", "folio_wait_writeback", "wait_on_page_writeback"),
        Hook(
            "writeback:writeback_single_inode",
            "writeback_on_write",
            kinds=("write",),
            fields=("name", "ino", "writeback_index", "wrote"),
        ),
        Hook(
            "writeback:balance_dirty_pages",
            "writeback_on_throttle",
            kinds=("throttle",),
            fields=("bdi", "dirtied", "pause"),
        ),
    ),
    ring_bytes=16 << 20,
)
