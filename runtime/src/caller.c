/* SPDX-License-Identifier: MIT
 *
 * The application thread's side of a call: post, wait, record.
 *
 * Costs are arranged around the one cache line that travels: `called` is read before it is written,
 * `posted` while it travels, and the record's own line is fetched for writing during the wait.
 */
#include <errno.h>
#include <stddef.h>
#include <sys/syscall.h>

#include "direct.h"
#include "forward.h"
#include "handshake.h"
#include "memsc.h"
#include "polls.h"
#include "process.h"
#include "record.h"
#include "table.h"
#include "usdt.h"

enum {
    POLLS_PER_CLOCK = 32, /* polls of the entry between looks at the clock */
    ASLEEP_US = 1000,     /* between a sleeping caller's looks at the service's progress */
};

/* The attribute again: GCC drops that of the declaration. */
_Thread_local struct memsc_self *memsc_self __attribute__((tls_model("initial-exec")));

static int never_blocks(uint64_t descriptor)
{
    (void)descriptor;
    return 0;
}

/* Where it runs is the caller's to decide; whether it may block the service decides. */
static bool is_local(long number, const uint64_t args[6])
{
    const struct memsc_row *row = memsc_row_of(number);
    if (!row->conditional || row->class == MEMSC_FD)
        return row->class == MEMSC_LOCAL;
    return memsc_class_of(number, args, never_blocks) == MEMSC_LOCAL;
}

static struct memsc_self *registered(void)
{
    struct memsc_self *self = memsc_self;
    return self && self->slot ? self : NULL;
}

/* ---- post ---- */

/* Wakes a parked service; returns the flag for the record. */
static uint32_t ring_door(struct memsc_self *self)
{
    memsc_light_barrier(memsc_process->symmetric);
    if (!atomic_load_explicit(self->door, memory_order_relaxed) ||
        !atomic_exchange_explicit(self->door, 0, memory_order_relaxed))
        return 0;
    memsc_futex_wake(self->door, 1);
    return MEMSC_CALL_WOKE;
}

static void post(struct memsc_self *self, uint32_t index, uint32_t next, long number,
                 const uint64_t args[6])
{
    struct memsc_slot *slot = self->slot;
    struct memsc_entry *entry = &self->entries[index];
    bool stamped =
        atomic_load_explicit(&memsc_process->region->recording, memory_order_relaxed) != 0;
    if (stamped)
        self->calls[index].called = memsc_cycles();
    bool probed = memsc_wants_probe(self);
    self->calls[index].stamped = stamped;
    self->calls[index].probed = probed;
    entry->number = (uint32_t)number;
    for (int i = 0; i < 6; i++)
        entry->args[i] = args[i];
    /* Release: the whole entry before the state that says it is there. */
    atomic_store_explicit(&entry->status,
                          MEMSC_SUBMITTED | (stamped ? MEMSC_STAMP : 0) |
                              (probed ? MEMSC_PROBED : 0) | next << MEMSC_NEXT_SHIFT,
                          memory_order_release);
    self->next = next;
    if (stamped)
        self->calls[index].posted = memsc_cycles();
    if (__builtin_expect(probed, 0))
        MEMSC_PROBE(posted, self->index, index, number, 0, self->tid);
    self->calls[index].flags = ring_door(self);
    slot->forwarded[memsc_count_index(number)]++;
}

/* The first entry of `bits`, which is not empty, from `from` on around the page. */
static uint32_t first_from(uint64_t bits, uint32_t from)
{
    uint64_t turned = from ? bits >> from | bits << (64 - from) : bits;
    return (from + (uint32_t)__builtin_ctzll(turned)) % MEMSC_PAGE_ENTRIES;
}

/* The entry to post at: the announced one, or the first free one behind it. -1: all in flight. */
static int free_entry(const struct memsc_self *self, uint32_t from)
{
    uint64_t free = ~self->in_flight;
    return free ? (int)first_from(free, from) : -1;
}

/* ---- wait ---- */

static bool done(const struct memsc_self *self, uint32_t index)
{
    /* Acquire: result and stamps after the state that says they are there. */
    return (atomic_load_explicit(&self->entries[index].status, memory_order_acquire) &
            MEMSC_STATE_MASK) == MEMSC_DONE;
}

/* Index of an entry of `wanted` that is done, or -1. */
static int any_done(const struct memsc_self *self, uint64_t wanted)
{
    for (; wanted; wanted &= wanted - 1) {
        uint32_t index = (uint32_t)__builtin_ctzll(wanted);
        if (done(self, index))
            return (int)index;
    }
    return -1;
}

static bool all_taken(const struct memsc_self *self, uint64_t wanted)
{
    for (; wanted; wanted &= wanted - 1) {
        uint32_t status = atomic_load_explicit(&self->entries[__builtin_ctzll(wanted)].status,
                                               memory_order_relaxed);
        if ((status & MEMSC_STATE_MASK) == MEMSC_SUBMITTED)
            return false;
    }
    return true;
}

/* Asks for a takeover if the service has not moved on since *calls was read. */
static void look_for_progress(struct memsc_self *self, uint32_t *calls)
{
    uint32_t seen = atomic_load_explicit(&self->line->calls, memory_order_relaxed);
    if (seen == *calls)
        memsc_service_ask_takeover(&memsc_process->service[self->slot->service]);
    *calls = seen;
}

/* Sleeps until one of `wanted` is done: announce, let the service see it, look once more. */
static int sleep_for(struct memsc_self *self, uint64_t wanted)
{
    struct memsc_slot *slot = self->slot;
    uint32_t value = (wanted & (wanted - 1)) ? (uint32_t)MEMSC_SLEEPING_ANY
                                             : (uint32_t)__builtin_ctzll(wanted) + 1;
    uint32_t calls = atomic_load_explicit(&self->line->calls, memory_order_relaxed);
    for (;;) {
        atomic_store_explicit(&slot->sleeping, value, memory_order_relaxed);
        memsc_heavy_barrier(memsc_process->symmetric);
        int index = any_done(self, wanted);
        if (index >= 0) {
            atomic_store_explicit(&slot->sleeping, MEMSC_AWAKE, memory_order_relaxed);
            return index;
        }
        /* Nobody but the caller notices that the service is stuck, so it must wake now and then. */
        long slept =
            memsc_futex_wait(&slot->sleeping, value, all_taken(self, wanted) ? 0 : ASLEEP_US);
        if (slept == -ETIMEDOUT && !all_taken(self, wanted))
            look_for_progress(self, &calls);
    }
}

/* Polls in the place that a call's flags have for them. */
static uint32_t polled(uint32_t polls)
{
    return memsc_pack_polls(polls) << MEMSC_POLLS_APP_SHIFT;
}

/* Waits for one of `wanted`, after `polls` quick ones; *flags gets what happened. */
static int wait_long(struct memsc_self *self, uint64_t wanted, uint32_t polls, uint32_t *flags)
{
    const struct memsc_process *process = memsc_process;
    uint64_t since = memsc_cycles();
    uint64_t looked = since;
    uint32_t calls = atomic_load_explicit(&self->line->calls, memory_order_relaxed);
    for (;;) {
        int index = any_done(self, wanted);
        if (index >= 0) {
            *flags |= polled(polls);
            return index;
        }
        memsc_pause();
        polls++;
        if (polls % POLLS_PER_CLOCK)
            continue;
        uint64_t now = memsc_cycles();
        bool taken = all_taken(self, wanted);
        if (now - looked > process->stuck_cycles) {
            if (!taken)
                look_for_progress(self, &calls);
            looked = now;
        }
        if (now - since > (taken ? process->pooled_spin_cycles : process->spin_cycles)) {
            *flags |= MEMSC_CALL_SLEPT | polled(polls);
            return sleep_for(self, wanted);
        }
    }
}

static uint32_t wait_for(struct memsc_self *self, uint32_t index)
{
    uint32_t flags = 0;
    if (memsc_process->spin_cycles == 0) {
        if (!done(self, index)) {
            flags = MEMSC_CALL_SLEPT;
            sleep_for(self, 1ull << index);
        }
        return flags;
    }
    for (uint32_t polls = 0; polls < POLLS_PER_CLOCK; polls++) {
        if (done(self, index))
            return polled(polls);
        memsc_pause();
    }
    wait_long(self, 1ull << index, POLLS_PER_CLOCK, &flags);
    return flags;
}

/* ---- calls ---- */

static void probe_completed(const struct memsc_self *self, uint32_t index)
{
    const struct memsc_entry *entry = &self->entries[index];
    if (__builtin_expect(self->calls[index].probed, 0))
        MEMSC_PROBE(completed, self->index, index, entry->number, entry->result, self->tid);
}

static int call_and_wait(struct memsc_self *self, long number, const uint64_t args[6], long *result)
{
    if (memsc_process->transport == MEMSC_DIRECT) {
        *result = memsc_call_directly(self, number, args);
        return 0;
    }
    int free = free_entry(self, self->next);
    if (free < 0)
        return -EAGAIN;
    uint32_t index = (uint32_t)free;
    /* Both CPUs share the line since the last call; asking for it now hides the first stamp. */
    __builtin_prefetch(&self->entries[index], 1);
    post(self, index, index, number, args);
    struct memsc_call *record = memsc_begin_record(self, index);
    uint32_t flags = wait_for(self, index);
    *result = self->entries[index].result;
    if (record)
        memsc_end_record(self, index, record, flags);
    probe_completed(self, index);
    return 0;
}

int memsc_forward(long number, const uint64_t args[6], long *result)
{
    struct memsc_self *self = registered();
    if (!self || self->busy || is_local(number, args))
        return 0;
    self->busy = 1;
    /* The handler of a signal that arrives from here on sees busy. */
    atomic_signal_fence(memory_order_seq_cst);
    int error = call_and_wait(self, number, args, result);
    atomic_signal_fence(memory_order_seq_cst);
    self->busy = 0;
    return error == 0;
}

void memsc_count_local(long number)
{
    struct memsc_self *self = registered();
    if (self)
        self->slot->local[memsc_count_index(number)]++;
}

int memsc_call(long number, const long args[6], long *result)
{
    struct memsc_self *self = registered();
    if (!self)
        return -ENOTCONN;
    const uint64_t *words = (const uint64_t *)args;
    if (is_local(number, words)) {
        memsc_count_local(number);
        *result = memsc_raw(number, words);
        return 0;
    }
    return call_and_wait(self, number, words, result);
}

int memsc_add(long number, const long args[6])
{
    struct memsc_self *self = registered();
    if (!self)
        return -ENOTCONN;
    const uint64_t *words = (const uint64_t *)args;
    if (is_local(number, words))
        return -EOPNOTSUPP;
    int index = free_entry(self, self->next);
    if (index < 0)
        return -EAGAIN;
    uint64_t bit = 1ull << index;
    self->in_flight |= bit;
    if (memsc_process->transport == MEMSC_DIRECT) {
        self->entries[index].result = memsc_call_directly(self, number, words);
        self->ready |= bit;
        return index;
    }
    /* The next post comes at the next free entry, or here again if there is none now. */
    int next = free_entry(self, ((uint32_t)index + 1) % MEMSC_PAGE_ENTRIES);
    post(self, (uint32_t)index, next < 0 ? (uint32_t)index : (uint32_t)next, number, words);
    self->calls[index].flags |= MEMSC_CALL_ASYNC;
    return index;
}

static void note_ready(struct memsc_self *self, uint32_t index, uint32_t flags)
{
    if (self->ready & 1ull << index)
        return;
    struct memsc_call *record = memsc_begin_record(self, index);
    if (record)
        memsc_end_record(self, index, record, flags);
    probe_completed(self, index);
    self->ready |= 1ull << index;
}

static int check(struct memsc_self **self, int index)
{
    *self = registered();
    if (!*self)
        return -ENOTCONN;
    if (index < 0 || index >= MEMSC_PAGE_ENTRIES)
        return -EINVAL;
    return (*self)->in_flight & 1ull << index ? 0 : -ENOENT;
}

int memsc_ready(int index)
{
    struct memsc_self *self;
    int error = check(&self, index);
    if (error)
        return error;
    if (!(self->ready & 1ull << index)) {
        if (!done(self, (uint32_t)index))
            return 0;
        note_ready(self, (uint32_t)index, 0);
    }
    return 1;
}

int memsc_retval(int index, long *result)
{
    int ready = memsc_ready(index);
    if (ready <= 0)
        return ready ? ready : -EAGAIN;
    struct memsc_self *self = memsc_self;
    *result = self->entries[index].result;
    self->in_flight &= ~(1ull << index);
    self->ready &= ~(1ull << index);
    return 0;
}

int memsc_wait_any(void)
{
    struct memsc_self *self = registered();
    if (!self)
        return -ENOTCONN;
    if (!self->in_flight)
        return -ENOENT;
    if (self->ready)
        return __builtin_ctzll(self->ready);
    uint32_t flags = 0;
    int index = memsc_process->spin_cycles ? wait_long(self, self->in_flight, 0, &flags)
                                           : sleep_for(self, self->in_flight);
    note_ready(self, (uint32_t)index, flags);
    return index;
}

int memsc_wait_all(void)
{
    struct memsc_self *self = registered();
    if (!self)
        return -ENOTCONN;
    uint64_t waiting = self->in_flight & ~self->ready;
    while (waiting) {
        /* From the oldest on: they finish in the order of the ring. */
        uint32_t index = first_from(waiting, self->next);
        note_ready(self, index, wait_for(self, index));
        waiting &= ~(1ull << index);
    }
    return __builtin_popcountll(self->in_flight);
}
