/* SPDX-License-Identifier: MIT
 *
 * The poller: looks at the heads of its pages, executes what is submitted, parks when nothing is.
 *
 * While it is inside a call, its `in_call` names the entry. A takeover raises `epoch` and then reads
 * in_call; the poller clears in_call and then reads epoch. Either the one sees that the call has
 * ended, or the other sees that it was replaced: the handshake of handshake.h, with the takeover as
 * the rare side.
 */
#include <errno.h>
#include <sys/syscall.h>

#include "handshake.h"
#include "kinds.h"
#include "polls.h"
#include "ready.h"
#include "service.h"
#include "table.h"
#include "token.h"
#include "usdt.h"

enum {
    DRAIN = MEMSC_PAGE_ENTRIES, /* calls of one page in a row before the others get their turn */
    SLEEPS_IN_QUANTUM = 10      /* 2 µs: what a call pays if its worker sleeps and is woken */
};

/* ---- one call ---- */

enum { WATCHED = MEMSC_STAMP | MEMSC_TIMED | MEMSC_PROBED };

/* What somebody wants to know of a call, before its result is published. */
HOT static void tell(const struct memsc_process *process, const struct memsc_slot *slot,
                     struct memsc_entry *entry, uint32_t number, long result, uint64_t picked,
                     uint32_t status, uint32_t flags, uint32_t cpu)
{
    if (status & MEMSC_STAMP) {
        entry->reply.picked = picked;
        entry->reply.service_cpu = cpu;
        entry->reply.flags = flags;
    }
    if (status & (MEMSC_STAMP | MEMSC_TIMED))
        entry->reply.executed = memsc_cycles();
    memsc_probe_executed(process, slot, entry, number, status, result);
}

HOT static void publish(const struct memsc_process *process, struct memsc_slot *slot,
                        struct memsc_entry *entry, long result)
{
    entry->result = result;
    /* Release: result and stamps before the state that says they are there. */
    store_release(&entry->status, MEMSC_DONE);

    memsc_light_barrier(process->symmetric);
    uint32_t sleeping = load_relaxed(&slot->sleeping);
    if (sleeping != MEMSC_AWAKE) {
        uint32_t index = (uint32_t)(entry - memsc_entries(process, slot));
        if (sleeping == MEMSC_SLEEPING_ANY || sleeping == index + 1) {
            store_relaxed(&slot->sleeping, MEMSC_AWAKE);
            memsc_futex_wake(&slot->sleeping, 1);
        }
    }
}

void memsc_publish_pooled(struct memsc_worker *worker, struct memsc_slot *slot,
                          struct memsc_entry *entry, uint32_t number, long result, uint64_t picked,
                          uint32_t status)
{
    tell(worker->process, slot, entry, number, result, picked, status, MEMSC_CALL_POOLED,
         worker->service->line->cpu);
    publish(worker->process, slot, entry, result);
}

/* Whether the call just made went without incident: no signal is on its way to it, and the part of the
 * poller is still this thread's. One branch, for the kernel has made the processor forget what it knew of them. */
HOT static bool is_over(const struct memsc_worker *worker)
{
    return !((load_relaxed(&worker->sent) ^ load_relaxed(&worker->received)) |
             (load_relaxed(&worker->service->epoch) ^ worker->epoch));
}

/* A call's header and lists of buffers, which its caller has just written and the kernel is about to read, and what
 * lies beside them: on their way while the call begins. An address that is none does no harm. */
HOT static void fetch_ahead(uint32_t number, const uint64_t args[6])
{
    switch (number) {
    case SYS_recvmsg:
    case SYS_sendmsg:
    case SYS_readv:
    case SYS_writev:
        for (uint64_t line = 0; line < 4; line++)
            __builtin_prefetch((const void *)(args[1] + (line - 1) * MEMSC_LINE));
    }
}

/* Executes one submitted entry, found after so many fruitless polls. */
HOT static void serve(struct memsc_worker *worker, struct memsc_slot *slot,
                      struct memsc_entry *entry, uint32_t status, uint32_t polls)
{
    const struct memsc_process *process = worker->process;
    const struct memsc_service_line *line = worker->service->line;
    bool watched = status & WATCHED;
    /* Ordered behind the load that found the entry: branches here are predicted well enough for an
     * unordered stamp to come before the call was even posted. */
    uint64_t picked = status & MEMSC_STAMP ? memsc_cycles_ordered() : 0;
    uint32_t flags = memsc_pack_polls(polls) << MEMSC_POLLS_SERVICE_SHIFT;
    uint32_t number = memsc_number_once(entry);
    const struct memsc_row *row = memsc_row_of(number);
    if (process->handoff.owns)
        memsc_own(entry);
    if (row->class == MEMSC_FAST && !row->looks) {
        if (__builtin_expect(!watched, 1)) {
            publish(process, slot, entry, memsc_raw(number, entry->args));
            return;
        }
        memsc_probe_picked(process, slot, entry, number, status);
        long result = memsc_raw(number, entry->args);
        tell(process, slot, entry, number, result, picked, status, flags, line->cpu);
        publish(process, slot, entry, result);
        return;
    }
    /* A copy: what was looked at must be what is executed. */
    uint64_t args[6];
    memsc_args_once(entry, args);
    fetch_ahead(number, args);
    enum memsc_class class = row->looks ? memsc_class_of(number, args, memsc_kind_of) : row->class;
    if (class == MEMSC_POOL && !memsc_ready_now(number, args)) {
        /* Who would wait for a call that nobody looks at, waits himself: that is two switches less. */
        if (!memsc_unseen && memsc_hand_over(worker, slot, entry, number, args, status))
            return;
        class = MEMSC_LOCAL;
    }
    if (class == MEMSC_LOCAL) {
        tell(process, slot, entry, number, MEMSC_DECLINED, picked, status, flags, line->cpu);
        publish(process, slot, entry, MEMSC_DECLINED);
        return;
    }
    memsc_probe_picked(process, slot, entry, number, status);
    bool changes = row->effect != MEMSC_FD_NONE;
    if (changes)
        memsc_kinds_before(number, args);
    /* Release: a successor that sees it sees everything this poller did before. */
    store_release(&worker->in_call, memsc_name_of_entry(process, entry));
    long result = memsc_raw(number, args);
    store_relaxed(&worker->in_call, 0);
    memsc_light_barrier(process->symmetric);
    if (__builtin_expect(!is_over(worker), 0)) {
        memsc_await_recalls(worker);
        if (load_relaxed(&worker->service->epoch) != worker->epoch && !memsc_still_poller(worker)) {
            worker->serving = false;
            flags |= MEMSC_CALL_TAKEOVER;
        }
    }
    if (changes)
        memsc_kinds_update(number, args, result);
    if (__builtin_expect(watched, 0))
        tell(process, slot, entry, number, result, picked, status, flags, line->cpu);
    publish(process, slot, entry, result);
}

/* ---- many ---- */

enum { RHYTHM = 12 /* fruitless polls beyond which a call does not follow the one before */ };

/* As callers (look.h): who looks too early takes the line away from the caller who is about to post in it.
 * When it came, nobody tells; but looking late costs little more than it gains. */
HOT static void learn_stay(struct memsc_worker *worker, uint32_t polls)
{
    const struct memsc_look_pace *pace = &worker->process->pace;
    uint32_t step = (pace->step + 3) / 4;
    if (!polls || polls >= RHYTHM)
        worker->stay -= worker->stay > step ? step : worker->stay;
    else if (worker->stay < pace->near * MEMSC_LOOK_PART)
        worker->stay += step;
}

/* Drains one page; true if it found something. */
HOT static bool drain(struct memsc_worker *worker, uint32_t slot, bool alone, bool thorough,
                      uint32_t polls)
{
    struct memsc_process *process = worker->process;
    struct memsc_pages *pages = process->pages;
    struct memsc_service_line *line = worker->service->line;
    bool found = false;
    for (int i = 0; i < DRAIN && worker->serving; i++) {
        uint32_t head;
        uint32_t status = memsc_look(pages, slot, thorough, &head);
        if (status == MEMSC_FREE)
            break;
        uint32_t fruitless = i ? 0 : polls;
        uint32_t next = status >> MEMSC_NEXT_SHIFT & (MEMSC_PAGE_ENTRIES - 1);
        if (next != head)
            __builtin_prefetch(&pages->page[slot].entries[next]);
        /* Before the call: a thread that takes over during it starts behind it. */
        if (next != load_relaxed(&pages->heads[slot].entry))
            store_relaxed(&pages->heads[slot].entry, next);
        serve(worker, &process->slots[slot], &pages->page[slot].entries[head], status,
              worker->stayed + fruitless);
        worker->stayed = 0;
        found = true;
        if (worker->serving)
            store_relaxed(&line->calls, load_relaxed(&line->calls) + 1);
        if (!alone || next != head)
            continue;
        learn_stay(worker, fruitless);
        if (worker->stay)
            worker->stayed = memsc_stay(memsc_cycles() + worker->stay / MEMSC_LOOK_PART);
    }
    return found;
}

HOT static bool scan(struct memsc_worker *worker, bool thorough, uint32_t polls)
{
    struct memsc_process *process = worker->process;
    struct memsc_service *service = worker->service;
    uint32_t words = memsc_words_used(process);
    bool found = false;
    for (uint32_t word = 0; word < words; word++) {
        uint64_t bits = load_acquire(&service->active[word]);
        bool alone = words == 1 && !(bits & (bits - 1)) && process->handoff.learns;
        for (; bits && worker->serving; bits &= bits - 1)
            found |=
                drain(worker, word * 64 + (uint32_t)__builtin_ctzll(bits), alone, thorough, polls);
    }
    return found;
}

/* Sleeps until a call is posted. Announces, lets the posters see it, looks once more. */
static void park(struct memsc_worker *worker)
{
    struct memsc_process *process = worker->process;
    struct memsc_service *service = worker->service;
    _Atomic uint32_t *parked = load_relaxed(&service->parked);
    store_relaxed(parked, 1);
    /* A worker is woken by the scanner, which looks again and again: nothing can be missed. */
    if (process->service_mode == MEMSC_INLINE)
        memsc_heavy_barrier(process->symmetric);
    else
        /* But its scanner may just move it to another word: it does so and then clears this one. */
        full_barrier();
    if (scan(worker, true, 0) || atomic_load(&process->state) != MEMSC_RUNNING ||
        atomic_load(&service->parked) != parked) {
        /* Replaced during the scan: the word is the successor's, who may sleep on it already. */
        if (worker->serving)
            store_relaxed(parked, 0);
        return;
    }
    memsc_token_release(service);
    memsc_sleep_parked(process, service->line, parked);
    store_relaxed(parked, 0);
}

/* Whether a scanner's worker looks once more, for as long as it would take to sleep and be woken: a caller who waits
 * for each call posts the next one meanwhile. */
static bool lingers(const struct memsc_process *process, uint64_t *idle_since)
{
    if (process->service_mode != MEMSC_SCANNER)
        return false;
    uint64_t now = memsc_cycles();
    if (!*idle_since)
        *idle_since = now;
    if (now - *idle_since < process->quantum_cycles / SLEEPS_IN_QUANTUM) {
        memsc_pause();
        return true;
    }
    *idle_since = 0;
    return false;
}

void memsc_poll(struct memsc_worker *worker)
{
    struct memsc_process *process = worker->process;
    struct memsc_service *service = worker->service;
    /* Of a scanner's worker, and of `ipi`, nobody wants to poll memory. */
    bool sleeps_at_once = process->transport == MEMSC_IPI || process->service_mode == MEMSC_SCANNER;
    uint64_t idle_since = 0;
    bool arrived = false;
    uint32_t quota = 1; /* finds until something else is looked at: one countdown on the hot path */
    if (!sleeps_at_once && !service->membership.member)
        memsc_registry_join(&service->membership, process->region->pid, process->pages_id, false,
                            (uint32_t)(service - process->service));
    for (uint32_t polls = 0; worker->serving; polls++) {
        bool found = scan(worker, polls % MEMSC_POLLS_PER_PAGE == MEMSC_POLLS_PER_PAGE - 1, polls);
        if (found) {
            idle_since = 0;
            polls = 0;
            if (--quota)
                continue;
            quota = MEMSC_POLLS_PER_CLOCK;
        }
        if (!worker->serving)
            return;
        if (!arrived) {
            /* A poller that runs already serves what it was woken for before it asks for the token. */
            memsc_token_acquire(process, service);
            arrived = true;
        } else if (found) {
            memsc_token_maintain(process, service);
        }
        if (found) {
            /* Somebody who scribbles over the pages may keep it finding something for ever. */
            if (load_relaxed(&process->state) == MEMSC_RUNNING)
                continue;
            memsc_token_release(service);
            return;
        }
        if (sleeps_at_once) {
            if (atomic_load(&process->state) != MEMSC_RUNNING)
                return;
            if (lingers(process, &idle_since))
                continue;
            park(worker);
            continue;
        }
        memsc_pause();
        if (memsc_token_shared(service))
            memsc_token_offer(process, service, polls);
        if (polls % MEMSC_POLLS_PER_CLOCK)
            continue;
        if (load_relaxed(&process->state) != MEMSC_RUNNING) {
            memsc_token_release(service);
            return;
        }
        memsc_token_maintain(process, service);
        /* Pool threads share this CPU. */
        if (load_relaxed(&service->pooled))
            MEMSC_SYS(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
        uint64_t now = memsc_cycles();
        if (!idle_since)
            idle_since = now;
        else if (now - idle_since > process->idle_cycles) {
            park(worker);
            arrived = false;
            quota = 1;
            idle_since = 0;
        }
    }
}
