/* SPDX-License-Identifier: MIT */
#include "token.h"

#include "handshake.h"

enum {
    LINGER = 32, /* fruitless scans before the token is given away: about what giving it costs */
    WATCHED_US = 4000,       /* until a waiting poller looks whether anybody watches it … */
    WATCHED_MOST_US = 64000, /* … and longer each time, up to this */
    PATIENCE = 3,            /* stuck times: to wake up across CPUs may take longer than one */
    LOOKS_PER_PAGE = 64,     /* looks at a head between looks at a whole page */
    ASIDE_US = 20,           /* for which the CPU is left to others, and the kernel's timer slack */
    LATE = 16,               /* looks at a call whose worker is awake, before that */
    QUANTA = 50,             /* between two such pauses for pool threads */
};

static void set_holder(struct memsc_membership *membership, uint32_t holder)
{
    /* Release: who finds it finds the states set before. */
    store_release(&membership->registry->holder, holder);
}

static uint32_t holder_of(const struct memsc_membership *membership)
{
    return load_relaxed(&membership->registry->holder);
}

static void heartbeat(struct memsc_membership *membership)
{
    store_relaxed(&membership->registry->heartbeat,
                  load_relaxed(&membership->registry->heartbeat) + 1);
}

static bool nobody_holds(const struct memsc_membership *membership)
{
    uint32_t holder = holder_of(membership);
    return !holder || holder > MEMSC_MEMBERS ||
           memsc_member_gone(&membership->registry->members[holder - 1]);
}

static bool move_state(struct memsc_member *member, uint32_t from, uint32_t to)
{
    return atomic_compare_exchange_strong(&member->state, &from, to);
}

/* Whether an entry is submitted in one of the pages that `service` of their process looks at. */
static bool has_calls(const struct memsc_pages *pages, uint32_t service, bool thorough)
{
    for (uint32_t word = 0; word < MEMSC_ACTIVE_WORDS; word++) {
        uint64_t bits = load_relaxed(&pages->active[service][word]);
        for (; bits; bits &= bits - 1) {
            uint32_t head;
            if (memsc_look(pages, word * 64 + (uint32_t)__builtin_ctzll(bits), thorough, &head))
                return true;
        }
    }
    return false;
}

/* The same for a process that scans: its workers' services are 1 … services - 1. */
static bool neighbour_has_calls(const struct memsc_neighbour *neighbour, bool thorough)
{
    if (!neighbour->scanner)
        return has_calls(neighbour->pages, neighbour->services, thorough);
    for (uint32_t service = 1; service < neighbour->services; service++)
        if (has_calls(neighbour->pages, service, thorough))
            return true;
    return false;
}

static bool own_calls(const struct memsc_process *process, const struct memsc_service *service)
{
    if (process->service_mode == MEMSC_INLINE)
        return has_calls(process->pages, (uint32_t)(service - process->service), true);
    for (uint32_t i = 1; i < process->services; i++)
        if (has_calls(process->pages, i, true))
            return true;
    return false;
}

static uint32_t calls_made(const struct memsc_process *process)
{
    uint32_t calls = 0;
    for (uint32_t i = 0; i < process->services; i++)
        calls += load_relaxed(&process->service[i].line->calls);
    return calls;
}

/* ---- passing it ---- */

/* Gives the token, which the caller of this has, to another member. */
static bool give(struct memsc_membership *membership, uint32_t member)
{
    struct memsc_member *other = &membership->registry->members[member];
    /* Parked: its poster wakes it, and it finds the token waiting. */
    if (!move_state(other, MEMSC_MEMBER_WAITING, MEMSC_MEMBER_HOLDS) &&
        !move_state(other, MEMSC_MEMBER_PARKED, MEMSC_MEMBER_HOLDS))
        return false;
    set_holder(membership, member + 1);
    memsc_futex_wake(&other->state, 1);
    return true;
}

/* Takes the token away from its holder; the process must have made its own state HOLDS. */
static void take(struct memsc_membership *membership)
{
    uint32_t old = atomic_exchange(&membership->registry->holder, membership->me);
    /* Or the next one would take it before this one has run. */
    heartbeat(membership);
    if (old && old != membership->me && old <= MEMSC_MEMBERS)
        move_state(&membership->registry->members[old - 1], MEMSC_MEMBER_HOLDS, MEMSC_MEMBER_LOST);
}

/* Takes it if nobody alive has it. */
static bool take_free(struct memsc_membership *membership)
{
    uint32_t holder = holder_of(membership);
    if (holder && holder <= MEMSC_MEMBERS && holder != membership->me &&
        !memsc_member_gone(&membership->registry->members[holder - 1]))
        return false;
    if (!atomic_compare_exchange_strong(&membership->registry->holder, &holder, membership->me))
        return false;
    atomic_store(&membership->member->state, MEMSC_MEMBER_HOLDS);
    return true;
}

static bool refresh_if_changed(struct memsc_membership *membership)
{
    if (membership->changes == load_relaxed(&membership->registry->changes))
        return false;
    memsc_registry_refresh(membership);
    return true;
}

static void wait_for_it(const struct memsc_process *process, struct memsc_service *service,
                        uint32_t microseconds)
{
    struct memsc_membership *membership = &service->membership;
    uint32_t calls = calls_made(process);
    memsc_futex_wait(&membership->member->state, MEMSC_MEMBER_WAITING, microseconds);
    if (atomic_load(&membership->member->state) != MEMSC_MEMBER_WAITING)
        return;
    /* Calls there, and none made all the time: nobody watches. */
    if (calls_made(process) == calls && own_calls(process, service) &&
        move_state(membership->member, MEMSC_MEMBER_WAITING, MEMSC_MEMBER_HOLDS))
        take(membership);
}

void memsc_token_acquire(struct memsc_process *process, struct memsc_service *service)
{
    struct memsc_membership *membership = &service->membership;
    if (!membership->member)
        return;
    uint32_t wait = WATCHED_US;
    while (atomic_load(&process->state) == MEMSC_RUNNING &&
           holder_of(membership) != membership->me) {
        if (take_free(membership))
            break;
        uint32_t state = atomic_load(&membership->member->state);
        /* Lost before it was used. A traced process stops at each of its system calls until the tracer
         * has looked, and the tracer's own calls need the token: it would be lost so for ever. */
        if (state == MEMSC_MEMBER_LOST &&
            move_state(membership->member, state, MEMSC_MEMBER_WAITING))
            return;
        /* HOLDS: about to become the holder, or replaced before it noticed. */
        if (state != MEMSC_MEMBER_WAITING &&
            !move_state(membership->member, state, MEMSC_MEMBER_WAITING))
            continue;
        /* It says that it waits and then looks for a holder; memsc_token_release says that there is none
         * and then looks for somebody who waits: one of them sees the other. */
        full_barrier();
        if (take_free(membership))
            break;
        wait_for_it(process, service, wait);
        if (wait < WATCHED_MOST_US)
            wait *= 2;
    }
    atomic_store(&membership->member->state, MEMSC_MEMBER_HOLDS);
    membership->since = memsc_cycles();
    refresh_if_changed(membership);
}

void memsc_token_release(struct memsc_service *service)
{
    struct memsc_membership *membership = &service->membership;
    if (!membership->member)
        return;
    atomic_store(&membership->member->pooled, load_relaxed(&service->pooled) != 0);
    atomic_store(&membership->member->state, MEMSC_MEMBER_PARKED);
    uint32_t me = membership->me;
    if (!atomic_compare_exchange_strong(&membership->registry->holder, &me, 0))
        return;
    /* As in memsc_token_acquire. */
    full_barrier();
    refresh_if_changed(membership);
    for (uint32_t k = 0; k < membership->watched; k++) {
        struct memsc_member *other = &membership->registry->members[membership->watch[k]];
        if (atomic_load(&other->state) != MEMSC_MEMBER_WAITING || memsc_member_gone(other))
            continue;
        uint32_t nobody = 0;
        if (!atomic_compare_exchange_strong(&membership->registry->holder, &nobody,
                                            membership->watch[k] + 1u))
            return;
        if (move_state(other, MEMSC_MEMBER_WAITING, MEMSC_MEMBER_HOLDS)) {
            memsc_futex_wake(&other->state, 1);
            return;
        }
        uint32_t given = membership->watch[k] + 1u;
        atomic_compare_exchange_strong(&membership->registry->holder, &given, 0);
    }
}

/* ---- watching ---- */

static void hand_over(struct memsc_process *process, struct memsc_service *service, uint32_t member)
{
    struct memsc_membership *membership = &service->membership;
    struct memsc_member *other = &membership->registry->members[member];
    if (memsc_member_gone(other)) {
        memsc_registry_refresh(membership);
        return;
    }
    if (load_relaxed(&other->state) == MEMSC_MEMBER_LOST)
        return; /* it would not come */
    atomic_store(&membership->member->pooled, load_relaxed(&service->pooled) != 0);
    /* First, for the other may hand it back at once. */
    atomic_store(&membership->member->state, MEMSC_MEMBER_WAITING);
    if (!give(membership, member))
        move_state(membership->member, MEMSC_MEMBER_WAITING, MEMSC_MEMBER_HOLDS);
    memsc_token_acquire(process, service);
}

/* Leaves the CPU to threads of other processes. A yield is for those of the same group of tasks (of one
 * terminal, see autogroup in sched(7)); others wait for the scheduler to be fair to their group, which
 * with Linux 6.18 and a poller that yields has taken minutes. */
static void step_aside(struct memsc_membership *membership)
{
    memsc_futex_wait(&membership->member->state, MEMSC_MEMBER_HOLDS, ASIDE_US);
    membership->aside = memsc_cycles();
    membership->late = 0;
}

static bool due(const struct memsc_membership *membership)
{
    return memsc_cycles() - membership->since > membership->quantum;
}

/* Moves on to the next member and looks at its pages. */
static bool next_has_calls(struct memsc_membership *membership, uint32_t *member)
{
    if (membership->cursor >= membership->watched)
        membership->cursor = 0;
    *member = membership->watch[membership->cursor++];
    return neighbour_has_calls(&membership->neighbours[*member],
                               membership->looks++ % LOOKS_PER_PAGE == 0);
}

void memsc_token_offer(struct memsc_process *process, struct memsc_service *service,
                       uint32_t fruitless)
{
    struct memsc_membership *membership = &service->membership;
    uint32_t member;
    heartbeat(membership);
    if (holder_of(membership) != membership->me)
        memsc_token_acquire(process, service);
    else if (next_has_calls(membership, &member) && (fruitless > LINGER || due(membership)))
        hand_over(process, service, member);
}

void memsc_token_maintain(struct memsc_process *process, struct memsc_service *service)
{
    struct memsc_membership *membership = &service->membership;
    if (!membership->member)
        return;
    heartbeat(membership);
    refresh_if_changed(membership);
    bool yield = membership->yields != 0, pooled = false, gone = false;
    membership->yields -= yield;
    for (uint32_t k = 0; k < membership->watched; k++) {
        const struct memsc_member *member = &membership->registry->members[membership->watch[k]];
        pooled |= load_relaxed(&member->pooled) != 0;
        gone |= memsc_member_gone(member);
    }
    if (gone)
        memsc_registry_refresh(membership);
    if (pooled && memsc_cycles() - membership->aside > QUANTA * membership->quantum)
        step_aside(membership);
    else if (yield || pooled)
        MEMSC_SYS(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
    if (!membership->watched)
        return;
    if (holder_of(membership) != membership->me) {
        memsc_token_acquire(process, service);
        return;
    }
    if (process->service_mode == MEMSC_SCANNER || !due(membership))
        return;
    for (uint32_t k = 0; k < membership->watched; k++) {
        uint32_t member;
        if (next_has_calls(membership, &member)) {
            hand_over(process, service, member);
            return;
        }
    }
}

bool memsc_token_scan_others(struct memsc_process *process, struct memsc_service *service,
                             bool thorough)
{
    struct memsc_membership *membership = &service->membership;
    bool found = false, late = false;
    heartbeat(membership);
    if (holder_of(membership) != membership->me)
        memsc_token_acquire(process, service);
    if (holder_of(membership) != membership->me)
        return false;
    for (uint32_t k = 0; k < membership->watched; k++) {
        uint32_t at = membership->watch[k];
        const struct memsc_neighbour *neighbour = &membership->neighbours[at];
        struct memsc_member *member = &membership->registry->members[at];
        if (!neighbour->scanner) {
            if (has_calls(neighbour->pages, neighbour->services, thorough)) {
                hand_over(process, service, at);
                return true;
            }
            continue;
        }
        for (uint32_t i = 1; i < neighbour->services; i++) {
            if (!has_calls(neighbour->pages, i, thorough))
                continue;
            found = true;
            late |= !load_relaxed(&member->parked[i]);
            memsc_wake_worker(&member->parked[i], thorough);
        }
    }
    if (found)
        /* Workers may run on this CPU. */
        MEMSC_SYS(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
    membership->late = late ? membership->late + 1 : 0;
    if (membership->late > LATE)
        step_aside(membership);
    return found;
}

/* ---- callers ---- */

/* Whether the holder has moved within the stuck time. */
static bool moves(const struct memsc_process *process, struct memsc_membership *membership)
{
    uint64_t now = memsc_cycles();
    uint32_t seen = load_relaxed(&membership->registry->heartbeat);
    uint64_t since = load_relaxed(&membership->heartbeat_since);
    if (seen != load_relaxed(&membership->heartbeat)) {
        store_relaxed(&membership->heartbeat, seen);
        store_relaxed(&membership->heartbeat_since, now);
        since = now;
    }
    return now - since < PATIENCE * process->stuck_cycles;
}

/* The membership that a caller's calls hang on. */
static struct memsc_membership *membership_of(struct memsc_process *process,
                                              const struct memsc_service *service)
{
    bool scanner = process->service_mode == MEMSC_SCANNER;
    return &process->service[scanner ? 0 : service - process->service].membership;
}

bool memsc_token_awaited(struct memsc_process *process, const struct memsc_service *service)
{
    const struct memsc_membership *membership = membership_of(process, service);
    const struct memsc_member *member = load_acquire(&membership->member);
    if (!member)
        return false;
    if (process->service_mode == MEMSC_SCANNER)
        return load_relaxed(&membership->registry->members_used) > 1;
    return load_relaxed(&member->state) == MEMSC_MEMBER_WAITING;
}

bool memsc_token_claim(struct memsc_process *process, struct memsc_service *service)
{
    bool scanner = process->service_mode == MEMSC_SCANNER;
    struct memsc_membership *membership = membership_of(process, service);
    /* Acquire: the number that goes with the member. */
    struct memsc_member *member = load_acquire(&membership->member);
    if (!member || atomic_load(&member->state) != MEMSC_MEMBER_WAITING)
        return false;
    if (!nobody_holds(membership) && moves(process, membership))
        return !scanner;
    if (move_state(member, MEMSC_MEMBER_WAITING, MEMSC_MEMBER_HOLDS)) {
        take(membership);
        memsc_futex_wake(&member->state, 1);
    }
    return true;
}
