/* SPDX-License-Identifier: MIT */
#include "recall.h"

#include <errno.h>
#include <stddef.h>

#include "direct.h"
#include "recall_signal.h"
#include "service.h"
#include "sleep.h"
#include "wait.h"

enum { SHORTEST_NAP_US = 50, LONGEST_NAP_US = 1000, SOON_SHARE = 8 };

/* Returns when the entry is done. */
static void call_back(struct memsc_self *self, uint32_t index)
{
    struct memsc_process *process = memsc_process();
    const struct memsc_entry *entry = &self->entries[index];
    uint32_t name = memsc_name_of_entry(process, entry);
    _Atomic uint32_t *word = memsc_recall_word(process, name);
    uint32_t calls = load_relaxed(&self->line->calls);
    uint64_t nap_us = SHORTEST_NAP_US;
    store_relaxed(word, 1);
    /* The handler may have come between the posting and that, or between its halves. */
    memsc_ring_doorbell(self->doorbell);
    memsc_futex_wake(self->doorbell, 1);
    for (;;) {
        /* What does not wait is let finish; what was handed to the pool probably waits. */
        uint32_t state = load_relaxed(&entry->status) & MEMSC_STATE_MASK;
        uint64_t soon = process->stuck_cycles / (state == MEMSC_TAKEN ? SOON_SHARE : 1);
        uint64_t since = memsc_cycles();
        while (!memsc_done(entry) && memsc_cycles() - since < soon)
            memsc_pause();
        if (memsc_done(entry))
            break;
        if (state == MEMSC_SUBMITTED)
            memsc_look_for_progress(self, &calls);
        memsc_recall(process, name);
        memsc_sleep_once(self, 1ull << index, nap_us);
        if (nap_us < LONGEST_NAP_US)
            nap_us *= 2;
    }
    store_relaxed(word, 0);
}

static bool is_posted(const struct memsc_wait *wait)
{
    return wait->stage == MEMSC_POSTED &&
           (load_relaxed(&wait->entry->status) & MEMSC_STATE_MASK) != MEMSC_FREE;
}

/* The service's part is over: what the caller still had to do with it. */
static long finish(struct memsc_self *self, struct memsc_wait *wait)
{
    uint32_t index = wait->index;
    /* The signal may have come between the posting and its stamp. */
    if (self->calls[index].posted < self->calls[index].called)
        self->calls[index].posted = self->calls[index].called;
    memsc_begin(self, wait);
    return memsc_conclude(self, wait);
}

enum memsc_settled memsc_settle(struct memsc_self *self, long *result)
{
    struct memsc_wait *wait = memsc_under_way;
    enum memsc_settled settled = MEMSC_NOT_MADE;
    if (wait->stage == MEMSC_MADE) {
        if (self && self->slot) /* else a handler has forked or left during the call */
            memsc_record_directly(self, wait);
        *result = wait->result;
        settled = MEMSC_ENDED;
    } else if (self && self->slot && is_posted(wait)) {
        _Atomic uint32_t *sleeping = &self->slot->sleeping;
        if (load_relaxed(sleeping) != MEMSC_AWAKE)
            wait->flags |= MEMSC_CALL_SLEPT;
        call_back(self, wait->index);
        store_relaxed(sleeping, MEMSC_AWAKE);
        *result = finish(self, wait);
        settled = *result == MEMSC_ABORTED    ? MEMSC_GIVEN_UP
                  : *result == MEMSC_DECLINED ? MEMSC_NOT_MADE
                                              : MEMSC_ENDED;
    }
    memsc_under_way = NULL;
    return settled;
}

void memsc_interrupt(struct memsc_self *self, uint32_t index)
{
    if (!memsc_recall_enabled() || !memsc_under_way)
        return;
    call_back(self, index);
    if (self->entries[index].result == MEMSC_ABORTED)
        self->entries[index].result = -EINTR;
}

void memsc_abandon(struct memsc_self *self)
{
    /* Its frame is gone, so nothing of *under_way is there. */
    uint32_t index = self->next;
    uint32_t state = load_relaxed(&self->entries[index].status) & MEMSC_STATE_MASK;
    if (state == MEMSC_SUBMITTED || state == MEMSC_TAKEN)
        call_back(self, index);
    memsc_under_way = NULL;
}
