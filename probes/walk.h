/* SPDX-License-Identifier: GPL-2.0 OR MIT
 *
 * From a frame to its caller's, by the rules that runtime/unwind makes of a file's call frame information.
 * One text for both who walk: BPF programs over a live stack (stacks.h), and the session over a copy of one
 * (runtime/unwind/walk.c). What includes it has the kernel's names of types, and defines:
 *
 *   memsc_walk_read        reads the program's stack; 0 if it could
 *   memsc_walk_read_code   the same of what does not change
 *   memsc_walk_chunk       a chunk of the table's rows; 0 if there is none
 *
 * Searches are without branches, and what changes from frame to frame lies in memory: the kernel's verifier
 * follows every branch anew for each state of the registers. It also tells masks of all ones or none from other
 * numbers, and follows both; so a bit is multiplied with, never made a mask of.
 */
#ifndef MEMSC_WALK_H
#define MEMSC_WALK_H

/* A stretch of a process's memory that can be executed. `table` is what to take off an address to have its place in
 * the table, a number of the page and the place in it; its lowest bits are flags. */
struct memsc_walk_place {
    u64 start, end, table;
};

struct memsc_walk {
    u64 registers
        [16]; /* of the innermost frame; rbx, rbp and rsp of the frame that the walk is at */
    u64 rip;
    u64 hash;
    u64 rule;  /* of the frame; in memory, or the verifier would tell where it came from */
    u32 count; /* of frames */
    u32 end;   /* how it did, likewise */
    u32 exact; /* rip is of an instruction that runs, not where a call returns to */
    u64 frames[MEMSC_WALK_FRAMES + 1]; /* addresses of instructions; of callers, within the call */
};

static __always_inline long memsc_walk_read(struct memsc_walk *walk, void *to, u32 bytes, u64 from);
static __always_inline long memsc_walk_read_code(struct memsc_walk *walk, void *to, u32 bytes,
                                                 u64 from);
static __always_inline const u64 *memsc_walk_chunk(u32 key);

/* The last of the places that begins at or before an address. */
static __always_inline const struct memsc_walk_place *
memsc_walk_place(const struct memsc_walk_place *places, u64 address)
{
    u32 at = 0;
    u32 half;

#if __clang__
#pragma unroll
#endif
    for (half = MEMSC_WALK_PLACES / 2; half; half /= 2) {
        u64 behind = ~(address - places[(at + half) & (MEMSC_WALK_PLACES - 1)].start);

        __asm__ volatile("" : "+r"(behind));
        behind >>= 63;
        __asm__ volatile("" : "+r"(behind));
        at += (u32)behind * half;
    }
    return &places[at & (MEMSC_WALK_PLACES - 1)];
}

/* The rule for a place in the table. */
static __always_inline u64 memsc_walk_rule(const u32 *pages, u64 place)
{
    u32 page = (place >> 12) & (MEMSC_WALK_PAGES - 1);
    u32 first = pages[page];
    u32 end = pages[(page + 1) & (MEMSC_WALK_PAGES - 1)];
    u32 at = first, half;
    const u64 *rows = memsc_walk_chunk(first / MEMSC_WALK_CHUNK);
    u64 wanted = place & 4095, row;

    if (!rows || place >> 12 >= MEMSC_WALK_PAGES - 1 || first >= end)
        return 0;
#if __clang__
#pragma unroll
#endif
    for (half = MEMSC_WALK_PAGE_ROWS / 2; half; half /= 2) {
        u64 inside = (u64)(at + half) - end;
        u64 before = wanted - (rows[(at + half) & (MEMSC_WALK_CHUNK - 1)] & 4095);

        __asm__ volatile("" : "+r"(inside), "+r"(before));
        inside = (inside & ~before) >> 63;
        __asm__ volatile("" : "+r"(inside));
        at += (u32)inside * half;
    }
    row = rows[at & (MEMSC_WALK_CHUNK - 1)];
    return (row & 4095) <= wanted ? row : 0;
}

/* One frame is noted, and left for its caller's. Returns MEMSC_WALK_ON or how the walk has ended. */
static __always_inline u32 memsc_walk_step(struct memsc_walk *walk, const u32 *pages,
                                           const struct memsc_walk_place *places, u32 innermost)
{
    u64 address = walk->rip - !walk->exact;
    const struct memsc_walk_place *place = memsc_walk_place(places, address);
    u64 table = place->table, rsp = walk->registers[MEMSC_RSP], rule, frame, offset, hash;
    u32 kind, rbp, more, count;

    if (address < place->start || address >= place->end)
        return MEMSC_WALK_NOWHERE;
    if (table & MEMSC_PLACE_FRAMES || (table & MEMSC_PLACE_CALLERS && !walk->exact))
        walk->rule = MEMSC_RULE(MEMSC_CHAIN, 2, 0, MEMSC_RBP, 16);
    else
        walk->rule = memsc_walk_rule(pages, address - (table & ~(u64)MEMSC_PLACE_FLAGS));
    rule = *(volatile u64 *)&walk->rule;
    kind = (rule >> 12) & 15;
    rbp = (rule >> 16) & 255;
    more = (rule >> 24) & 255;
    offset = (u64)((s64)rule >> 36);
    frame = walk->registers[(rule >> 32) & 15] + offset;
    walk->exact = 0;
    if (kind == MEMSC_SLOT) {
        if (memsc_walk_read_code(walk, &walk->rip, 8,
                                 (address & -(u64)MEMSC_WALK_SLOT) + MEMSC_WALK_RESUME))
            return MEMSC_WALK_UNREADABLE;
        walk->registers[MEMSC_RSP] = frame;
        return MEMSC_WALK_ON;
    }
    count = walk->count;
    walk->frames[count & MEMSC_WALK_FRAMES] = address;
    walk->count = count + 1;
    hash = (walk->hash ^ address) * 0x9e3779b97f4a7c15ull;
    walk->hash = hash ^ hash >> 32;
    if (kind != MEMSC_PLAIN) {
        if (kind == MEMSC_OUTERMOST)
            return MEMSC_WALK_DONE;
        if (kind == MEMSC_SIGNAL) {
            if (memsc_walk_read(walk, &walk->registers[MEMSC_RBP], 8, frame + MEMSC_UC_RBP) ||
                memsc_walk_read(walk, &walk->registers[MEMSC_RBX], 8, frame + MEMSC_UC_RBX) ||
                memsc_walk_read(walk, &walk->rip, 8, frame + MEMSC_UC_RIP) ||
                memsc_walk_read(walk, &walk->registers[MEMSC_RSP], 8, frame + MEMSC_UC_RSP))
                return MEMSC_WALK_UNREADABLE;
            walk->exact = 1;
            return MEMSC_WALK_ON;
        }
        if (kind == MEMSC_INDIRECT) {
            if (memsc_walk_read(walk, &walk->rip, 8, frame))
                return MEMSC_WALK_UNREADABLE;
            frame = walk->rip + more * 8;
            more = 0;
        } else if (kind == MEMSC_CHAIN) {
            if (frame == 16)
                return MEMSC_WALK_DONE;
        } else if (kind == MEMSC_LINKAGE) {
            frame = rsp + 8 + ((offset - 1 - (address & 15)) >> 63) * 8;
        } else if (!innermost) {
            return kind == MEMSC_UNKNOWN ? MEMSC_WALK_NO_RULE : MEMSC_WALK_UNTOLD;
        } else if (kind == MEMSC_INNERMOST) {
            more = 0;
        } else if (kind == MEMSC_RETURN_IN) {
            walk->rip = walk->registers[more & 15];
            walk->registers[MEMSC_RSP] = frame;
            return MEMSC_WALK_ON;
        } else {
            return kind == MEMSC_UNKNOWN ? MEMSC_WALK_NO_RULE : MEMSC_WALK_UNTOLD;
        }
    }
    if (frame <= rsp)
        return MEMSC_WALK_ASTRAY;
    if (more && memsc_walk_read(walk, &walk->registers[MEMSC_RBX], 8, frame - 8 * more))
        return MEMSC_WALK_UNREADABLE;
    if (rbp && memsc_walk_read(walk, &walk->registers[MEMSC_RBP], 8, frame - 8 * rbp))
        return MEMSC_WALK_UNREADABLE;
    if (memsc_walk_read(walk, &walk->rip, 8, frame - 8))
        return MEMSC_WALK_UNREADABLE;
    walk->registers[MEMSC_RSP] = frame;
    return MEMSC_WALK_ON;
}

#endif
