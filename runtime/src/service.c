/* SPDX-License-Identifier: MIT
 *
 * Start and stop of the service.
 */
#include "service.h"

#include "handshake.h"
#include "thread.h"

int memsc_service_start(struct memsc_process *process, const struct memsc_options *options)
{
    bool scanner = process->service_mode == MEMSC_SCANNER;
    /* Line 0 is the scanner's; its workers run on the other service CPUs, if there are any. */
    uint32_t first = scanner ? 1 : 0;
    uint32_t cpus = options->services;
    uint32_t count = scanner ? first + (cpus > 1 ? cpus - 1 : 1) : cpus;
    if (count > MEMSC_MAX_SERVICES)
        count = MEMSC_MAX_SERVICES;
    process->services = count;
    process->region->services = count;
    memsc_workers_reset();
    for (uint32_t i = 0; i < count; i++) {
        struct memsc_service *service = &process->service[i];
        service->line = &process->region->service[i];
        service->active = process->pages->active[i];
        service->line->cpu = options->service_cpus[cpus > 1 ? i : 0];
        service->parked = &service->line->parked;
        if (process->transport != MEMSC_IPI && (i == 0 || !scanner) && process->pages_id >= 0) {
            service->membership.quantum = process->quantum_cycles;
            memsc_registry_open(&service->membership, service->line->cpu);
        }
    }
    int error = 0;
    if (scanner)
        error = memsc_thread_start(memsc_scanner_main, process, process->region->service[0].cpu,
                                   "memsc-scanner");
    for (uint32_t i = first; i < count && !error; i++) {
        memsc_lock(&process->service[i].lock);
        error = memsc_worker_start(process, &process->service[i]);
        memsc_unlock(&process->service[i].lock);
    }
    for (uint32_t i = 0; i < count && !error; i++)
        memsc_registry_announce(&process->service[i].membership);
    if (error)
        memsc_service_stop(process);
    return error;
}

void memsc_service_stop(struct memsc_process *process)
{
    atomic_store(&process->state, MEMSC_STOPPING);
    for (uint32_t i = 0; i < process->services; i++) {
        struct memsc_service *service = &process->service[i];
        atomic_store(&service->line->parked, 0);
        memsc_futex_wake(&service->line->parked, INT32_MAX);
        _Atomic uint32_t *parked = atomic_load(&service->parked);
        atomic_store(parked, 0);
        memsc_futex_wake(parked, INT32_MAX);
        if (service->membership.member)
            memsc_futex_wake(&service->membership.member->state, INT32_MAX);
        memsc_lock(&service->lock);
        atomic_fetch_add(&service->work, 1);
        memsc_unlock(&service->lock);
        memsc_futex_wake(&service->work, INT32_MAX);
    }
    memsc_thread_join_all();
    for (uint32_t i = 0; i < process->services; i++)
        memsc_registry_close(&process->service[i].membership);
}

void memsc_service_finish(struct memsc_process *process)
{
    for (uint32_t i = 0; i < process->services; i++)
        memsc_registry_finish(&process->service[i].membership);
}
