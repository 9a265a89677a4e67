/* SPDX-License-Identifier: MIT
 *
 * Descriptors that memsc keeps in a program: what they lead to is told by the kernel's number of it, so that
 * nothing else is ever taken for it, and found again where the program has moved it.
 *
 * They are inherited across fork and exec. Their numbers are high enough to be in nobody's way, and low
 * enough to keep the table of descriptors small, which each fork copies.
 */
#ifndef MEMSC_KEPT_H
#define MEMSC_KEPT_H

#include <stdbool.h>
#include <stdint.h>

enum memsc_kept_name {
    MEMSC_KEPT_SOCKET = 0, /* by which the session is told (session.h) */
    MEMSC_KEPT_LIBRARY,    /* the layer's file, for what is executed where its path leads nowhere */
    MEMSC_KEPT_NAMES,
};

struct memsc_kept {
    uint64_t device, inode; /* inode 0: there is none */
    _Atomic int32_t number; /* where it was last */
};

/* Not wiped by a fork: a child inherits what they lead to. */
extern struct memsc_kept memsc_kept[MEMSC_KEPT_NAMES];

/* Keeps what a descriptor leads to, if it is that: 0 or -errno. Device 0, inode 0: whichever they are. */
int memsc_keep(enum memsc_kept_name name, int descriptor, uint64_t device, uint64_t inode);

/* Whether it is kept, or was: then something that looks for it is worth its time. */
static inline bool memsc_keeps(enum memsc_kept_name name)
{
    return memsc_kept[name].inode != 0;
}

/* Where it is now; -1: nowhere any more. */
int memsc_kept_at(enum memsc_kept_name name);

/* Whether a descriptor is one of these, and which; -1: none. look: also where none was last, as in a child
 * that borrows its parent's memory, and has moved it in descriptors of its own. */
int memsc_kept_is(int descriptor, bool look);

/* Duplicates a descriptor to where kept ones are; -errno. */
int memsc_duplicate_high(int descriptor);

#endif
