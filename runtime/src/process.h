/* SPDX-License-Identifier: MIT
 *
 * What one process knows privately: where its region lies, who its threads and service threads are.
 *
 * All of it lives in one mapping that the kernel wipes in a forked child, so a child finds itself
 * unregistered without anybody having to notice the fork.
 *
 * Nothing in the runtime below the public API uses the C library: the layer enters it from inside
 * the C library, with any of its locks held.
 */
#ifndef MEMSC_PROCESS_H
#define MEMSC_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "registry.h"
#include "layout.h"
#include "handoff.h"
#include "lock.h"
#include "look.h"
#include "memsc.h"

enum {
    MEMSC_KINDS = 4096,       /* descriptors whose kind is remembered */
    MEMSC_MAX_WORKERS = 1024, /* service threads of one process */
    MEMSC_NO_CPU = 1 << 30,   /* unlike any number of the kernel's, and what it has for none */
};

/* Results of the runtime's own. The kernel keeps such numbers for itself, too: no call answers them. */
enum memsc_answer_of_ours {
    MEMSC_ABORTED = -512,  /* the call was given up before it had any effect; its ERESTARTSYS */
    MEMSC_DECLINED = -513, /* the service has not made it: the caller makes it itself */
};

enum memsc_process_state {
    MEMSC_STOPPED = 0, /* also what a forked child finds */
    MEMSC_STARTING,
    MEMSC_RUNNING,
    MEMSC_STOPPING,
};

/* One application thread, seen from itself. Outlives its owner together with the slot, because the
 * service's head and `next` must stay in step. */
struct memsc_self {
    struct memsc_slot *slot;     /* NULL: the thread is not registered */
    struct memsc_entry *entries; /* its syspage */
    struct memsc_call *ring;     /* NULL: the ring could not be mapped */
    _Atomic uint32_t *doorbell;  /* parked word of the scanner of this page */
    struct memsc_service_line *line;
    uint64_t in_flight;     /* bit per entry: posted and not yet taken by retval */
    uint64_t ready;         /* bit per entry: seen done, and recorded */
    uint64_t written, room; /* records written; how many may be before it is looked at again */
    uint64_t backed;        /* records of the ring that have memory behind them */
    bool unbacked;          /* there was none for more when it was last tried */
    uint64_t ring_mask;
    const volatile uint32_t *cpu; /* where the C library keeps the number of this thread's CPU */
    uint32_t service_cpus
        [2]; /* where its calls are polled for, and made; MEMSC_NO_CPU: it may be there, too */
    uint32_t next; /* entry the service looks at next, as announced with the last post */
    uint32_t tid;
    uint32_t index;
    uint64_t unprobed;      /* calls posted while somebody looked at the probes */
    uint32_t untimed;       /* calls until one is stamped for its time alone */
    struct memsc_seen seen; /* the call before */
    uint64_t posted;        /* cycles at which it was posted */
    uint64_t draws;         /* the last number by which it was drawn whether a call is recorded */
    struct {
        uint64_t called, posted;
        uint32_t flags;
        bool stamped, skipped, probed; /* skipped: others are recorded, it is not */
    } calls[MEMSC_PAGE_ENTRIES];
    struct memsc_look looks[MEMSC_LOOKS];
};

/* A call that waits for a pool thread: a copy, for it was looked at already. */
struct memsc_job {
    struct memsc_slot *slot;
    struct memsc_entry *entry;
    struct memsc_job *next;
    uint64_t args[6];
    uint32_t number, status;
    bool queued;
};

/* One service CPU: a poller and a pool, which are the same threads in turn. */
struct memsc_service {
    alignas(MEMSC_LINE) _Atomic uint32_t epoch; /* counts changes of the poller */
    _Atomic uint64_t *active;                   /* slots to look at: its words in the segment */
    struct memsc_service_line *line;
    _Atomic uint32_t *_Atomic parked;           /* futex: 1 while the poller sleeps */
    alignas(MEMSC_LINE) struct memsc_lock lock; /* guards all below */
    struct memsc_worker *poller;
    struct memsc_job *first, *last;
    bool takeover;           /* somebody waits for a stuck poller */
    uint32_t queued;         /* jobs nobody has taken */
    uint32_t free;           /* threads that neither poll nor run a job */
    _Atomic uint32_t pooled; /* jobs queued or running */
    _Atomic uint32_t work;   /* futex: changes when there is something to do */
    alignas(MEMSC_LINE) struct memsc_membership membership; /* of the poller on this CPU */
};

struct memsc_process {
    _Atomic uint32_t state; /* enum memsc_process_state */
    bool symmetric;         /* full barriers on both sides of each handshake */
    uint32_t transport, service_mode;
    uint64_t probe_every;
    struct memsc_look_pace pace;
    struct memsc_handoff_rules handoff;
    uint64_t spin_cycles, pooled_spin_cycles, idle_cycles, stuck_cycles, quantum_cycles;
    struct memsc_region *region;
    struct memsc_slot *slots;
    struct memsc_pages *pages;
    int pages_id;           /* of the segment; -1: no other process can map it */
    struct memsc_lock lock; /* registration */
    uint64_t size;
    int memory; /* descriptor of the region's, until it is offered; -1: none */
    bool keep;
    bool handed; /* the region is a session's, too */
    bool backed; /* by a file, if only one in memory */
    char path[320];
    uint32_t services;
    _Atomic uint32_t crowded; /* 1 + a service's CPU that a thread has called on; 0: none lately */
    struct memsc_service service[MEMSC_MAX_SERVICES];
    _Atomic uint32_t kinds_generation; /* of what `kinds` knows: all else in it is forgotten */
    _Atomic uint32_t kinds[MEMSC_KINDS];
    struct memsc_self selves[MEMSC_MAX_SLOTS];
    struct memsc_job jobs[MEMSC_MAX_SLOTS][MEMSC_PAGE_ENTRIES];
    /* 1: the caller wants the call back. */
    _Atomic uint32_t recalled[MEMSC_MAX_SLOTS][MEMSC_PAGE_ENTRIES];
};

static inline struct memsc_entry *memsc_entries(const struct memsc_process *process,
                                                const struct memsc_slot *slot)
{
    return process->pages->page[slot - process->slots].entries;
}

/* NULL until the first start, which any thread may make; then set for good, and wiped, not NULL, in a forked child. */
extern struct memsc_process *memsc_the_process;

/* For who knows that there is one: whoever has a page, or has seen it run. Relaxed: they have acquired it then. Whole,
 * for a thread that comes second to start it may just be trying in vain to set it, which the thread sanitizer of GCC 14
 * takes for a write. */
static inline struct memsc_process *memsc_process(void)
{
    return __atomic_load_n(&memsc_the_process, __ATOMIC_RELAXED);
}

/* Nobody looks at this program's calls: there is no session, no file, no record. Set before the first start. */
extern bool memsc_unseen;

/* The calling thread's, NULL or with slot NULL when it is not registered. */
extern _Thread_local struct memsc_self *memsc_self __attribute__((tls_model("initial-exec")));

/* Where a slot counts a system call. */
static inline uint32_t memsc_count_index(long number)
{
    return number >= 0 && number < MEMSC_NUMBERS ? (uint32_t)number : MEMSC_NUMBERS - 1;
}

/* Transports whose two sides poll: on one CPU each would wait for the other's time slice to end. */
static inline bool memsc_needs_own_cpu(uint32_t transport)
{
    return transport == MEMSC_MEMSC || transport == MEMSC_ADAPTIVE;
}

/* NULL unless it runs. Acquire: pairs with the release of a thread that makes it, or has it running, just now. */
static inline struct memsc_process *memsc_running_process(void)
{
    struct memsc_process *process = __atomic_load_n(&memsc_the_process, __ATOMIC_ACQUIRE);
    return process && load_acquire(&process->state) == MEMSC_RUNNING ? process : NULL;
}

static inline bool memsc_running(void)
{
    return memsc_running_process();
}

/* region.c: each 0 or -errno. */
int memsc_region_create(struct memsc_process *process, const struct memsc_options *options);
/* To the session, when nothing can fail any more: it could not be taken back. */
void memsc_region_offer(struct memsc_process *process);
void memsc_region_destroy(struct memsc_process *process);
void memsc_region_finish(
    struct memsc_process *process); /* the process ends: mark it, drop its file */
/* Room for a slot, and its ring, if there is room for one. */
int memsc_region_open_slot(struct memsc_process *process, uint32_t slot);
/* Memory behind the next records of a ring; false: there is none left. */
bool memsc_region_back_ring(struct memsc_self *self);
/* From now on full rings drop, if nobody is there any more who would empty them. */
void memsc_region_look_for_reader(struct memsc_process *process);

/* pages.c: the segment; 0 or -errno. */
int memsc_pages_create(struct memsc_process *process);
void memsc_pages_destroy(struct memsc_process *process);
/* Whether the calling process is in another PID namespace than the one that made them, in whose memory it lives: its
 * number may be the same. */
bool memsc_pages_are_foreign(const struct memsc_process *process);

/* service.c */
int memsc_service_start(struct memsc_process *process, const struct memsc_options *options);
void memsc_service_stop(struct memsc_process *process);
void memsc_service_finish(struct memsc_process *process); /* the process ends: leave the registry */
void memsc_service_ask_takeover(struct memsc_service *service);

/* start.c: as the public functions of the same meaning, without the C library. */
int memsc_process_start(const struct memsc_options *options);
int memsc_process_stop(void);
void memsc_process_finish(struct memsc_process *process); /* it ends with its threads running */
int memsc_thread_register(void);
int memsc_thread_unregister(void);
/* Where the C library keeps the number of the calling thread's CPU. */
const volatile uint32_t *memsc_own_cpu(void);

#endif
