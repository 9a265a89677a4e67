/* SPDX-License-Identifier: MIT
 *
 * What the stubs, which differ by processor, and who serves them agree on.
 */
#ifndef MEMSC_LAYER_STUB_H
#define MEMSC_LAYER_STUB_H

#include <stdint.h>

struct memsc_answer {
    long result;
    uint64_t done; /* 0: run it here */
};

/* Called by every slot. args: as the site passes them, in order. */
struct memsc_answer memsc_dispatch(long number, const uint64_t args[6]);

/* The same for a call that a signal handler has settled, with its result. */
struct memsc_answer memsc_after_settled(long number, const uint64_t args[6], long result);

/* Where a call begins anew, and where it ends with memsc_after_settled: with that function's arguments in
 * registers, and all else as in its frame. */
extern const uint8_t memsc_stub_again[], memsc_stub_settled[];

extern uint8_t memsc_stubs[], memsc_stubs_end[];

#endif
