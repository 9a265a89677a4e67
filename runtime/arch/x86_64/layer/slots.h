/* SPDX-License-Identifier: MIT
 *
 * What stub.S and those who fill its slots, or go back into it, agree on.
 */
#ifndef MEMSC_LAYER_SLOTS_H
#define MEMSC_LAYER_SLOTS_H

#define MEMSC_SLOTS 1024
#define MEMSC_SLOT_BYTES 64
#define MEMSC_SLOT_ENTRY 16   /* a site's jump leads here, or so far before as it moved bytes */
#define MEMSC_SLOT_DECIDED 26 /* whether it is to be run here stands in rcx */
#define MEMSC_SLOT_AFTER 28   /* room for moved bytes and the jump back */
#define MEMSC_SLOT_BRIDGE 33  /* of a bridge's slot: leads to the site's own system call */
#define MEMSC_SLOT_LOCAL 48   /* the system call, executed on the caller */
#define MEMSC_SLOT_RESUME 56  /* eight bytes: the address to go on at */

/* The stub's frame: the six arguments, then r15 … r12, rbx, the number, the flags, and rbp. */
#define MEMSC_FRAME_BELOW 104 /* from the arguments to where rbp points */

#endif
