/* SPDX-License-Identifier: MIT
 *
 * A caller's wait for the result.
 *
 * A signal handler may run at any point of it, make calls of its own, fork, or never come back. So the
 * layer lets no handler run before the call under way is settled (recall.h), and then nothing below goes
 * on: the interrupted frames are given up. All that a settler needs is in struct memsc_wait.
 */
#ifndef MEMSC_WAIT_H
#define MEMSC_WAIT_H

#include "handshake.h"
#include "polls.h"
#include "process.h"
#include "record.h"
#include "usdt.h"

enum { MEMSC_FIRST_POLLS = 32 /* polls of the entry between looks at the clock */ };

/* How far a call is: what a signal handler that comes now has to do about it. */
enum memsc_stage {
    MEMSC_MAKING = 0, /* nothing has happened yet */
    MEMSC_POSTED,     /* if the entry says so; until then as before */
    MEMSC_MADE,       /* by the caller itself: the result is there, the record may not be */
};

struct memsc_wait {
    struct memsc_entry *entry;
    const uint64_t *args; /* where the layer has them, which tells it the frame to go back to */
    long result;          /* MEMSC_MADE, and these */
    uint64_t called, executed;
    uint32_t number;
    bool stamped, passed;      /* passed: it was not drawn */
    struct memsc_call *record; /* NULL: not recorded. Once begun */
    uint64_t written;          /* records before this one */
    uint64_t skipped;          /* calls before this one that were not drawn */
    uint32_t index;
    uint32_t flags; /* enum memsc_call_flags of the wait */
    volatile enum memsc_stage stage;
    volatile bool begun; /* `written` is there */
};

static inline bool memsc_done(const struct memsc_entry *entry)
{
    /* Acquire: result and stamps after the state that says they are there. */
    return (load_acquire(&entry->status) & MEMSC_STATE_MASK) == MEMSC_DONE;
}

static inline void memsc_probe_completed(const struct memsc_self *self, uint32_t index)
{
    const struct memsc_entry *entry = &self->entries[index];
    if (__builtin_expect(self->calls[index].probed, 0))
        MEMSC_PROBE(completed, self->index, index, entry->number, entry->result, self->tid);
}

/* The calling thread's call in the runtime, if the layer makes it; NULL: none. */
extern _Thread_local struct memsc_wait *volatile memsc_under_way
    __attribute__((tls_model("initial-exec")));

/* Whether a call comes from where the C library looks for a thread that is to be cancelled (the layer's
 * bridge.h); NULL: it does not look. */
extern bool (*memsc_from_bridge)(const uint64_t *args);

/* Such a signal came when the calling thread could not be shown to stand there. */
extern _Thread_local volatile uint32_t memsc_cancel_came __attribute__((tls_model("initial-exec")));

/* So it did for some thread: the bridge has to look. */
extern uint32_t memsc_cancels_came;

/* Readies one for a call; the rest is set before it is looked at. */
static inline void memsc_wait_start(struct memsc_wait *wait, const uint64_t *args)
{
    wait->args = args;
    wait->index = 0;
    wait->flags = 0;
    wait->stage = MEMSC_MAKING;
    wait->begun = false;
}

/* Begins the record of a call, or begins it anew: nothing happens twice. */
static inline void memsc_begin(struct memsc_self *self, struct memsc_wait *wait)
{
    if (!wait->begun) {
        wait->written = self->written;
        wait->skipped = load_relaxed(&self->slot->skipped);
        compiler_barrier();
        wait->begun = true;
        compiler_barrier();
    }
    if (self->written == wait->written)
        wait->record = memsc_begin_record(self, wait->index);
}

/* The service has not made the call: it was none that is forwarded. */
static inline bool memsc_was_declined(struct memsc_self *self, uint32_t index)
{
    const struct memsc_entry *entry = &self->entries[index];
    if (__builtin_expect(entry->result != MEMSC_DECLINED, 1))
        return false;
    self->slot->forwarded[memsc_count_index(entry->number)]--;
    return true;
}

/* Ends a call whose result is there: completes its record, returns the result. What was done when a
 * handler came in between is not done twice. */
static inline long memsc_conclude(struct memsc_self *self, struct memsc_wait *wait)
{
    long result = self->entries[wait->index].result;
    if (memsc_was_declined(self, wait->index))
        return result;
    if (self->written != wait->written)
        memsc_publish_record(self);
    else if (wait->record)
        memsc_end_record(self, wait->index, wait->record, wait->flags);
    else if (self->calls[wait->index].skipped)
        memsc_count_skipped(self, wait->skipped);
    memsc_probe_completed(self, wait->index);
    return result;
}

/* Wakes a parked service; returns the flag for the record. */
static inline uint32_t memsc_ring_doorbell(_Atomic uint32_t *doorbell)
{
    memsc_light_barrier(memsc_process()->symmetric);
    if (!load_relaxed(doorbell) || !atomic_exchange_explicit(doorbell, 0, memory_order_relaxed))
        return 0;
    memsc_futex_wake(doorbell, 1);
    return MEMSC_CALL_WOKE;
}

/* Between two looks at a line, which hold up whoever is about to write it; returns what they count as. */
static inline uint32_t memsc_pauses(const struct memsc_process *process)
{
    for (uint32_t i = 0; i < process->handoff.pauses; i++)
        memsc_pause();
    return process->handoff.pauses;
}

/* Polls in the place that a call's flags have for them. */
static inline uint32_t memsc_polled(uint32_t polls)
{
    return memsc_pack_polls(polls) << MEMSC_POLLS_APP_SHIFT;
}

/* Waits beyond the first quick polls until one of the entries `wanted` is done; returns it. Goes on
 * polling after `polls`, then sleeps; adds to *flags what happened. */
int memsc_wait_long(struct memsc_self *self, uint64_t wanted, uint32_t polls, uint32_t *flags);

#endif
