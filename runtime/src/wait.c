/* SPDX-License-Identifier: MIT */
#include "wait.h"

#include <errno.h>
#include <stddef.h>

#include "handshake.h"
#include "recall.h"
#include "sleep.h"
#include "token.h"

enum { ASLEEP_US = 1000 /* between a sleeping caller's looks at the service's progress */ };

static bool all_taken(const struct memsc_entry *entries, uint64_t wanted)
{
    for (; wanted; wanted &= wanted - 1) {
        uint32_t status = load_relaxed(&entries[__builtin_ctzll(wanted)].status);
        if ((status & MEMSC_STATE_MASK) == MEMSC_SUBMITTED)
            return false;
    }
    return true;
}

static int sleep_for(struct memsc_self *self, uint64_t wanted)
{
    const struct memsc_entry *entries = self->entries;
    uint32_t calls = load_relaxed(&self->line->calls);
    for (;;) {
        int index = memsc_any_done(entries, wanted);
        if (index >= 0)
            return index;
        /* Nobody but the caller notices that the service is stuck, so it must wake now and then.
         * Without a time limit the kernel goes on after a handler with SA_RESTART. */
        bool taken = all_taken(entries, wanted);
        long slept = memsc_sleep_once(self, wanted, taken ? 0 : ASLEEP_US);
        if (slept == -ETIMEDOUT && !taken)
            memsc_look_for_progress(self, &calls);
        else if (slept == -EINTR && taken)
            memsc_interrupt(self, (uint32_t)__builtin_ctzll(wanted));
    }
}

int memsc_wait_long(struct memsc_self *self, uint64_t wanted, uint32_t polls, uint32_t *flags)
{
    struct memsc_process *process = memsc_process();
    const struct memsc_entry *entries = self->entries;
    const struct memsc_service_line *line = self->line;
    uint64_t since = memsc_cycles();
    uint64_t looked = since;
    uint32_t pauses = 0;
    uint32_t calls = load_relaxed(&line->calls);
    while (process->spin_cycles) {
        int index = memsc_any_done(entries, wanted);
        if (index >= 0) {
            *flags |= memsc_polled(polls);
            return index;
        }
        uint32_t paused = memsc_pauses(process);
        polls += paused;
        pauses += paused;
        if (pauses < MEMSC_FIRST_POLLS)
            continue;
        pauses = 0;
        /* Until the token comes, others may use this CPU: callers that poll it away in vain, one after the
         * other, make each other's results wait for a time slice. */
        if (memsc_token_awaited(process, &process->service[self->slot->service]))
            MEMSC_SYS(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
        uint64_t now = memsc_cycles();
        bool taken = all_taken(entries, wanted);
        if (now - looked > process->stuck_cycles) {
            if (!taken)
                memsc_look_for_progress(self, &calls);
            looked = now;
        }
        if (now - since > (taken ? process->pooled_spin_cycles : process->spin_cycles))
            break;
    }
    int index = memsc_any_done(entries, wanted);
    if (index >= 0)
        return index;
    *flags |= MEMSC_CALL_SLEPT | memsc_polled(polls);
    return sleep_for(self, wanted);
}
