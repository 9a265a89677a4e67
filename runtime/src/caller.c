/* SPDX-License-Identifier: MIT
 *
 * The application thread's side of a call: post, wait, record.
 *
 * Costs are arranged around the one cache line that travels: `called` is read before anything is written
 * to it, `posted` while it travels, and the record's own line is fetched for writing during the wait.
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
#include "ready.h"
#include "recall_signal.h"
#include "record.h"
#include "table.h"
#include "usdt.h"
#include "wait.h"

static struct memsc_self *registered(void)
{
    struct memsc_self *self = memsc_self;
    return self && self->slot ? self : NULL;
}

/* ---- post ---- */

/* Before anything is written to the entry, or the service would take its line away meanwhile. */
static void enter(struct memsc_self *self, uint32_t index, long number)
{
    bool skipped;
    bool stamped = memsc_draw(self, &skipped);
    bool probed = memsc_wants_probe(self);
    self->calls[index].probed = probed;
    if (__builtin_expect(probed, 0))
        MEMSC_PROBE(called, self->index, index, number, 0, self->tid);
    if (stamped)
        self->calls[index].called = memsc_cycles();
    self->calls[index].stamped = stamped;
    self->calls[index].skipped = skipped;
}

static void post(struct memsc_self *self, uint32_t index, uint32_t next, bool timed, long number,
                 const uint64_t args[6])
{
    struct memsc_slot *slot = self->slot;
    struct memsc_entry *entry = &self->entries[index];
    bool stamped = self->calls[index].stamped;
    bool probed = self->calls[index].probed;
    self->calls[index].flags = 0;
    self->next = next;
    entry->number = (uint32_t)number;
    for (int i = 0; i < 6; i++)
        entry->args[i] = args[i];
    /* Release: the whole entry before the state that says it is there. */
    store_release(&entry->status, MEMSC_SUBMITTED | (stamped ? MEMSC_STAMP : 0) |
                                      (timed ? MEMSC_TIMED : 0) | (probed ? MEMSC_PROBED : 0) |
                                      next << MEMSC_NEXT_SHIFT);
    if (stamped || timed)
        self->calls[index].posted = memsc_cycles();
    if (__builtin_expect(probed, 0))
        MEMSC_PROBE(posted, self->index, index, number, 0, self->tid);
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

/* Goes on looking after `polls`; *flags gets what happened. */
static void look_on(struct memsc_self *self, uint32_t index, uint32_t polls, uint32_t *flags)
{
    const struct memsc_process *process = memsc_process();
    uint32_t more = 0;
    while (process->spin_cycles && more < MEMSC_FIRST_POLLS) {
        if (memsc_done(&self->entries[index])) {
            *flags |= memsc_polled(polls + more);
            return;
        }
        more += memsc_pauses(process);
    }
    /* It reads lines that the service writes: not before it has to. */
    memsc_wait_long(self, 1ull << index, polls + more, flags);
}

static uint32_t wait_for(struct memsc_self *self, uint32_t index)
{
    uint32_t flags = 0;
    look_on(self, index, 0, &flags);
    return flags;
}

/* A call's kind: what it does, and how much of it. */
static struct memsc_look *look_of(struct memsc_self *self, long number, const uint64_t args[6])
{
    uint64_t kind = (uint64_t)number;
    switch (number) {
    case SYS_read:
    case SYS_write:
    case SYS_pread64:
    case SYS_pwrite64:
    case SYS_recvfrom:
    case SYS_sendto:
        kind += (uint64_t)(64 - __builtin_clzll(args[2] | 1)) * 61;
        break;
    case SYS_ioctl:
        kind += args[1] * 61;
    }
    return &self->looks[kind % MEMSC_LOOKS];
}

/* Whether it is this call's turn to be stamped for its time alone. */
static bool is_timed(struct memsc_self *self)
{
    if (self->untimed)
        self->untimed--;
    return !self->untimed;
}

/* Waits for a synchronous call, which has a line to itself. Until its result can be there nothing is
 * gained by looking: what was seen of the call before is learnt from then. */
static uint32_t wait_alone(struct memsc_self *self, uint32_t index, struct memsc_look *look,
                           bool timed)
{
    const struct memsc_process *process = memsc_process();
    const struct memsc_entry *entry = &self->entries[index];
    struct memsc_seen *seen = &self->seen;
    uint64_t posted = timed ? self->calls[index].posted : memsc_cycles();
    uint32_t flags = 0;
    bool rare = posted - self->posted > process->pace.rare;
    self->posted = posted;
    if (rare) {
        seen->look = NULL;
        return wait_for(self, index);
    }
    if (timed)
        self->untimed = MEMSC_TIMED_EVERY - (uint32_t)posted % (MEMSC_TIMED_EVERY / 4);
    if (seen->look && memsc_look_learn(&process->pace, seen))
        self->untimed = 1;
    seen->look = NULL;
    uint64_t first = posted + look->after / MEMSC_LOOK_PART;
    uint32_t polls = memsc_stay(first);
    if (memsc_done(entry)) {
        seen->behind = 0;
        flags = memsc_polled(polls);
    } else {
        look_on(self, index, polls + memsc_pauses(process), &flags);
        if (flags & MEMSC_CALL_SLEPT)
            return flags;
        seen->behind = (uint32_t)(memsc_cycles() - first) | 1;
    }
    seen->there = timed ? (int32_t)(entry->reply.executed - posted) : INT32_MIN;
    seen->look = look;
    return flags;
}

/* ---- calls ---- */

/* 0; -EAGAIN: no entry is free; MEMSC_DECLINED. A signal handler finds in *wait how far it is. */
static int call_and_wait(struct memsc_self *self, struct memsc_wait *wait, long number,
                         const uint64_t args[6], long *result)
{
    int free = free_entry(self, self->next);
    if (free < 0)
        return -EAGAIN;
    uint32_t index = (uint32_t)free;
    wait->index = index;
    wait->entry = &self->entries[index];
    enter(self, index, number);
    /* For a signal handler that comes before the call is posted: done is the call before it. */
    store_relaxed(&wait->entry->status, MEMSC_FREE);
    compiler_barrier();
    wait->stage = MEMSC_POSTED;
    compiler_barrier();
    bool timed = self->calls[index].stamped || (memsc_process()->handoff.learns && is_timed(self));
    post(self, index, index, timed, number, args);
    memsc_begin(self, wait);
    self->calls[index].flags = memsc_ring_doorbell(self->doorbell);
    if (memsc_process()->handoff.learns && !self->calls[index].flags)
        wait->flags = wait_alone(self, index, look_of(self, number, args), timed);
    else
        wait->flags = wait_for(self, index);
    *result = memsc_conclude(self, wait);
    return __builtin_expect(*result == MEMSC_DECLINED, 0) ? MEMSC_DECLINED : 0;
}

/* Now that a handler can tell where the call stands. In the handler itself it would come without end. */
static void cancel_again(const uint64_t *args)
{
    if (!memsc_from_bridge(args))
        return;
    memsc_cancel_came = 0;
    long pid = MEMSC_SYS(SYS_getpid, 0, 0, 0, 0, 0, 0);
    long tid = MEMSC_SYS(SYS_gettid, 0, 0, 0, 0, 0, 0);
    MEMSC_SYS(SYS_tgkill, pid, tid, MEMSC_CANCEL_SIGNAL, 0, 0, 0);
}

static bool calls_itself(void)
{
    return memsc_process()->transport == MEMSC_DIRECT;
}

enum memsc_forwarded memsc_forward(long number, const uint64_t args[6], long *result)
{
    if (memsc_under_way || memsc_is_local(number, args))
        return MEMSC_NOT_FORWARDED;
    struct memsc_wait wait;
    memsc_wait_start(&wait, args);
    int error = 0;
    memsc_under_way = &wait;
    /* From here on a signal handler is the layer's before it is the program's. */
    compiler_barrier();
    if (__builtin_expect(memsc_cancel_came, 0))
        cancel_again(args);
    /* Not before: a handler may have forked or left, and this may be the child. */
    struct memsc_self *self = registered();
    if (__builtin_expect(!self, 0))
        error = -ENOTCONN;
    else if (calls_itself())
        *result = memsc_call_directly(self, &wait, number, args);
    else if (memsc_unseen && memsc_class(number) >= MEMSC_FD &&
             memsc_may_wait_here(self, number, args))
        error = MEMSC_DECLINED;
    else
        error = call_and_wait(self, &wait, number, args, result);
    compiler_barrier();
    memsc_under_way = NULL;
    compiler_barrier();
    if (__builtin_expect(error < 0, 0))
        return error == MEMSC_DECLINED ? MEMSC_NOT_FORWARDED : MEMSC_NO_ROOM;
    return MEMSC_FORWARDED;
}

void memsc_count_local(long number)
{
    struct memsc_self *self = registered();
    if (self)
        self->slot->local[memsc_count_index(number)]++;
}

static long make_here(long number, const uint64_t args[6])
{
    memsc_count_local(number);
    return memsc_raw(number, args);
}

int memsc_call(long number, const long args[6], long *result)
{
    struct memsc_self *self = registered();
    if (!self)
        return -ENOTCONN;
    const uint64_t *words = (const uint64_t *)args;
    int error = 0;
    struct memsc_wait wait;
    memsc_wait_start(&wait, NULL);
    if (memsc_is_local(number, words))
        error = MEMSC_DECLINED;
    else if (calls_itself())
        *result = memsc_call_directly(self, &wait, number, words);
    else
        error = call_and_wait(self, &wait, number, words, result);
    if (error != MEMSC_DECLINED)
        return error;
    *result = make_here(number, words);
    return 0;
}

int memsc_add(long number, const long args[6])
{
    struct memsc_self *self = registered();
    if (!self)
        return -ENOTCONN;
    const uint64_t *words = (const uint64_t *)args;
    if (memsc_is_local(number, words))
        return -EOPNOTSUPP;
    int index = free_entry(self, self->next);
    if (index < 0)
        return -EAGAIN;
    uint64_t bit = 1ull << index;
    self->in_flight |= bit;
    if (calls_itself()) {
        struct memsc_wait wait;
        memsc_wait_start(&wait, NULL);
        self->entries[index].result = memsc_call_directly(self, &wait, number, words);
        self->ready |= bit;
        return index;
    }
    /* The next post comes at the next free entry, or here again if there is none now. */
    int next = free_entry(self, ((uint32_t)index + 1) % MEMSC_PAGE_ENTRIES);
    enter(self, (uint32_t)index, number);
    post(self, (uint32_t)index, next < 0 ? (uint32_t)index : (uint32_t)next, false, number, words);
    self->calls[index].flags = MEMSC_CALL_ASYNC | memsc_ring_doorbell(self->doorbell);
    return index;
}

static void note_ready(struct memsc_self *self, uint32_t index, uint32_t flags)
{
    if (self->ready & 1ull << index)
        return;
    self->ready |= 1ull << index;
    if (memsc_was_declined(self, index))
        return;
    struct memsc_call *record = memsc_begin_record(self, index);
    if (record)
        memsc_end_record(self, index, record, flags);
    else if (self->calls[index].skipped)
        memsc_count_skipped(self, load_relaxed(&self->slot->skipped));
    memsc_probe_completed(self, index);
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
        if (!memsc_done(&self->entries[index]))
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
    const struct memsc_entry *entry = &self->entries[index];
    *result =
        entry->result == MEMSC_DECLINED ? make_here(entry->number, entry->args) : entry->result;
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
    int index = memsc_wait_long(self, self->in_flight, 0, &flags);
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
