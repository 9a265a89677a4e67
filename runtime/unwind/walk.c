/* SPDX-License-Identifier: MIT */
#include "unwind.h"

#include <errno.h>
#include <string.h>

typedef uint8_t u8;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int64_t s64;

#include "rules.h"
#include "walk.h"

_Static_assert(MEMSC_UNWIND_FRAMES == MEMSC_WALK_FRAMES + 1, "as many frames as BPF programs walk");

struct copied {
    struct memsc_walk walk; /* first: it is what the walk has a pointer to */
    const struct memsc_unwind_copy *copy;
};

/* Of the one walk that a thread makes at a time: BPF programs find theirs without being told, too. */
static _Thread_local const u64 *walked_rows;

static __always_inline long memsc_walk_read(struct memsc_walk *walk, void *to, u32 bytes, u64 from)
{
    const struct memsc_unwind_copy *copy = ((const struct copied *)walk)->copy;
    u64 at = from - copy->begin;
    if (from < copy->begin || at > copy->size || copy->size - at < bytes)
        return -EFAULT;
    memcpy(to, copy->bytes + at, bytes);
    return 0;
}

static __always_inline long memsc_walk_read_code(struct memsc_walk *walk, void *to, u32 bytes,
                                                 u64 from)
{
    const struct memsc_unwind_copy *copy = ((const struct copied *)walk)->copy;
    uint64_t word = copy->unchanging && bytes == sizeof word ? copy->unchanging(from) : 0;
    memcpy(to, &word, sizeof word);
    return word ? 0 : -EFAULT;
}

static __always_inline const u64 *memsc_walk_chunk(u32 key)
{
    return key < MEMSC_WALK_CHUNKS ? walked_rows + (u64)key * MEMSC_WALK_CHUNK : NULL;
}

uint32_t memsc_unwind_walk(const uint32_t *pages, const uint64_t *rows, const void *places,
                           const struct memsc_unwind_copy *copy,
                           uint64_t frames[MEMSC_UNWIND_FRAMES], uint32_t *count)
{
    struct copied copied = {.copy = copy, .walk = {.rip = copy->rip, .exact = 1}};
    memcpy(copied.walk.registers, copy->registers, sizeof copied.walk.registers);
    walked_rows = rows;
    u32 end = MEMSC_WALK_ON;
    for (u32 i = 0; end == MEMSC_WALK_ON && i < MEMSC_WALK_FRAMES; i++)
        end = memsc_walk_step(&copied.walk, pages, places, i == 0);
    memcpy(frames, copied.walk.frames, sizeof copied.walk.frames);
    *count = copied.walk.count;
    return end == MEMSC_WALK_ON ? MEMSC_WALK_DEEP : end;
}
