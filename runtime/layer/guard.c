/* SPDX-License-Identifier: MIT */
#include "guard.h"

#include <errno.h>
#include <linux/close_range.h>

#include "../src/barrier.h"
#include "../src/cpu.h"
#include "../src/kinds.h"
#include "../src/process.h"
#include "../src/forward.h"
#include "joining.h"
#include "local.h"
#include "stats.h"

static const struct memsc_answer its_way = {0, 0};

/* Something else is to come where a kept one is: it goes elsewhere. In a child that borrows its parent's
 * memory it is looked for when it is wanted: the parent has it where it was. */
static void make_way(int descriptor, bool borrowed)
{
    int name = memsc_kept_is(descriptor, borrowed);
    int moved = name < 0 ? -1 : memsc_duplicate_high(descriptor);
    if (moved >= 0 && !borrowed)
        store_relaxed(&memsc_kept[name].number, moved);
}

/* The lowest kept one within a range; -1: none. */
static int64_t first_kept(uint64_t from, uint64_t to)
{
    int64_t first = -1;
    for (int name = 0; name < MEMSC_KEPT_NAMES; name++) {
        int at = memsc_kept_at(name);
        if (at >= 0 && (uint64_t)at >= from && (uint64_t)at <= to && (first < 0 || at < first))
            first = at;
    }
    return first;
}

/* Around the kept ones, which the caller does. */
static struct memsc_answer close_range(const uint64_t args[6], bool borrowed)
{
    uint64_t from = (uint32_t)args[0], to = (uint32_t)args[1], flags = args[2];
    int64_t kept = first_kept(from, to);
    if (kept < 0)
        return its_way;
    if (!borrowed) {
        memsc_before_local(SYS_close_range, args);
        memsc_has_page() ? memsc_count_local(SYS_close_range) : memsc_stats_local(SYS_close_range);
    }
    long result = 0;
    for (; result == 0 && kept >= 0; kept = first_kept(from, to)) {
        if ((uint64_t)kept > from) {
            result = MEMSC_SYS(SYS_close_range, from, kept - 1, flags, 0, 0, 0);
            flags &= ~(uint64_t)CLOSE_RANGE_UNSHARE; /* done */
        }
        from = (uint64_t)kept + 1;
    }
    if (result == 0 && from <= to)
        result = MEMSC_SYS(SYS_close_range, from, to, flags, 0, 0, 0);
    if (!borrowed)
        memsc_kinds_missed(SYS_close_range);
    return (struct memsc_answer){result, 1};
}

struct memsc_answer memsc_guard(long number, const uint64_t args[6], bool borrowed)
{
    if (number == SYS_close_range)
        return close_range(args, borrowed);
    if (memsc_kept_is((int)args[0], borrowed) >= 0)
        return (struct memsc_answer){-EBADF, 1};
    if (memsc_fd_effect(number) == MEMSC_FD_SECOND)
        make_way((int)args[1], borrowed);
    return its_way;
}
