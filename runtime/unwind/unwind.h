/* SPDX-License-Identifier: MIT
 *
 * The session's side of stacks (probes/walk.h): rules made of what files say about their frames, and walks over
 * copies. Python calls these (memsc.tracer.session.unwind).
 *
 * What is read comes from any file that a program maps, and from any stack. Nothing outside of it is read, whatever
 * it holds, and no more is written than there is room for.
 */
#ifndef MEMSC_UNWIND_H
#define MEMSC_UNWIND_H

#include <stdint.h>

struct memsc_unwind_row {
    uint64_t address; /* from here on, up to the next row's */
    uint64_t rule;    /* see rules.h; in the bits of the place in the page MEMSC_BEGINS, or zero */
};

enum memsc_unwind_section { MEMSC_EH_FRAME = 0, MEMSC_DEBUG_FRAME };

/* Rows of one section of call frame information (DWARF 5, 6.4; LSB core, 10.5), in its order: sorted neither by
 * address nor without overlaps. Where a function ends there is one that knows nothing.
 *
 * bytes, size: the section. address: where it is linked to be. room: how many rows there is room for.
 * Returns how many rows there are; if more than room, only so many were written. */
__attribute__((visibility("default"))) uint64_t memsc_unwind_rows(const uint8_t *bytes,
                                                                  uint64_t size, uint64_t address,
                                                                  enum memsc_unwind_section section,
                                                                  struct memsc_unwind_row *rows,
                                                                  uint64_t room);

/* A thread as it was: its registers, and a piece of its stack. */
struct memsc_unwind_copy {
    uint64_t rip;
    uint64_t registers[16]; /* as DWARF numbers them */
    uint64_t begin, size;   /* of the piece; addresses and bytes */
    const uint8_t *bytes;
    /* What stands at an address outside of it that does not change: 0 if that is not known. */
    uint64_t (*unchanging)(uint64_t address);
};

#define MEMSC_UNWIND_FRAMES 128

/* Walks a copy by the tables that BPF programs walk by. Returns how that ended (MEMSC_WALK_…), and *count frames. */
__attribute__((visibility("default"))) uint32_t memsc_unwind_walk(
    const uint32_t *pages, const uint64_t *rows, const void *places,
    const struct memsc_unwind_copy *copy, uint64_t frames[MEMSC_UNWIND_FRAMES], uint32_t *count);

#endif
