/* SPDX-License-Identifier: MIT
 *
 * What the layer knows about its process, for the dispatch and the statistics.
 */
#ifndef MEMSC_LAYER_DISPATCH_H
#define MEMSC_LAYER_DISPATCH_H

#include "../include/memsc.h"
#include "../src/layout.h"

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
