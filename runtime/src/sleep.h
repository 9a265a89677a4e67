/* SPDX-License-Identifier: MIT
 *
 * How a caller sleeps that has polled for long, in its own wait (wait.h) and where it ends one (recall.h).
 */
#ifndef MEMSC_SLEEP_H
#define MEMSC_SLEEP_H

#include "wait.h"

/* Index of an entry of `wanted` that is done, or -1. */
static inline int memsc_any_done(const struct memsc_entry *entries, uint64_t wanted)
{
    for (; wanted; wanted &= wanted - 1) {
        int index = __builtin_ctzll(wanted);
        if (memsc_done(&entries[index]))
            return index;
    }
    return -1;
}

/* Announces the sleep, lets the service see it, looks once more, sleeps once, until one of the entries
 * `wanted` is done, microseconds at most; 0: no limit. 0 or -errno, as the kernel's futex has it. */
long memsc_sleep_once(struct memsc_self *self, uint64_t wanted, uint64_t microseconds);

/* Asks for a takeover if the service has not moved on since *calls was read. */
void memsc_look_for_progress(const struct memsc_self *self, uint32_t *calls);

#endif
