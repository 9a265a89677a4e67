/* SPDX-License-Identifier: MIT
 *
 * Which bytes of a loaded object to change so that its `syscall` instructions lead to stubs.
 *
 * On 64-bit Arm each instruction has four bytes, and a branch takes its place. On x86-64 it has two, and a jump
 * that reaches a stub has five. In order of preference:
 *
 *   after   the jump covers the `syscall` and what stands behind it, which the stub repeats.
 *   before  the same with what stands in front of it.
 *   hop     the two bytes become a short jump to alignment padding close by, which no execution
 *           reaches, and the padding holds the long jump. Nothing moves.
 *
 * The first two need that no jump leads between the first and the last byte they cover. The last
 * does not, but unwinders know no function in the padding: a cancellation that arrives on that one
 * instruction would skip destructors. Behind a return `after` may use padding, too: nothing reaches it.
 *
 * Where a function is entered, its first instruction stays as it is in the file. Tools put breakpoints there,
 * and the kernel's probes execute the instruction of the file, go on behind it, and leave the file's byte
 * behind when they are removed. Where that instruction only marks the entry (endbr64), debuggers take the next.
 */
#ifndef MEMSC_LAYER_PLAN_H
#define MEMSC_LAYER_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "frames.h"

enum memsc_site_kind {
    MEMSC_SITE_MISSED = 0,
    MEMSC_SITE_HOP,
    MEMSC_SITE_AFTER,
    MEMSC_SITE_BEFORE,
    MEMSC_SITE_IN_PLACE,
    MEMSC_SITE_KINDS,
};

enum memsc_missed {
    MEMSC_MISSED_UNDECODED = 0, /* the bytes are not surely an instruction */
    MEMSC_MISSED_NO_ROOM,       /* no padding in reach, and what stands beside cannot move */
    MEMSC_MISSED_JUMP,          /* a jump may lead into the bytes that would move */
    MEMSC_MISSED_STUBS,         /* no stub left, or too far away */
    MEMSC_MISSED_ENTRY,         /* a function is entered there */
    MEMSC_MISSED_CHANGED,       /* memory is not as the file has it: somebody else's change */
    MEMSC_MISSED_PROTECTED,     /* the system lets nobody change the text: it is sealed */
    MEMSC_MISSED_BRIDGE,        /* the C library looks for a cancelled thread there */
    MEMSC_MISSED_REASONS,
};

enum {
    MEMSC_MAX_SITES = 1024,
    MEMSC_HOP_BYTES = 5,
    MEMSC_MOVED_MAX = 15,
    MEMSC_CHANGE_MAX = 2 + MEMSC_MOVED_MAX,
};

struct memsc_site {
    uint8_t *address; /* of the `syscall`, as `text` */
    uint8_t *hop;     /* the padding used, for HOP */
    uint8_t *slot;    /* its stub, once given one */
    uint8_t kind;     /* enum memsc_site_kind */
    uint8_t moved;    /* bytes moved, behind or before the two */
    uint8_t missed;   /* enum memsc_missed, for MISSED */
    uint8_t bridge;   /* whether it stays behind the jump, for cancelled threads */
    /* What its change covers, as the file has it; for HOP the `syscall`, then the padding. */
    uint8_t bytes[MEMSC_CHANGE_MAX];
    /* From the change before to this one, if they may be written at once, else 0; and what stands between, as the
     * file has it, by a sum (patch.c). */
    uint16_t gap;
    uint64_t gap_sum;
};

/* One loaded object, as far as the planner cares. */
struct memsc_object {
    uint8_t *text, *text_end; /* its executable segment, where it runs or as its file has it … */
    ptrdiff_t to_live;        /* … and from there to where it runs */
    const uint8_t *build;     /* its build-id; NULL: it has none */
    uint32_t build_size;
    struct memsc_frames frames;
    const void *symbols; /* what it offers to others, as ELF has them */
    uint32_t symbol_count;
    uint8_t *symbol_base; /* what their values count from, in the file's image */
};

/* Finds and plans every `syscall`; returns how many are in sites, at most room. The return from a
 * signal handler is left out: it is the caller's own, and debuggers know it by its bytes. */
uint32_t memsc_plan(const struct memsc_object *object, struct memsc_site *sites, uint32_t room);

/* Whether a site that was kept is what the planner promises: a call within the object's text, behind all that is
 * covered up to `from`. Moves that on. Reads nothing of the text. */
bool memsc_is_sound(const struct memsc_site *site, const struct memsc_object *object,
                    uintptr_t *from);

#endif
