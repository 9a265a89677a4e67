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
    MEMSC_AFTER_RETIRING, /* after the process put itself under a seccomp filter or the like (retire.h) */
    MEMSC_NO_SERVICE, /* the service could not be started, or no page was free */
    MEMSC_NO_ENTRY,   /* all entries of the thread's page are in flight */
    MEMSC_OTHER_KEYS, /* the thread may use other memory than the service (answers.h) */
    MEMSC_LOOKED,     /* just after the program has looked at its own threads (own_threads.h) */
    MEMSC_UNFORWARDED_REASONS,
};

/* What makes a process go another way than most; a forked child does likewise. */
enum memsc_special {
    MEMSC_RETIRED = 1, /* it goes on without memsc (retire.h) */
    MEMSC_KEYED = 2,   /* it has memory protection keys (answers.h) */
};

struct memsc_layer {
    struct memsc_options options;
    _Atomic uint32_t special; /* enum memsc_special */
    _Atomic uint32_t
        changed; /* process in which a thread that is MEMSC_THREAD_CHANGED has made another */
    _Atomic uint32_t
        keys; /* MEMSC_KEYED: what the service may do to memory, as its register has it */
};

extern struct memsc_layer memsc_layer;

#endif
