/* SPDX-License-Identifier: MIT
 *
 * The pool: threads for calls that may wait, and stand-bys for a poller that does.
 */
#include <errno.h>
#include <stddef.h>

#include "handshake.h"
#include "kinds.h"
#include "recall.h"
#include "service.h"
#include "thread.h"
#include "token.h"
#include "usdt.h"

/* Workers are few and live as long as the service; taken from a table, never given back. */
static struct memsc_worker workers[MEMSC_MAX_WORKERS];
static _Atomic uint32_t workers_used;

static void worker_main(void *argument);

enum { UNBLOCK = 1 /* SIG_UNBLOCK; its header is the C library's own */ };
static const uint64_t recall_signal = 1ull << (MEMSC_RECALL_SIGNAL - 1);

int memsc_worker_start(struct memsc_process *process, struct memsc_service *service)
{
    uint32_t at = atomic_fetch_add_explicit(&workers_used, 1, memory_order_relaxed);
    if (at >= MEMSC_MAX_WORKERS) {
        atomic_fetch_sub_explicit(&workers_used, 1, memory_order_relaxed);
        return -EAGAIN;
    }
    struct memsc_worker *worker = &workers[at];
    worker->process = process;
    worker->service = service;
    worker->serving = false;
    atomic_store_explicit(&worker->in_call, 0, memory_order_relaxed);
    atomic_store_explicit(&worker->sent, 0, memory_order_relaxed);
    atomic_store_explicit(&worker->received, 0, memory_order_relaxed);
    int error = memsc_thread_start(worker_main, worker, service->line->cpu, "memsc-service");
    if (!error)
        service->free++;
    return error;
}

struct memsc_worker *memsc_worker_at(uint32_t at)
{
    return at < atomic_load_explicit(&workers_used, memory_order_acquire) ? &workers[at] : NULL;
}

void memsc_workers_reset(void)
{
    atomic_store_explicit(&workers_used, 0, memory_order_relaxed);
}

void memsc_hand_over(struct memsc_worker *worker, struct memsc_slot *slot,
                     struct memsc_entry *entry, uint32_t number, const uint64_t args[6],
                     uint32_t status)
{
    struct memsc_process *process = worker->process;
    struct memsc_service *service = worker->service;
    struct memsc_job *job =
        &process->jobs[slot - process->slots][entry - memsc_entries(process, slot)];
    atomic_store_explicit(&entry->status, MEMSC_TAKEN, memory_order_relaxed);

    memsc_lock(&service->lock);
    if (job->queued) { /* submitted a second time before it was done: whose fault this is, waits */
        memsc_unlock(&service->lock);
        return;
    }
    job->slot = slot;
    job->entry = entry;
    job->number = number;
    for (int i = 0; i < 6; i++)
        job->args[i] = args[i];
    job->status = status;
    job->next = NULL;
    job->queued = true;
    atomic_fetch_add_explicit(&service->pooled, 1, memory_order_relaxed);
    if (service->last)
        service->last->next = job;
    else
        service->first = job;
    service->last = job;
    /* A thread for each job, for any may wait for another, and one as stand-by for a takeover. */
    if (service->free < ++service->queued + 1)
        memsc_worker_start(process, service);
    atomic_fetch_add_explicit(&service->work, 1, memory_order_relaxed);
    memsc_unlock(&service->lock);
    memsc_futex_wake(&service->work, 1);
    /* It runs on this CPU: let it try now, most such calls return at once. */
    MEMSC_SYS(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
}

/* Called with the lock held: what it returns is a copy, the job may be queued again. */
static struct memsc_job dequeue(struct memsc_service *service)
{
    struct memsc_job *job = service->first;
    service->first = job->next;
    if (!service->first)
        service->last = NULL;
    service->queued--;
    job->queued = false;
    return *job;
}

static void run_job(struct memsc_worker *worker, const struct memsc_job *job)
{
    uint32_t status = job->status;
    uint64_t picked = status & MEMSC_STAMP ? memsc_cycles() : 0;
    memsc_probe_picked(worker->process, job->slot, job->entry, job->number, status);
    /* Release: whoever finds it there finds this thread's number. */
    atomic_store_explicit(&worker->in_call, memsc_name_of_entry(worker->process, job->entry),
                          memory_order_release);
    /* Even if it has been called back by now: what it does at once is the kernel's to decide. */
    long result = memsc_raw(job->number, job->args);
    memsc_leave_call(worker);
    memsc_kinds_update(job->number, job->args, result);
    memsc_publish_pooled(worker, job->slot, job->entry, job->number, result, picked, status);
    atomic_fetch_sub_explicit(&worker->service->pooled, 1, memory_order_relaxed);
}

bool memsc_still_poller(struct memsc_worker *worker)
{
    struct memsc_service *service = worker->service;
    memsc_lock(&service->lock);
    bool ours = service->poller == worker;
    if (ours)
        worker->epoch = atomic_load_explicit(&service->epoch, memory_order_relaxed);
    memsc_unlock(&service->lock);
    return ours;
}

/* Makes `worker` the poller if the present one is inside a call; called with the lock held. */
static bool take_over(struct memsc_worker *worker)
{
    struct memsc_process *process = worker->process;
    struct memsc_service *service = worker->service;
    service->takeover = false;
    uint32_t epoch = atomic_load_explicit(&service->epoch, memory_order_relaxed) + 1;
    atomic_store_explicit(&service->epoch, epoch, memory_order_relaxed);
    memsc_heavy_barrier(process->symmetric);
    uint32_t name = atomic_load_explicit(&service->poller->in_call, memory_order_acquire);
    if (!name)
        return false;
    /* The stuck poller cannot publish before it gets the lock, so the entry is still its own; it
     * must not look submitted to the new poller. */
    struct memsc_entry *entry = memsc_entry_named(process, name);
    atomic_store_explicit(&entry->status, MEMSC_TAKEN, memory_order_relaxed);
    /* It goes on with its call on this CPU, and the new poller must let it. */
    atomic_fetch_add_explicit(&service->pooled, 1, memory_order_relaxed);
    service->poller = worker;
    worker->epoch = epoch;
    worker->serving = true;
    return true;
}

static void worker_main(void *argument)
{
    struct memsc_worker *worker = argument;
    struct memsc_process *process = worker->process;
    struct memsc_service *service = worker->service;
    worker->tid = (uint32_t)MEMSC_SYS(SYS_gettid, 0, 0, 0, 0, 0, 0);
    /* Only here: elsewhere it is the program's. */
    MEMSC_SYS(SYS_rt_sigprocmask, UNBLOCK, &recall_signal, 0, sizeof recall_signal, 0, 0);
    memsc_lock(&service->lock);
    while (atomic_load(&process->state) == MEMSC_RUNNING) {
        bool first = !service->poller;
        if (first) {
            service->poller = worker;
            worker->epoch = atomic_load_explicit(&service->epoch, memory_order_relaxed);
            worker->serving = true;
        }
        if (first || (service->takeover && take_over(worker))) {
            service->free--;
            if (service->free < service->queued + 1)
                memsc_worker_start(process, service);
            memsc_unlock(&service->lock);
            memsc_poll(worker);
            memsc_lock(&service->lock);
            service->free++;
            if (service->poller != worker) /* replaced, and its call is over */
                atomic_fetch_sub_explicit(&service->pooled, 1, memory_order_relaxed);
        } else if (service->first) {
            const struct memsc_job job = dequeue(service);
            service->free--;
            memsc_unlock(&service->lock);
            run_job(worker, &job);
            memsc_lock(&service->lock);
            service->free++;
        } else {
            uint32_t seen = atomic_load_explicit(&service->work, memory_order_relaxed);
            memsc_unlock(&service->lock);
            memsc_futex_wait(&service->work, seen, 0);
            memsc_lock(&service->lock);
        }
    }
    memsc_unlock(&service->lock);
    memsc_thread_exit();
}

/* Whether a takeover would help the calling thread; called with the lock held. Not if no call keeps
 * the poller; nor if that call is all that the thread waits for, since a successor would only take the
 * CPU from it. But a thread that sleeps has waited so long that it may be for ever: once its entry
 * is known to be in a call, it need not look again. */
static bool takeover_helps(const struct memsc_process *process, const struct memsc_service *service)
{
    const struct memsc_self *self = memsc_self;
    uint32_t name =
        service->poller ? atomic_load_explicit(&service->poller->in_call, memory_order_relaxed) : 0;
    if (!name)
        return false;
    bool own = (name - 1) / MEMSC_PAGE_ENTRIES == (uint32_t)(self->slot - process->slots);
    return !own || self->in_flight ||
           atomic_load_explicit(&self->slot->sleeping, memory_order_relaxed) != MEMSC_AWAKE;
}

void memsc_service_ask_takeover(struct memsc_service *service)
{
    if (memsc_token_claim(memsc_process, service))
        return;
    memsc_lock(&service->lock);
    bool helps = takeover_helps(memsc_process, service);
    if (helps) {
        service->takeover = true;
        atomic_fetch_add_explicit(&service->work, 1, memory_order_relaxed);
    }
    memsc_unlock(&service->lock);
    if (helps)
        memsc_futex_wake(&service->work, INT32_MAX);
}
