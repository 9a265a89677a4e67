# SPDX-License-Identifier: MIT
"""Requests to block devices that tracked threads cause: of calls that reach storage."""

from __future__ import annotations

from memsc.probes.declaration import Column, Hook, Kind, Probe

_REMEDY = "use a kernel with CONFIG_BLOCK and its tracepoints"

PROBE = Probe(
    name="blockio",
    summary="requests to block devices, from queue to completion",
    kinds=(
        Kind("queue", "tid asks for a transfer"),
        Kind("issue", "the request goes to the device, maybe by another thread"),
        Kind("complete", "the device has answered; tid is whom the interrupt met"),
    ),
    columns=(
        Column("sector", "u64", "number", "first sector, of 512 bytes, on the device"),
        Column(
            "took",
            "i64",
            "ns",
            "of issue since the queue, of complete since the issue; -1: not seen, and for queue",
        ),
        Column(
            "device", "u32", "number", "the device, as the kernel numbers it: major << 20 | minor"
        ),
        Column("bytes", "u32", "bytes", "size of the transfer"),
        Column(
            "operation", "u32", "number", "a letter: R read, W write, F flush, D discard, N none"
        ),
        Column("error", "i32", "value", "of complete: 0 or -errno"),
    ),
    cost_ns=420,
    hooks=(
        Hook(
            "block:block_bio_queue",
            "blockio_on_queue",
            kinds=("queue",),
            fields=("dev", "sector", "nr_sector", "rwbs"),
            required=True,
            remedy=_REMEDY,
        ),
        Hook(
            "block:block_rq_issue",
            "blockio_on_issue",
            kinds=("issue",),
            fields=("dev", "sector", "bytes", "rwbs"),
            remedy=_REMEDY,
        ),
        Hook(
            "block:block_rq_complete",
            "blockio_on_complete",
            kinds=("complete",),
            fields=("dev", "sector", "nr_sector", "rwbs", "error"),
            remedy=_REMEDY,
        ),
    ),
    ring_bytes=16 << 20,
)
