/* SPDX-License-Identifier: MIT
 *
 * What the layer knows about its process, for the dispatch and the statistics.
 */
#ifndef MEMSC_LAYER_DISPATCH_H
#define MEMSC_LAYER_DISPATCH_H

#include <stdbool.h>

#include "../include/memsc.h"
#include "../src/layout.h"

/* What makes a process go another way than most; a forked child does likewise. */
enum memsc_special {
    MEMSC_RETIRED = 1, /* it goes on without memsc (retire.h) */
    MEMSC_KEYED = 2,   /* it has memory protection keys (answers.h) */
};

/* What a forked child finds zero. */
struct memsc_own {
    _Atomic uint32_t first_calls; /* that it has made itself */
    _Atomic bool changed;         /* a thread that is MEMSC_THREAD_CHANGED has made another */
    _Atomic bool told;            /* the session knows why its calls are not seen */
    _Atomic bool hides;           /* it has looked at its threads, of which memsc's were some */
    _Atomic uint64_t unsaid[MEMSC_UNFORWARDED_REASONS]; /* missed without a region */
};

struct memsc_layer {
    struct memsc_options options;
    struct memsc_own *own;
    _Atomic uint32_t special; /* enum memsc_special */
    _Atomic uint32_t
        keys; /* MEMSC_KEYED: what the service may do to memory, as its register has it */
};

extern struct memsc_layer memsc_layer;

#endif
