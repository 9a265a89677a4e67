/* SPDX-License-Identifier: MIT
 *
 * A call's record, written by the caller into its own ring. In a header because it stands on the way
 * of every recorded call.
 */
#ifndef MEMSC_RECORD_H
#define MEMSC_RECORD_H

#include <stddef.h>
#include <sys/syscall.h>

#include "cpu.h"
#include "process.h"

enum { MEMSC_RING_YIELDS = 1024 /* of a wait for the reader between looks whether there is one */ };

/* Room for one record more, now that all that was known of is used: memory behind it, or a reader who follows. */
static inline bool memsc_ring_make_room(struct memsc_self *self)
{
    uint64_t records = self->ring_mask + 1;
    if (self->backed < records && !memsc_region_back_ring(self))
        return false;
    for (uint32_t yields = 1;; yields++) {
        /* Acquire: the reader has copied what it says is drained. */
        uint64_t drained = load_acquire(&self->slot->drained);
        self->room = self->backed < records ? self->backed : drained + records;
        if (self->written < self->room)
            return true;
        if (load_relaxed(&memsc_process()->region->ring_policy) == MEMSC_RING_DROP)
            return false;
        if (yields % MEMSC_RING_YIELDS == 0)
            memsc_region_look_for_reader(memsc_process());
        MEMSC_SYS(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
    }
}

static inline bool memsc_ring_has_room(struct memsc_self *self)
{
    return __builtin_expect(self->written < self->room, 1) || memsc_ring_make_room(self);
}

/* Whether the next call is recorded: of one in so many each is as likely as any other, whatever the program's
 * rhythm. No division, and nothing that the call has to wait for. *skipped: others are recorded. */
static inline bool memsc_draw(struct memsc_self *self, bool *skipped)
{
    uint32_t every = load_relaxed(&memsc_process()->region->recording);
    *skipped = false;
    if (__builtin_expect(every <= 1, 1))
        return every;
    self->draws = self->draws * 6364136223846793005u + 1442695040888963407u;
    *skipped = (self->draws >> 32) * every >> 32;
    return !*skipped;
}

/* Counts a call that was not drawn and has ended, `before` of them before it; said twice, it counts once. */
static inline void memsc_count_skipped(struct memsc_self *self, uint64_t before)
{
    store_relaxed(&self->slot->skipped, before + 1);
}

/* The next record with what the caller knows before the result: done while a synchronous call is
 * under way, which costs nothing. NULL: the call is not recorded. */
static inline struct memsc_call *memsc_begin_record(struct memsc_self *self, uint32_t index)
{
    if (!self->calls[index].stamped)
        return NULL;
    if (!self->ring || !memsc_ring_has_room(self)) {
        uint64_t dropped = load_relaxed(&self->slot->dropped);
        store_relaxed(&self->slot->dropped, dropped + 1);
        return NULL;
    }
    struct memsc_call *call = &self->ring[self->written & self->ring_mask];
    call->called = self->calls[index].called;
    call->posted = self->calls[index].posted;
    call->number = self->entries[index].number;
    call->tid = self->tid;
    return call;
}

/* Lets the reader see the records that were written. */
static inline void memsc_publish_record(struct memsc_self *self)
{
    /* Release: the record before the position that says it is there. */
    store_release(&self->slot->written, self->written);
}

/* Completes the record of a call whose result has been seen. */
static inline void memsc_end_record(struct memsc_self *self, uint32_t index,
                                    struct memsc_call *call, uint32_t flags)
{
    const struct memsc_reply *reply = &self->entries[index].reply;
    /* Ordered, like `picked`: without, one call in 25 seems to have its result sooner than a line can
     * come, and one in a hundred thousand before the service has executed it. */
    call->completed = memsc_cycles_ordered();
    call->picked = reply->picked;
    call->executed = reply->executed;
    /* Read after publishing, so an interrupt in between makes `posted` late; but the entry had been
     * published before it was picked. */
    if (call->posted > call->picked)
        call->posted = call->picked;
    call->result = self->entries[index].result;
    call->app_cpu = (uint16_t)*self->cpu;
    call->service_cpu = (uint16_t)reply->service_cpu;
    call->flags = flags | self->calls[index].flags | reply->flags;
    compiler_barrier();
    self->written++;
    memsc_publish_record(self);
}

#endif
