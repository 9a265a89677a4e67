/* SPDX-License-Identifier: MIT
 *
 * The scanner: walks the heads of all pages and wakes the workers whose pages have calls.
 */
#include "handshake.h"
#include "service.h"
#include "thread.h"
#include "token.h"

/* A submitted entry at a head of the service's pages? */
static bool waiting(const struct memsc_process *process, const struct memsc_service *service,
                    bool thorough)
{
    uint32_t words = memsc_words_used(process);
    for (uint32_t word = 0; word < words; word++) {
        uint64_t bits = load_acquire(&service->active[word]);
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
        memsc_wake_worker(load_relaxed(&service->parked), thorough);
        if (service->line->cpu == process->region->service[0].cpu)
            MEMSC_SYS(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
    }
    return found;
}

/* Joins the registry, and lets the workers sleep where other processes' scanners can wake them. */
static void sit_down(struct memsc_process *process, struct memsc_service *service)
{
    memsc_registry_join(&service->membership, process->region->pid, process->pages_id, true,
                        process->services);
    if (!service->membership.member)
        return;
    for (uint32_t i = 1; i < process->services; i++) {
        _Atomic uint32_t *before =
            atomic_exchange(&process->service[i].parked, &service->membership.member->parked[i]);
        atomic_store(before, 0);
        memsc_futex_wake(before, 1);
    }
}

void memsc_scanner_main(void *argument)
{
    struct memsc_process *process = argument;
    struct memsc_service_line *line = &process->region->service[0];
    struct memsc_service *service = &process->service[0];
    uint64_t idle_since = 0;
    memsc_await_start(process);
    sit_down(process, service);
    memsc_token_acquire(process, service);
    for (uint32_t polls = 0; atomic_load(&process->state) == MEMSC_RUNNING; polls++) {
        bool thorough = polls % MEMSC_POLLS_PER_PAGE == MEMSC_POLLS_PER_PAGE - 1;
        bool found = wake_workers(process, thorough);
        if (memsc_token_shared(service))
            found |= memsc_token_scan_others(process, service, thorough);
        if (polls % MEMSC_POLLS_PER_CLOCK == 0)
            memsc_token_maintain(process, service);
        if (found) {
            idle_since = 0;
            continue;
        }
        memsc_pause();
        if (polls % MEMSC_POLLS_PER_CLOCK)
            continue;
        for (uint32_t i = 1; i < process->services; i++)
            if (load_relaxed(&process->service[i].pooled))
                MEMSC_SYS(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
        uint64_t now = memsc_cycles();
        if (!idle_since)
            idle_since = now;
        else if (now - idle_since > process->idle_cycles) {
            /* As park(): announce, let the posters see it, look once more. */
            store_relaxed(&line->parked, 1);
            memsc_heavy_barrier(process->symmetric);
            if (!wake_workers(process, true)) {
                memsc_token_release(service);
                memsc_sleep_parked(process, line, &line->parked);
            }
            store_relaxed(&line->parked, 0);
            wake_workers(process, true);
            memsc_token_acquire(process, service);
            idle_since = 0;
        }
    }
    memsc_token_release(service);
    memsc_thread_exit();
}
