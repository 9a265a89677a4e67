# SPDX-License-Identifier: MIT
"""Requests to io_uring by tracked programs: of the peer, and of programs that use it themselves."""

from __future__ import annotations

from memsc.probes.declaration import Column, Hook, Kind, Probe, Variant

_REMEDY = "use a kernel with CONFIG_IO_URING and its tracepoints, Linux 5.19 or newer"
_REQUEST = ("req", "user_data", "opcode")
_SUBMIT = (*_REQUEST, "flags", "sq_thread")


def _hook(kind: str, event: str, *fields: str) -> Hook:
    return Hook(
        f"io_uring:{event}", f"uring_on_{kind}", kinds=(kind,), fields=fields, remedy=_REMEDY
    )


PROBE = Probe(
    name="uring",
    summary="requests to io_uring, from submission to completion",
    kinds=(
        Kind("submit", "tid hands a request to the kernel, or its polling thread finds it"),
        Kind("async", "it would block, and goes to a worker thread"),
        Kind("poll", "it would block, and waits until its file is ready"),
        Kind("ready", "what it waited for has come; tid is the thread that ran then"),
        Kind("defer", "it must wait for others before it"),
        Kind("fail", "it is refused: it asks for nothing that there is"),
        Kind("complete", "its completion is posted"),
        Kind("overflow", "there was no room for a completion: it is kept aside"),
        Kind("wait", "tid asks for completions and may sleep"),
    ),
    columns=(
        Column("user_data", "u64", "value", "what the program calls the request; of wait 0"),
        Column(
            "took", "i64", "ns", "since its submission; -1: not seen, and for submit and the last"
        ),
        Column("opcode", "i32", "number", "as linux/io_uring.h numbers it; -1 where nobody says"),
        Column(
            "result",
            "i32",
            "value",
            "of complete and overflow value or -errno, of fail -errno, of poll and ready the "
            "events, of wait how many are asked for, else 0",
        ),
        Column("flags", "u32", "flags", "of the request (IOSQE_), of a completion IORING_CQE_F_"),
        Column("polled", "u32", "flags", "of submit: 1 if the ring's polling thread found it"),
    ),
    cost_ns=360,
    hooks=(
        Hook(
            "io_uring:io_uring_submit_req",
            "uring_on_submit",
            kinds=("submit",),
            fields=_SUBMIT,
            required=True,
            remedy=_REMEDY,
            # As it was called before Linux 6.4.
            instead=(
                Variant(
                    "tracepoint",
                    (("io_uring:io_uring_submit_sqe", "uring_on_submit_sqe"),),
                    _SUBMIT,
                ),
            ),
        ),
        _hook("async", "io_uring_queue_async_work", *_REQUEST, "flags"),
        _hook("poll", "io_uring_poll_arm", *_REQUEST, "mask", "events"),
        _hook("ready", "io_uring_task_add", *_REQUEST, "mask"),
        _hook("defer", "io_uring_defer", "req", "data", "opcode"),
        _hook("fail", "io_uring_req_failed", *_REQUEST, "error"),
        Hook(
            "io_uring:io_uring_complete",
            "uring_on_complete",
            kinds=("complete",),
            fields=("req", "user_data", "res", "cflags"),
            required=True,
            remedy=_REMEDY,
        ),
        _hook("overflow", "io_uring_cqe_overflow", "user_data", "res", "cflags"),
        _hook("wait", "io_uring_cqring_wait", "min_events"),
    ),
    ring_bytes=32 << 20,
)
