/* SPDX-License-Identifier: MIT
 *
 * A call that the caller executes, with the same stamps and probes as a forwarded one.
 */
#ifndef MEMSC_DIRECT_H
#define MEMSC_DIRECT_H

#include <stddef.h>

#include "record.h"
#include "usdt.h"

static inline uint32_t memsc_count_index(long number)
{
    return number >= 0 && number < MEMSC_NUMBERS ? (uint32_t)number : MEMSC_NUMBERS - 1;
}

/* All of it is execute: it is picked and executed, and nobody else has to see it. */
static inline long memsc_call_directly(struct memsc_self *self, long number, const uint64_t args[6])
{
    self->slot->forwarded[memsc_count_index(number)]++;
    struct memsc_entry *entry = &self->entries[0];
    bool probed = memsc_wants_probe(self);
    self->calls[0].stamped =
        atomic_load_explicit(&memsc_process->region->recording, memory_order_relaxed) != 0;
    entry->number = (uint32_t)number;
    struct memsc_call *call = memsc_begin_record(self, 0);
    long result;
    if (call)
        call->called = call->posted = call->picked = memsc_cycles();
    if (__builtin_expect(probed, 0))
        MEMSC_PROBE(picked, self->index, 0, number, 0, self->tid);
    result = memsc_raw(number, args);
    if (call)
        call->executed = call->completed = memsc_cycles();
    if (__builtin_expect(probed, 0))
        MEMSC_PROBE(executed, self->index, 0, number, result, self->tid);
    if (!call)
        return result;
    call->result = result;
    call->app_cpu = call->service_cpu = (uint16_t)*self->cpu;
    call->flags = 0;
    /* Release: as in memsc_end_record. */
    atomic_store_explicit(&self->slot->written, ++self->written, memory_order_release);
    return result;
}

#endif
