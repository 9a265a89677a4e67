/* SPDX-License-Identifier: MIT
 *
 * The scanner: walks the heads of all pages and wakes the workers whose pages have calls.
 */
#include "handshake.h"
#include "service.h"
#include "thread.h"

/* A submitted entry at a head of the service's pages? */
static bool waiting(const struct memsc_process *process, const struct memsc_service *service,
                    bool thorough)
{
    uint32_t words = memsc_words_used(process);
    for (uint32_t word = 0; word < words; word++) {
        uint64_t bits = atomic_load_explicit(&service->active[word], memory_order_acquire);
        for (; bits; bits &= bits - 1) {
            uint32_t head;
            if (memsc_look(process->pages, word * 64 + (uint32_t)__builtin_ctzll(bits), thorough,
                           &head))
                return true;
        }
    }
    return false;
}

/* Wakes the worker of each service whose pages have calls; true if any had. */
static bool wake_workers(struct memsc_process *process, bool thorough)
{
    bool found = false;
    for (uint32_t i = 1; i < process->services; i++) {
        struct memsc_service *service = &process->service[i];
        if (!waiting(process, service, thorough))
            continue;
        found = true;
        if (atomic_load_explicit(&service->line->parked, memory_order_relaxed) &&
            atomic_exchange_explicit(&service->line->parked, 0, memory_order_acq_rel))
            memsc_futex_wake(&service->line->parked, 1);
        if (service->line->cpu == process->region->service[0].cpu)
            MEMSC_SYS(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
    }
    return found;
}

void memsc_scanner_main(void *argument)
{
    struct memsc_process *process = argument;
    struct memsc_service_line *line = &process->region->service[0];
    uint64_t idle_since = 0;
    for (uint32_t polls = 0; atomic_load(&process->state) == MEMSC_RUNNING; polls++) {
        if (wake_workers(process, polls % MEMSC_POLLS_PER_PAGE == MEMSC_POLLS_PER_PAGE - 1)) {
            idle_since = 0;
            continue;
        }
        memsc_pause();
        if (polls % MEMSC_POLLS_PER_CLOCK)
            continue;
        for (uint32_t i = 1; i < process->services; i++)
            if (atomic_load_explicit(&process->service[i].pooled, memory_order_relaxed))
                MEMSC_SYS(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
        uint64_t now = memsc_cycles();
        if (!idle_since)
            idle_since = now;
        else if (now - idle_since > process->idle_cycles) {
            /* As park(): announce, let the posters see it, look once more. */
            atomic_store_explicit(&line->parked, 1, memory_order_relaxed);
            memsc_heavy_barrier(process->symmetric);
            if (!wake_workers(process, true))
                memsc_sleep_parked(process, line);
            atomic_store_explicit(&line->parked, 0, memory_order_relaxed);
            idle_since = 0;
        }
    }
    memsc_thread_exit();
}
