/* SPDX-License-Identifier: MIT
 *
 * A call that the caller executes, with the same stamps and probes as a forwarded one.
 */
#ifndef MEMSC_DIRECT_H
#define MEMSC_DIRECT_H

#include <stddef.h>

#include "raw.h"
#include "record.h"
#include "usdt.h"
#include "wait.h"

/* Records a call that was made, unless that has been done. */
static inline void memsc_record_directly(struct memsc_self *self, struct memsc_wait *wait)
{
    self->calls[0].stamped = wait->stamped;
    self->calls[0].skipped = wait->passed;
    self->entries[0].number = wait->number;
    memsc_begin(self, wait);
    struct memsc_call *call = wait->record;
    if (self->written != wait->written)
        memsc_publish_record(self);
    else if (call) {
        call->posted = call->picked = call->called = wait->called;
        call->executed = call->completed = wait->executed;
        call->result = wait->result;
        call->app_cpu = call->service_cpu = (uint16_t)*self->cpu;
        call->flags = 0;
        compiler_barrier();
        self->written++;
        memsc_publish_record(self);
    } else if (wait->passed) {
        memsc_count_skipped(self, wait->skipped);
    }
}

/* All of it is execute: it is picked and executed, and nobody else has to see it. *wait is the call that
 * is under way, or one that nobody looks at. */
static inline long memsc_call_directly(struct memsc_self *self, struct memsc_wait *wait,
                                       long number, const uint64_t args[6])
{
    bool probed = memsc_wants_probe(self);
    bool stamped = memsc_draw(self, &wait->passed);
    self->slot->forwarded[memsc_count_index(number)]++;
    wait->number = (uint32_t)number;
    wait->stamped = stamped;
    if (__builtin_expect(probed, 0))
        MEMSC_PROBE(called, self->index, 0, number, 0, self->tid);
    if (stamped)
        wait->called = memsc_cycles();
    if (__builtin_expect(probed, 0))
        MEMSC_PROBE(picked, self->index, 0, number, 0, self->tid);
    /* The kernel knows what a handler does to this; its own calls are like any. */
    bool layer_s = memsc_under_way == wait;
    compiler_barrier();
    if (__builtin_expect(memsc_from_bridge && layer_s, 0)) {
        wait->result = memsc_raw_marked(number, args);
    } else {
        memsc_under_way = NULL;
        compiler_barrier();
        wait->result = memsc_raw(number, args);
    }
    if (stamped)
        wait->executed = memsc_cycles();
    wait->stage = MEMSC_MADE;
    compiler_barrier();
    if (layer_s)
        memsc_under_way = wait;
    compiler_barrier();
    /* A handler has forked or left, and here is no page and no ring. */
    if (__builtin_expect(memsc_self != self || !self->slot, 0))
        return wait->result;
    if (__builtin_expect(probed, 0))
        MEMSC_PROBE(executed, self->index, 0, number, wait->result, self->tid);
    memsc_record_directly(self, wait);
    return wait->result;
}

#endif
