/* SPDX-License-Identifier: MIT
 *
 * What stub.S and those who fill or serve its slots agree on.
 */
#ifndef MEMSC_LAYER_STUB_H
#define MEMSC_LAYER_STUB_H

#define MEMSC_SLOTS 1024
#define MEMSC_SLOT_BYTES 64
#define MEMSC_SLOT_ENTRY 16  /* a site's jump leads here, or so far before as it moved bytes */
#define MEMSC_SLOT_AFTER 28  /* room for moved bytes and the jump back */
#define MEMSC_SLOT_LOCAL 48  /* the system call, executed on the caller */
#define MEMSC_SLOT_RESUME 56 /* eight bytes: the address to go on at */

/* The stub's frame: the six arguments, then r15 … r12, rbx, the number, the flags, and rbp. */
#define MEMSC_FRAME_BELOW 104 /* from the arguments to where rbp points */

#ifndef __ASSEMBLER__
#include <stdint.h>

struct memsc_answer {
    long result;   /* in rax */
    uint64_t done; /* in rdx; 0: run it here */
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

#endif
