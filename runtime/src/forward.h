/* SPDX-License-Identifier: MIT
 *
 * The caller's side, for the public API and for the C-library layer.
 */
#ifndef MEMSC_FORWARD_H
#define MEMSC_FORWARD_H

#include <stdint.h>

enum memsc_forwarded {
    /* The caller must execute it itself: it is local, or a signal handler has interrupted the runtime. */
    MEMSC_NOT_FORWARDED = 0,
    MEMSC_NO_ROOM,   /* likewise: the thread has no page, or it is full */
    MEMSC_FORWARDED, /* *result is the kernel's value or -errno */
};

/* Executes one call for the calling thread through its transport and waits for it. If a signal handler is
 * to run meanwhile, memsc_settle (recall.h) ends the call in its place, and this does not return. */
enum memsc_forwarded memsc_forward(long number, const uint64_t args[6], long *result);

/* Counts a call that the thread executes itself. */
void memsc_count_local(long number);

#endif
