/* SPDX-License-Identifier: MIT
 *
 * The pool: threads for calls that may wait, and stand-bys for a poller that does.
 */
#include <errno.h>
#include <stddef.h>

#include "handshake.h"
#include "kinds.h"
#include "recall_signal.h"
#include "service.h"
#include "thread.h"
#include "token.h"
#include "usdt.h"

static void worker_main(void *argument);

enum { UNBLOCK = 1 /* SIG_UNBLOCK; its header is the C library's own */ };
static const uint64_t recall_signal = 1ull << (MEMSC_RECALL_SIGNAL - 1);

int memsc_worker_start(struct memsc_process *process, struct memsc_service *service)
{
    struct memsc_worker *worker = memsc_worker_take();
    if (!worker)
        return -EAGAIN;
    worker->process = process;
    worker->service = service;
    worker->serving = false;
    store_relaxed(&worker->tid, 0);
    store_relaxed(&worker->in_call, 0);
    store_relaxed(&worker->sent, 0);
    store_relaxed(&worker->received, 0);
    int error = memsc_thread_start(worker_main, worker, service->line->cpu, "memsc-service");
    if (error)
        atomic_store(&worker->taken, 0); /* the next try may succeed */
    else
        service->free++;
    return error;
}

bool memsc_hand_over(struct memsc_worker *worker, struct memsc_slot *slot,
                     struct memsc_entry *entry, uint32_t number, const uint64_t args[6],
                     uint32_t status)
{
    struct memsc_process *process = worker->process;
    struct memsc_service *service = worker->service;
    struct memsc_job *job =
        &process->jobs[slot - process->slots][entry - memsc_entries(process, slot)];
    store_relaxed(&entry->status, MEMSC_TAKEN);

    memsc_lock(&service->lock);
    if (job->queued) { /* submitted a second time before it was done: whose fault this is, waits */
        memsc_unlock(&service->lock);
        return true;
    }
    /* A thread for each job, for any may wait for another, and one as stand-by for a takeover. Without the
     * latter a poller that is stuck is a delay; without the former a job might never be done. */
    if (service->free < service->queued + 2)
        memsc_worker_start(process, service);
    if (service->free < service->queued + 1) {
        memsc_unlock(&service->lock);
        return false;
    }
    job->slot = slot;
    job->entry = entry;
    job->number = number;
    for (int i = 0; i < 6; i++)
        job->args[i] = args[i];
    job->status = status;
    job->next = NULL;
    job->queued = true;
    add_relaxed(&service->pooled, 1);
    if (service->last)
        service->last->next = job;
    else
        service->first = job;
    service->last = job;
    service->queued++;
    add_relaxed(&service->work, 1);
    memsc_unlock(&service->lock);
    memsc_futex_wake(&service->work, 1);
    /* It runs on this CPU: let it try now, most such calls return at once. */
    MEMSC_SYS(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
    return true;
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

/* After a call: `in_call` off, and no signal under way. */
static void leave_call(struct memsc_worker *worker)
{
    store_relaxed(&worker->in_call, 0);
    memsc_light_barrier(worker->process->symmetric);
    if (load_relaxed(&worker->sent) != load_relaxed(&worker->received))
        memsc_await_recalls(worker);
}

static void run_job(struct memsc_worker *worker, const struct memsc_job *job)
{
    uint32_t status = job->status;
    uint64_t picked = status & MEMSC_STAMP ? memsc_cycles() : 0;
    memsc_probe_picked(worker->process, job->slot, job->entry, job->number, status);
    /* Release: who finds it there finds this thread's number. */
    store_release(&worker->in_call, memsc_name_of_entry(worker->process, job->entry));
    /* Even if it has been called back by now: what it does at once is the kernel's to decide. */
    long result = memsc_raw(job->number, job->args);
    leave_call(worker);
    memsc_kinds_update(job->number, job->args, result);
    memsc_publish_pooled(worker, job->slot, job->entry, job->number, result, picked, status);
    subtract_relaxed(&worker->service->pooled, 1);
}

bool memsc_still_poller(struct memsc_worker *worker)
{
    struct memsc_service *service = worker->service;
    memsc_lock(&service->lock);
    bool ours = service->poller == worker;
    if (ours)
        worker->epoch = load_relaxed(&service->epoch);
    memsc_unlock(&service->lock);
    return ours;
}

/* Makes `worker` the poller if the present one is inside a call; called with the lock held. */
static bool take_over(struct memsc_worker *worker)
{
    struct memsc_process *process = worker->process;
    struct memsc_service *service = worker->service;
    service->takeover = false;
    uint32_t epoch = load_relaxed(&service->epoch) + 1;
    store_relaxed(&service->epoch, epoch);
    memsc_heavy_barrier(process->symmetric);
    uint32_t name = load_acquire(&service->poller->in_call);
    if (!name)
        return false;
    /* The stuck poller cannot publish before it gets the lock, so the entry is still its own; it
     * must not look submitted to the new poller. */
    struct memsc_entry *entry = memsc_entry_named(process, name);
    store_relaxed(&entry->status, MEMSC_TAKEN);
    /* It goes on with its call on this CPU, and the new poller must let it. */
    add_relaxed(&service->pooled, 1);
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
    store_relaxed(&worker->tid, (uint32_t)MEMSC_SYS(SYS_gettid, 0, 0, 0, 0, 0, 0));
    /* Only here: elsewhere it is the program's. */
    MEMSC_SYS(SYS_rt_sigprocmask, UNBLOCK, &recall_signal, 0, sizeof recall_signal, 0, 0);
    memsc_await_start(process);
    memsc_lock(&service->lock);
    while (atomic_load(&process->state) == MEMSC_RUNNING) {
        bool first = !service->poller;
        if (first) {
            service->poller = worker;
            worker->epoch = load_relaxed(&service->epoch);
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
                subtract_relaxed(&service->pooled, 1);
        } else if (service->first) {
            const struct memsc_job job = dequeue(service);
            service->free--;
            memsc_unlock(&service->lock);
            run_job(worker, &job);
            memsc_lock(&service->lock);
            service->free++;
        } else {
            uint32_t seen = load_relaxed(&service->work);
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
 * is known to be in a call, it does not have to look again. */
static bool takeover_helps(const struct memsc_process *process, const struct memsc_service *service)
{
    const struct memsc_self *self = memsc_self;
    uint32_t name = service->poller ? load_relaxed(&service->poller->in_call) : 0;
    if (!name)
        return false;
    bool own = (name - 1) / MEMSC_PAGE_ENTRIES == (uint32_t)(self->slot - process->slots);
    return !own || self->in_flight || load_relaxed(&self->slot->sleeping) != MEMSC_AWAKE;
}

void memsc_service_ask_takeover(struct memsc_service *service)
{
    struct memsc_process *process = memsc_process();
    if (memsc_token_claim(process, service))
        return;
    memsc_lock(&service->lock);
    bool helps = takeover_helps(process, service);
    if (helps) {
        if (!service->free) /* none could be made when it was due */
            memsc_worker_start(process, service);
        service->takeover = true;
        add_relaxed(&service->work, 1);
    }
    memsc_unlock(&service->lock);
    if (helps)
        memsc_futex_wake(&service->work, INT32_MAX);
}
