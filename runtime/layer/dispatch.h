/* SPDX-License-Identifier: MIT
 *
 * What the layer knows about its process, for the dispatch and the statistics.
 */
#ifndef MEMSC_LAYER_DISPATCH_H
#define MEMSC_LAYER_DISPATCH_H

#include "../include/memsc.h"

/* Why a call that could be forwarded was not. */
enum memsc_unforwarded {
    MEMSC_IN_HANDLER = 0, /* a signal handler's, while the thread was forwarding another */
    MEMSC_IN_VFORK,       /* a vfork or posix_spawn child's, which borrows its parent's memory */
    MEMSC_SHARED_THREAD,  /* a thread's that shares its thread-local storage with another task */
    MEMSC_THREAD_CHANGED, /* of a thread that left the process's credentials, files or name spaces */
    MEMSC_FILTERED,       /* after the process put itself under a seccomp filter (filters.h) */
    MEMSC_NO_SERVICE,     /* the service could not be started, or no page was free */
    MEMSC_NO_ENTRY,       /* all entries of the thread's page are in flight */
    MEMSC_UNFORWARDED_REASONS,
};

struct memsc_layer {
    struct memsc_options options;
    _Atomic uint32_t filtered; /* 1: under a filter of its own; a forked child is, too */
    _Atomic uint32_t changed;  /* process of whose threads one is MEMSC_THREAD_CHANGED; 0: none */
};

extern struct memsc_layer memsc_layer;

#endif
