/* SPDX-License-Identifier: MIT
 *
 * The service, by its parts: the threads of this process on the service CPUs that execute what the
 * application posts.
 *
 * Per service CPU there is one *poller* and a pool, and they are the same threads in turn. The
 * poller (poller.c) executes what it finds (inline), or drains what the scanner (scanner.c) found. A
 * call that may wait for ever goes to a thread of the pool (pool.c). Should a call that was not
 * expected to wait keep the poller nevertheless, a caller who has waited long enough asks for a
 * takeover: an idle pool thread becomes the poller, and the stuck one, when its call returns,
 * finishes that call and joins the pool. So no call ever stalls another, whatever the table believed.
 */
#ifndef MEMSC_SERVICE_H
#define MEMSC_SERVICE_H

#include "handshake.h"
#include "process.h"

/* From the return of one system call to the pick of the next there must be no function return: the
 * kernel has overwritten the processor's return predictions, and each wrong one costs as much as
 * the publishing of a result (docs/decisions/0005-runtime.md has the figures). */
#define HOT __attribute__((always_inline)) inline

enum {
    MEMSC_POLLS_PER_CLOCK = 64, /* fruitless scans between looks at the clock */
    MEMSC_POLLS_PER_PAGE = 64,  /* … and between looks at whole pages */
};

struct memsc_worker {
    struct memsc_process *process;
    struct memsc_service *service;
    uint32_t epoch;       /* as poller: the epoch it believes to be its own */
    bool serving;         /* has the poller's part */
    uint32_t stay;        /* 1/256 cycle behind a result, after which it looks for the next call */
    uint32_t stayed;      /* as polls, since the call before */
    _Atomic uint32_t tid; /* looked for by others' handlers, too */
    _Atomic uint32_t taken;          /* this place in the table is somebody's */
    _Atomic uint32_t in_call;        /* name of the entry whose call may sleep, 0: none */
    _Atomic uint32_t sent, received; /* signals that call its call back */
};

/* An entry's name within its process: 1 + its number in the segment. */
static inline uint32_t memsc_name_of_entry(const struct memsc_process *process,
                                           const struct memsc_entry *entry)
{
    return (uint32_t)(entry - process->pages->page[0].entries) + 1;
}

static inline struct memsc_entry *memsc_entry_named(const struct memsc_process *process,
                                                    uint32_t name)
{
    return &process->pages->page[(name - 1) / MEMSC_PAGE_ENTRIES]
                .entries[(name - 1) % MEMSC_PAGE_ENTRIES];
}

static inline _Atomic uint32_t *memsc_recall_word(struct memsc_process *process, uint32_t name)
{
    return &process->recalled[(name - 1) / MEMSC_PAGE_ENTRIES][(name - 1) % MEMSC_PAGE_ENTRIES];
}

/* recall_signal.c: waits until every signal that was meant for the call just ended has come, so that none meets
 * the next one. */
void memsc_await_recalls(struct memsc_worker *worker);

/* poller.c: polls and executes until another thread takes the part over or the process stops. */
void memsc_poll(struct memsc_worker *worker);

/* poller.c: publishes the result of a pooled call. */
void memsc_publish_pooled(struct memsc_worker *worker, struct memsc_slot *slot,
                          struct memsc_entry *entry, uint32_t number, long result, uint64_t picked,
                          uint32_t status);

/* pool.c: one more free thread; called with the service's lock held. 0 or -errno. */
int memsc_worker_start(struct memsc_process *process, struct memsc_service *service);

/* pool.c: passes a submitted entry on to a pool thread, with what was read of it. False: there is no
 * thread for it, and none can be made. */
bool memsc_hand_over(struct memsc_worker *worker, struct memsc_slot *slot,
                     struct memsc_entry *entry, uint32_t number, const uint64_t args[6],
                     uint32_t status);

/* pool.c: after a call during which another thread may have taken the poller's part: whether it is
 * still this one's. */
bool memsc_still_poller(struct memsc_worker *worker);

/* workers.c: a place in the table; NULL: all are taken. */
struct memsc_worker *memsc_worker_take(void);

/* workers.c: the service threads one by one; NULL behind the last. */
struct memsc_worker *memsc_worker_at(uint32_t at);

/* workers.c: forgets all workers, which have ended. */
void memsc_workers_reset(void);

/* scanner.c: the scanner's thread. */
void memsc_scanner_main(void *process);

/* A service thread's first step. Where another cannot be made the start has failed, and none may have shown
 * itself before that. */
static inline void memsc_await_start(const struct memsc_process *process)
{
    while (atomic_load(&process->state) == MEMSC_STARTING)
        MEMSC_SYS(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
}

/* An entry's number and arguments can change while they are read: they are read once, checked as
 * read, and used as checked. Volatile, or the compiler might read them again. */
HOT static uint32_t memsc_number_once(const struct memsc_entry *entry)
{
    return *(const volatile uint32_t *)&entry->number;
}

HOT static void memsc_args_once(const struct memsc_entry *entry, uint64_t args[6])
{
    for (int i = 0; i < 6; i++)
        args[i] = *(const volatile uint64_t *)&entry->args[i];
}

/* Words of a service's `active` that may have a bit set. */
static inline uint32_t memsc_words_used(const struct memsc_process *process)
{
    uint32_t slots = load_relaxed(&process->region->slots_used);
    return slots > MEMSC_MAX_SLOTS ? MEMSC_ACTIVE_WORDS : (slots + 63) / 64;
}

/* Status of the entry at the head; if it is not submitted and `thorough`, of the next one of the
 * page that is, and the head moves there. */
HOT static uint32_t memsc_look(const struct memsc_pages *pages, uint32_t slot, bool thorough,
                               uint32_t *head)
{
    uint32_t first = load_relaxed(&pages->heads[slot].entry);
    for (uint32_t i = 0; i < (thorough ? MEMSC_PAGE_ENTRIES : 1); i++) {
        *head = (first + i) % MEMSC_PAGE_ENTRIES;
        /* Acquire: number and arguments after the state that says they are there. */
        uint32_t status = load_acquire(&pages->page[slot].entries[*head].status);
        if ((status & MEMSC_STATE_MASK) == MEMSC_SUBMITTED)
            return status;
    }
    return MEMSC_FREE;
}

/* The end of parking, once nothing was found after the announcement: sleeps until a poster, or the
 * scanner, takes `parked` back, or the process stops. */
static inline void memsc_sleep_parked(const struct memsc_process *process,
                                      struct memsc_service_line *line, _Atomic uint32_t *parked)
{
    line->parks++;
    while (load_relaxed(parked) == 1 && atomic_load(&process->state) == MEMSC_RUNNING)
        memsc_futex_wait(parked, 1, 0);
}

/* Wakes a worker that has calls. Its word may be nonsense, if it lies in the registry: so `thorough`ly,
 * which is seldom, whatever it says. */
static inline void memsc_wake_worker(_Atomic uint32_t *parked, bool thorough)
{
    if (!thorough && !load_relaxed(parked))
        return;
    if (atomic_exchange_explicit(parked, 0, memory_order_acq_rel) || thorough)
        memsc_futex_wake(parked, 1);
}

#endif
