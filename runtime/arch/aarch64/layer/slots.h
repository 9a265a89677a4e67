/* SPDX-License-Identifier: MIT
 *
 * What stub.S and those who fill its slots, or go back into it, agree on.
 */
#ifndef MEMSC_LAYER_SLOTS_H
#define MEMSC_LAYER_SLOTS_H

#define MEMSC_SLOTS 1023 /* in the place of one more stand addresses, for all of them */
#define MEMSC_SLOT_BYTES 64
#define MEMSC_SLOT_CALLED 12  /* where the call of memsc_stub_common returns to */
#define MEMSC_SLOT_BACK 16    /* the branch back, to be filled in */
#define MEMSC_SLOT_DECIDED 20 /* it is to be run here */
#define MEMSC_SLOT_LOCAL                                                                           \
    24 /* the system call, executed on the caller; of a bridge, a branch to … */
#define MEMSC_SLOT_BRIDGE 32 /* … what leads to the site's own */
#define MEMSC_SLOT_ENTRY                                                                           \
    48 /* where a bridge leads to: the instruction moved from before its call */
#define MEMSC_SLOT_RESUME 56 /* eight bytes: the address to go on at */

/* Behind the slots, eight bytes each: the addresses of memsc_stub_common and of memsc_bridge_local. */
#define MEMSC_AREA_COMMON (MEMSC_SLOTS * MEMSC_SLOT_BYTES)
#define MEMSC_AREA_BRIDGE (MEMSC_AREA_COMMON + 8)
#define MEMSC_AREA_BYTES (MEMSC_AREA_COMMON + MEMSC_SLOT_BYTES)

/* The stub's frame, in bytes from its stack pointer. What a C function may change is there, and what it
 * keeps, for a signal handler that ends the call. The record is x29 and the address to go on at, as those find
 * them who follow x29. */
#define MEMSC_FRAME_RECORD 16
#define MEMSC_FRAME_ARGS 32   /* x0 to x5 */
#define MEMSC_FRAME_NUMBER 80 /* x8, and the flags behind it */
#define MEMSC_FRAME_LINK 96   /* into the slot */
#define MEMSC_FRAME_KEPT 200  /* x19 to x28 */
#define MEMSC_FRAME_BYTES 288 /* at its beginning: the site's x29 and x30 */

#endif
