/* SPDX-License-Identifier: MIT */
#include "sleep.h"

#include "handshake.h"
#include "signals.h"

long memsc_sleep_once(struct memsc_self *self, uint64_t wanted, uint64_t microseconds)
{
    struct memsc_slot *slot = self->slot;
    uint32_t value = (wanted & (wanted - 1)) ? (uint32_t)MEMSC_SLEEPING_ANY
                                             : (uint32_t)__builtin_ctzll(wanted) + 1;
    long slept = 0;
    store_relaxed(&slot->sleeping, value);
    memsc_heavy_barrier(memsc_process()->symmetric);
    if (memsc_any_done(self->entries, wanted) < 0)
        slept = memsc_futex_wait(&slot->sleeping, value, microseconds);
    store_relaxed(&slot->sleeping, MEMSC_AWAKE);
    return slept;
}

void memsc_look_for_progress(const struct memsc_self *self, uint32_t *calls)
{
    uint32_t seen = load_relaxed(&self->line->calls);
    if (seen == *calls) {
        /* It takes a lock, and a handler that came then would give this frame up. */
        uint64_t before = memsc_block_signals();
        memsc_service_ask_takeover(&memsc_process()->service[self->slot->service]);
        memsc_set_signals(before);
    }
    *calls = seen;
}
