/* SPDX-License-Identifier: MIT
 *
 * The service: threads of this process on the service CPUs that execute what the application posts.
 *
 * Per service CPU there is one *poller* and a pool, and they are the same threads in turn. The
 * poller executes what it finds (inline), or drains what the scanner found (scanner). A call that
 * may wait for ever goes to a pool thread. Should a call that was not expected to wait keep the
 * poller nevertheless, a caller who has waited long enough asks for a takeover: an idle pool thread
 * becomes the poller, and the stuck one, when its call returns, finishes that call and joins the
 * pool. So no call ever stalls another, whatever the table believed.
 *
 * While the poller is inside a call, its `in_call` names the entry. A takeover raises `reign` and then
 * reads in_call; the poller clears in_call and then reads reign. Either the one sees that the call
 * has ended, or the other sees that it was deposed: the handshake of handshake.h, with the takeover
 * as the rare side.
 */
#include <errno.h>
#include <stddef.h>

#include "handshake.h"
#include "kinds.h"
#include "process.h"
#include "table.h"
#include "thread.h"

enum {
    DRAIN = MEMSC_PAGE_ENTRIES, /* calls of one page in a row before the others get their turn */
    POLLS_PER_CLOCK = 64,       /* fruitless scans between looks at the clock */
    POLLS_PER_PAGE = 64,        /* … and between looks at whole pages */
};

/* From the return of one system call to the pick of the next there must be no function return: the
 * kernel has overwritten the processor's return predictions, and each wrong one costs as much as
 * the publishing of a result (docs/decisions/0005-runtime.md has the figures). */
#define HOT __attribute__((always_inline)) inline

struct memsc_worker {
    struct memsc_process *process;
    struct memsc_service *service;
    uint32_t reign;           /* as poller: the reign it believes to be its own */
    bool serving;             /* has the poller's part */
    _Atomic uint32_t in_call; /* 1 + number of the entry whose call may sleep, 0: none */
};

/* Workers are few and live as long as the service; taken from a table, never given back. */
static struct memsc_worker workers[MEMSC_MAX_WORKERS];
static _Atomic uint32_t workers_used;

static void worker_main(void *argument);

/* One more free thread; called with the lock held, or before the service runs. */
static int worker_start(struct memsc_process *process, struct memsc_service *service)
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
    int error = memsc_thread_start(worker_main, worker, service->line->cpu, "memsc-service");
    if (!error)
        service->free++;
    return error;
}

/* ---- one call ---- */

HOT static void publish(const struct memsc_process *process, struct memsc_slot *slot,
                        struct memsc_entry *entry, long result, uint64_t picked, uint32_t status,
                        uint32_t flags, uint32_t cpu)
{
    entry->result = result;
    if (status & MEMSC_STAMP) {
        entry->reply.picked = picked;
        entry->reply.service_cpu = cpu;
        entry->reply.flags = flags;
        entry->reply.executed = memsc_cycles();
    }
    /* Release: result and stamps before the state that says they are there. */
    atomic_store_explicit(&entry->status, MEMSC_DONE, memory_order_release);

    memsc_light_barrier(process->symmetric);
    uint32_t sleeping = atomic_load_explicit(&slot->sleeping, memory_order_relaxed);
    if (sleeping != MEMSC_AWAKE) {
        uint32_t index = (uint32_t)(entry - slot->page.entries);
        if (sleeping == MEMSC_SLEEPING_ANY || sleeping == index + 1) {
            atomic_store_explicit(&slot->sleeping, MEMSC_AWAKE, memory_order_relaxed);
            memsc_futex_wake(&slot->sleeping, 1);
        }
    }
}

static void hand_over(struct memsc_worker *worker, struct memsc_slot *slot,
                      struct memsc_entry *entry, uint32_t status)
{
    struct memsc_process *process = worker->process;
    struct memsc_service *service = worker->service;
    struct memsc_job *job = &process->jobs[slot - process->slots][entry - slot->page.entries];
    job->slot = slot;
    job->entry = entry;
    job->status = status;
    job->next = NULL;
    atomic_store_explicit(&entry->status, MEMSC_TAKEN, memory_order_relaxed);
    atomic_fetch_add_explicit(&service->pooled, 1, memory_order_relaxed);

    memsc_lock(&service->lock);
    if (service->last)
        service->last->next = job;
    else
        service->first = job;
    service->last = job;
    /* A thread for each job, for any may wait for another, and one as stand-by for a takeover. */
    if (service->free < ++service->queued + 1)
        worker_start(process, service);
    atomic_fetch_add_explicit(&service->work, 1, memory_order_relaxed);
    memsc_unlock(&service->lock);
    memsc_futex_wake(&service->work, 1);
    /* It runs on this CPU: let it try now, most such calls return at once. */
    MEMSC_SYS(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
}

static void run_job(struct memsc_worker *worker, const struct memsc_job *job)
{
    struct memsc_entry *entry = job->entry;
    uint32_t status = job->status;
    uint64_t args[6];
    for (int i = 0; i < 6; i++)
        args[i] = entry->args[i];
    long number = entry->number;
    uint64_t picked = status & MEMSC_STAMP ? memsc_cycles() : 0;
    long result = memsc_raw(number, args);
    memsc_kinds_update(number, args, result);
    publish(worker->process, job->slot, entry, result, picked, status, MEMSC_CALL_POOLED,
            worker->service->line->cpu);
    atomic_fetch_sub_explicit(&worker->service->pooled, 1, memory_order_relaxed);
}

/* After a call that another thread may have taken the poller's part during: true if it is still
 * ours. */
static bool still_poller(struct memsc_worker *worker)
{
    struct memsc_service *service = worker->service;
    memsc_lock(&service->lock);
    bool ours = service->poller == worker;
    if (ours)
        worker->reign = atomic_load_explicit(&service->reign, memory_order_relaxed);
    memsc_unlock(&service->lock);
    return ours;
}

/* Executes one submitted entry. */
HOT static void serve(struct memsc_worker *worker, struct memsc_slot *slot,
                      struct memsc_entry *entry, uint32_t status)
{
    const struct memsc_process *process = worker->process;
    struct memsc_service *service = worker->service;
    struct memsc_service_line *line = service->line;
    /* Ordered behind the load that found the entry: branches here are predicted well enough for an
     * unordered stamp to come before the call was even posted. */
    uint64_t picked = status & MEMSC_STAMP ? memsc_cycles_ordered() : 0;
    uint32_t flags = 0;
    long number = entry->number;
    const struct memsc_row *row = memsc_row_of(number);
    if (row->class == MEMSC_FAST && !row->conditional) {
        long result = memsc_raw(number, entry->args);
        publish(process, slot, entry, result, picked, status, flags, line->cpu);
        return;
    }
    /* A copy: what was looked at must be what is executed. */
    uint64_t args[6];
    for (int i = 0; i < 6; i++)
        args[i] = entry->args[i];
    enum memsc_class class =
        row->conditional ? memsc_class_of(number, args, memsc_fd_may_block) : row->class;
    if (class == MEMSC_POOL) {
        hand_over(worker, slot, entry, status);
        return;
    }
    if (class == MEMSC_LOCAL) { /* a caller that does not keep to the interface */
        publish(process, slot, entry, -ENOSYS, picked, status, flags, line->cpu);
        return;
    }
    uint32_t name =
        (uint32_t)((slot - process->slots) * MEMSC_PAGE_ENTRIES + (entry - slot->page.entries) + 1);
    memsc_kinds_before(number, args);
    /* Release: a successor that sees it sees everything this poller did before. */
    atomic_store_explicit(&worker->in_call, name, memory_order_release);
    long result = memsc_raw(number, args);
    atomic_store_explicit(&worker->in_call, 0, memory_order_relaxed);
    memsc_light_barrier(process->symmetric);
    if (atomic_load_explicit(&service->reign, memory_order_relaxed) != worker->reign &&
        !still_poller(worker)) {
        worker->serving = false;
        flags |= MEMSC_CALL_TAKEOVER;
    }
    memsc_kinds_update(number, args, result);
    publish(process, slot, entry, result, picked, status, flags, line->cpu);
}

/* ---- the poller ---- */

/* Words of a service's `active` that may have a bit set. */
static uint32_t words_used(const struct memsc_process *process)
{
    uint32_t slots = atomic_load_explicit(&process->region->slots_used, memory_order_relaxed);
    return slots > MEMSC_MAX_SLOTS ? MEMSC_ACTIVE_WORDS : (slots + 63) / 64;
}

/* Status of the entry at the head; if it is not submitted and `thorough`, of the next one of the
 * page that is, and the head moves there. */
HOT static uint32_t look(struct memsc_slot *slot, bool thorough, uint32_t *head)
{
    uint32_t first = atomic_load_explicit(&slot->head, memory_order_relaxed);
    for (uint32_t i = 0; i < (thorough ? MEMSC_PAGE_ENTRIES : 1); i++) {
        *head = (first + i) % MEMSC_PAGE_ENTRIES;
        /* Acquire: number and arguments after the state that says they are there. */
        uint32_t status =
            atomic_load_explicit(&slot->page.entries[*head].status, memory_order_acquire);
        if ((status & MEMSC_STATE_MASK) == MEMSC_SUBMITTED)
            return status;
    }
    return MEMSC_FREE;
}

/* Drains one page; true if it found something. */
HOT static bool drain(struct memsc_worker *worker, struct memsc_slot *slot, bool thorough)
{
    struct memsc_service_line *line = worker->service->line;
    bool found = false;
    for (int i = 0; i < DRAIN && worker->serving; i++) {
        uint32_t head;
        uint32_t status = look(slot, thorough, &head);
        if (status == MEMSC_FREE)
            break;
        uint32_t next = status >> MEMSC_NEXT_SHIFT & (MEMSC_PAGE_ENTRIES - 1);
        if (next != head)
            __builtin_prefetch(&slot->page.entries[next]);
        /* Before the call: whoever takes over during it starts behind it. */
        if (next != atomic_load_explicit(&slot->head, memory_order_relaxed))
            atomic_store_explicit(&slot->head, next, memory_order_relaxed);
        serve(worker, slot, &slot->page.entries[head], status);
        found = true;
        if (worker->serving)
            atomic_store_explicit(&line->calls,
                                  atomic_load_explicit(&line->calls, memory_order_relaxed) + 1,
                                  memory_order_relaxed);
    }
    return found;
}

HOT static bool scan(struct memsc_worker *worker, bool thorough)
{
    struct memsc_process *process = worker->process;
    struct memsc_service *service = worker->service;
    uint32_t words = words_used(process);
    bool found = false;
    for (uint32_t word = 0; word < words; word++) {
        uint64_t bits = atomic_load_explicit(&service->active[word], memory_order_acquire);
        for (; bits && worker->serving; bits &= bits - 1)
            found |= drain(worker, &process->slots[word * 64 + (uint32_t)__builtin_ctzll(bits)],
                           thorough);
    }
    return found;
}

/* Sleeps until a call is posted. Announces, lets the posters see it, looks once more. */
static void park(struct memsc_worker *worker)
{
    struct memsc_process *process = worker->process;
    struct memsc_service_line *line = worker->service->line;
    atomic_store_explicit(&line->parked, 1, memory_order_relaxed);
    /* A worker is woken by the scanner, which looks again and again: nothing can be missed. */
    if (process->service_mode == MEMSC_INLINE)
        memsc_heavy_barrier(process->symmetric);
    if (scan(worker, true) || atomic_load(&process->state) != MEMSC_RUNNING) {
        /* Deposed during the scan: the word is the successor's, who may sleep on it already. */
        if (worker->serving)
            atomic_store_explicit(&line->parked, 0, memory_order_relaxed);
        return;
    }
    line->parks++;
    while (atomic_load_explicit(&line->parked, memory_order_relaxed) &&
           atomic_load(&process->state) == MEMSC_RUNNING)
        memsc_futex_wait(&line->parked, 1, 0);
    atomic_store_explicit(&line->parked, 0, memory_order_relaxed);
}

static void poll(struct memsc_worker *worker)
{
    struct memsc_process *process = worker->process;
    struct memsc_service *service = worker->service;
    /* Of a scanner's worker, and of `ipi`, nobody wants to poll memory. */
    bool sleeps_at_once = process->transport == MEMSC_IPI || process->service_mode == MEMSC_SCANNER;
    uint64_t idle_since = 0;
    for (uint32_t polls = 0; worker->serving; polls++) {
        if (scan(worker, polls % POLLS_PER_PAGE == POLLS_PER_PAGE - 1)) {
            idle_since = 0;
            polls = 0;
            continue;
        }
        if (sleeps_at_once) {
            if (atomic_load(&process->state) != MEMSC_RUNNING)
                return;
            park(worker);
            continue;
        }
        memsc_pause();
        if (polls % POLLS_PER_CLOCK)
            continue;
        if (atomic_load_explicit(&process->state, memory_order_relaxed) != MEMSC_RUNNING)
            return;
        /* Pool threads share this CPU. */
        if (atomic_load_explicit(&service->pooled, memory_order_relaxed))
            MEMSC_SYS(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
        uint64_t now = memsc_cycles();
        if (!idle_since)
            idle_since = now;
        else if (now - idle_since > process->idle_cycles) {
            park(worker);
            idle_since = 0;
        }
    }
}

/* ---- the pool ---- */

/* Makes `worker` the poller if the present one is inside a call; called with the lock held. */
static bool depose(struct memsc_worker *worker)
{
    struct memsc_process *process = worker->process;
    struct memsc_service *service = worker->service;
    service->takeover = false;
    uint32_t reign = atomic_load_explicit(&service->reign, memory_order_relaxed) + 1;
    atomic_store_explicit(&service->reign, reign, memory_order_relaxed);
    memsc_heavy_barrier(process->symmetric);
    uint32_t name = atomic_load_explicit(&service->poller->in_call, memory_order_acquire);
    if (!name)
        return false;
    /* The stuck poller cannot publish before it gets the lock, so the entry is still its own; it
     * must not look submitted to the new poller. */
    struct memsc_entry *entry = &process->slots[(name - 1) / MEMSC_PAGE_ENTRIES]
                                     .page.entries[(name - 1) % MEMSC_PAGE_ENTRIES];
    atomic_store_explicit(&entry->status, MEMSC_TAKEN, memory_order_relaxed);
    service->poller = worker;
    worker->reign = reign;
    worker->serving = true;
    return true;
}

static void worker_main(void *argument)
{
    struct memsc_worker *worker = argument;
    struct memsc_process *process = worker->process;
    struct memsc_service *service = worker->service;
    memsc_lock(&service->lock);
    while (atomic_load(&process->state) == MEMSC_RUNNING) {
        struct memsc_job *job = service->first;
        bool first = !service->poller;
        if (first) {
            service->poller = worker;
            worker->reign = atomic_load_explicit(&service->reign, memory_order_relaxed);
            worker->serving = true;
        }
        if (first || (service->takeover && depose(worker))) {
            service->free--;
            if (service->free < service->queued + 1)
                worker_start(process, service);
            memsc_unlock(&service->lock);
            poll(worker);
            memsc_lock(&service->lock);
            service->free++;
        } else if (job) {
            service->first = job->next;
            if (!service->first)
                service->last = NULL;
            service->queued--;
            service->free--;
            memsc_unlock(&service->lock);
            run_job(worker, job);
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

void memsc_service_ask_takeover(struct memsc_service *service)
{
    memsc_lock(&service->lock);
    service->takeover = true;
    atomic_fetch_add_explicit(&service->work, 1, memory_order_relaxed);
    memsc_unlock(&service->lock);
    memsc_futex_wake(&service->work, INT32_MAX);
}

/* ---- the scanner ---- */

/* A submitted entry at a head of the service's pages? */
static bool waiting(const struct memsc_process *process, const struct memsc_service *service,
                    bool thorough)
{
    uint32_t words = words_used(process);
    for (uint32_t word = 0; word < words; word++) {
        uint64_t bits = atomic_load_explicit(&service->active[word], memory_order_acquire);
        for (; bits; bits &= bits - 1) {
            uint32_t head;
            if (look(&process->slots[word * 64 + (uint32_t)__builtin_ctzll(bits)], thorough, &head))
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

static void scanner_main(void *argument)
{
    struct memsc_process *process = argument;
    struct memsc_service_line *line = &process->region->service[0];
    uint64_t idle_since = 0;
    for (uint32_t polls = 0; atomic_load(&process->state) == MEMSC_RUNNING; polls++) {
        if (wake_workers(process, polls % POLLS_PER_PAGE == POLLS_PER_PAGE - 1)) {
            idle_since = 0;
            continue;
        }
        memsc_pause();
        if (polls % POLLS_PER_CLOCK)
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
            if (!wake_workers(process, true)) {
                line->parks++;
                while (atomic_load_explicit(&line->parked, memory_order_relaxed) &&
                       atomic_load(&process->state) == MEMSC_RUNNING)
                    memsc_futex_wait(&line->parked, 1, 0);
            }
            atomic_store_explicit(&line->parked, 0, memory_order_relaxed);
            idle_since = 0;
        }
    }
    memsc_thread_exit();
}

/* ---- start and stop ---- */

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
    atomic_store_explicit(&workers_used, 0, memory_order_relaxed);
    for (uint32_t i = 0; i < count; i++) {
        struct memsc_service *service = &process->service[i];
        service->line = &process->region->service[i];
        service->index = i;
        service->line->cpu = options->service_cpus[cpus > 1 ? i : 0];
    }
    atomic_store(&process->state, MEMSC_RUNNING);
    int error = 0;
    if (scanner)
        error = memsc_thread_start(scanner_main, process, process->region->service[0].cpu,
                                   "memsc-scanner");
    for (uint32_t i = first; i < count && !error; i++) {
        memsc_lock(&process->service[i].lock);
        error = worker_start(process, &process->service[i]);
        memsc_unlock(&process->service[i].lock);
    }
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
        memsc_lock(&service->lock);
        atomic_fetch_add(&service->work, 1);
        memsc_unlock(&service->lock);
        memsc_futex_wake(&service->work, INT32_MAX);
    }
    memsc_thread_join_all();
}
