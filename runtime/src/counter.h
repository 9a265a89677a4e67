/* SPDX-License-Identifier: MIT
 *
 * Reads a perf event from user space, without a system call, by the page that the kernel keeps of it.
 *
 * The kernel changes that page on the CPU where its thread runs, in an interrupt or when it switches
 * threads: what must not be reordered is only what the compiler emits.
 */
#ifndef MEMSC_COUNTER_H
#define MEMSC_COUNTER_H

#include <errno.h>
#include <linux/perf_event.h>
#include <stdint.h>

#include "barrier.h"
#include "cpu.h"

struct memsc_reading {
    uint64_t value;   /* what was counted; not set where it is not on a counter */
    uint64_t enabled; /* ns: how long it could have been counted */
    uint64_t running; /* ns: how long it was */
};

/* Where readings come from: the processor, or a test's recorded ones. */
struct memsc_registers {
    uint64_t (*counter)(void *context, uint32_t number);
    uint64_t (*cycles)(void *context);
    void *context;
};

static inline uint64_t memsc_pmc(void *context, uint32_t number)
{
    (void)context;
    return memsc_event_counter(number);
}

static inline uint64_t memsc_tsc(void *context)
{
    (void)context;
    return memsc_cycles();
}

/* Nanoseconds from the page's last change until a time in cycles. */
static inline uint64_t memsc_since(const volatile struct perf_event_mmap_page *page,
                                   uint64_t cycles)
{
    if (page->cap_user_time_short)
        cycles = page->time_cycles + ((cycles - page->time_cycles) & page->time_mask);
    uint64_t whole = cycles >> page->time_shift;
    uint64_t rest = cycles & ((1ull << page->time_shift) - 1);
    return page->time_offset + whole * page->time_mult +
           (rest * page->time_mult >> page->time_shift);
}

/* 0; -EAGAIN: the event is on no counter that user space may read (it is software's, it waits for its
 * turn, or the kernel does not allow it): read() tells. `enabled` and `running` are set where the page
 * tells the time, and as old as its last change where not. */
static inline int memsc_counter_read(const volatile struct perf_event_mmap_page *page,
                                     const struct memsc_registers *registers,
                                     struct memsc_reading *reading)
{
    uint32_t sequence;
    int status;
    do {
        sequence = page->lock;
        compiler_barrier();
        uint32_t index = page->index;
        reading->enabled = page->time_enabled;
        reading->running = page->time_running;
        if (page->cap_user_time) {
            uint64_t since = memsc_since(page, registers->cycles(registers->context));
            reading->enabled += since;
            if (index)
                reading->running += since;
        }
        status = -EAGAIN;
        if (page->cap_user_rdpmc && index) {
            /* A counter has fewer bits than a number, and its highest one is a sign. */
            uint32_t unused = 64 - page->pmc_width;
            uint64_t bits = registers->counter(registers->context, index - 1) << unused;
            reading->value = (uint64_t)(page->offset + ((int64_t)bits >> unused));
            status = 0;
        }
        compiler_barrier();
        /* Odd while it is being changed, other than before when it has been. */
    } while (page->lock != sequence || sequence & 1);
    return status;
}

/* What the whole of its time would have counted, had it not taken turns; 0 where it never had one. */
static inline uint64_t memsc_counter_scale(const struct memsc_reading *reading)
{
    if (!reading->running)
        return 0;
    /* In two steps, or the product of two large numbers would not fit. */
    uint64_t whole = reading->value / reading->running, rest = reading->value % reading->running;
    return whole * reading->enabled +
           (uint64_t)((__uint128_t)rest * reading->enabled / reading->running);
}

#endif
