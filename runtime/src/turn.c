/* SPDX-License-Identifier: MIT */
#include "turn.h"

#include "handshake.h"

enum {
    LINGER = 32, /* fruitless scans before the turn is given away: about what giving it costs */
    WATCHED_US = 4000,       /* until a waiting poller looks whether anybody watches it … */
    WATCHED_MOST_US = 64000, /* … and longer each time, up to this */
    PATIENCE = 3,            /* stuck times: to wake up across CPUs may take longer than one */
    LOOKS_PER_PAGE = 64,     /* looks at a head between looks at a whole page */
    ASIDE_US = 20,           /* for which the CPU is left to others, and the kernel's timer slack */
    LATE = 16,               /* looks at a call whose worker is awake, before that */
    QUANTA = 50,             /* between two such pauses for pool threads */
};

static void set_holder(struct memsc_turn *turn, uint32_t holder)
{
    /* Release: whoever finds it finds the states set before. */
    atomic_store_explicit(&turn->board->holder, holder, memory_order_release);
}

static uint32_t holder_of(const struct memsc_turn *turn)
{
    return atomic_load_explicit(&turn->board->holder, memory_order_relaxed);
}

static void beat(struct memsc_turn *turn)
{
    atomic_store_explicit(&turn->board->beat,
                          atomic_load_explicit(&turn->board->beat, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

static bool nobody_holds(const struct memsc_turn *turn)
{
    uint32_t holder = holder_of(turn);
    return !holder || holder > MEMSC_SEATS || memsc_seat_empty(&turn->board->seats[holder - 1]);
}

static bool move_state(struct memsc_seat *seat, uint32_t from, uint32_t to)
{
    return atomic_compare_exchange_strong(&seat->state, &from, to);
}

/* Whether an entry is submitted in one of the pages that `service` of their process looks at. */
static bool has_calls(const struct memsc_pages *pages, uint32_t service, bool thorough)
{
    for (uint32_t word = 0; word < MEMSC_ACTIVE_WORDS; word++) {
        uint64_t bits = atomic_load_explicit(&pages->active[service][word], memory_order_relaxed);
        for (; bits; bits &= bits - 1) {
            uint32_t head;
            if (memsc_look(pages, word * 64 + (uint32_t)__builtin_ctzll(bits), thorough, &head))
                return true;
        }
    }
    return false;
}

/* The same for a process that scans: its workers' services are 1 … services - 1. */
static bool view_has_calls(const struct memsc_view *view, bool thorough)
{
    if (!view->scanner)
        return has_calls(view->pages, view->services, thorough);
    for (uint32_t service = 1; service < view->services; service++)
        if (has_calls(view->pages, service, thorough))
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
        calls += atomic_load_explicit(&process->service[i].line->calls, memory_order_relaxed);
    return calls;
}

/* ---- passing it ---- */

/* Gives the turn, which the caller of this has, to the process at `seat`. */
static bool give(struct memsc_turn *turn, uint32_t seat)
{
    struct memsc_seat *other = &turn->board->seats[seat];
    /* Parked: its poster wakes it, and it finds the turn waiting. */
    if (!move_state(other, MEMSC_SEAT_WAITING, MEMSC_SEAT_TURN) &&
        !move_state(other, MEMSC_SEAT_PARKED, MEMSC_SEAT_TURN))
        return false;
    set_holder(turn, seat + 1);
    memsc_futex_wake(&other->state, 1);
    return true;
}

/* Takes the turn away from whoever has it; the process must have made its seat's state TURN. */
static void take(struct memsc_turn *turn)
{
    uint32_t old = atomic_exchange(&turn->board->holder, turn->me);
    /* Or the next one would take it before this one has run. */
    beat(turn);
    if (old && old != turn->me && old <= MEMSC_SEATS)
        move_state(&turn->board->seats[old - 1], MEMSC_SEAT_TURN, MEMSC_SEAT_LOST);
}

/* Takes it if nobody alive has it. */
static bool take_free(struct memsc_turn *turn)
{
    uint32_t holder = holder_of(turn);
    if (holder && holder <= MEMSC_SEATS && holder != turn->me &&
        !memsc_seat_empty(&turn->board->seats[holder - 1]))
        return false;
    if (!atomic_compare_exchange_strong(&turn->board->holder, &holder, turn->me))
        return false;
    atomic_store(&turn->seat->state, MEMSC_SEAT_TURN);
    return true;
}

static bool look_around_if_changed(struct memsc_turn *turn)
{
    if (turn->changes == atomic_load_explicit(&turn->board->changes, memory_order_relaxed))
        return false;
    memsc_board_look_around(turn);
    return true;
}

static void wait_for_it(const struct memsc_process *process, struct memsc_service *service,
                        uint32_t microseconds)
{
    struct memsc_turn *turn = &service->turn;
    uint32_t calls = calls_made(process);
    memsc_futex_wait(&turn->seat->state, MEMSC_SEAT_WAITING, microseconds);
    if (atomic_load(&turn->seat->state) != MEMSC_SEAT_WAITING)
        return;
    /* Calls there, and none made all the time: nobody watches. */
    if (calls_made(process) == calls && own_calls(process, service) &&
        move_state(turn->seat, MEMSC_SEAT_WAITING, MEMSC_SEAT_TURN))
        take(turn);
}

void memsc_turn_arrive(struct memsc_process *process, struct memsc_service *service)
{
    struct memsc_turn *turn = &service->turn;
    if (!turn->seat)
        return;
    uint32_t wait = WATCHED_US;
    while (atomic_load(&process->state) == MEMSC_RUNNING && holder_of(turn) != turn->me) {
        if (take_free(turn))
            break;
        uint32_t state = atomic_load(&turn->seat->state);
        /* Lost before it was used. Whoever is traced stops at each of its system calls until the tracer
         * has looked, and the tracer's own calls need the turn: it would be lost so for ever. */
        if (state == MEMSC_SEAT_LOST && move_state(turn->seat, state, MEMSC_SEAT_WAITING))
            return;
        /* TURN: about to become the holder, or deposed before it noticed. */
        if (state != MEMSC_SEAT_WAITING && !move_state(turn->seat, state, MEMSC_SEAT_WAITING))
            continue;
        /* It says that it waits and then looks for a holder; memsc_turn_rest says that there is none
         * and then looks for somebody who waits: one of them sees the other. */
        atomic_thread_fence(memory_order_seq_cst);
        if (take_free(turn))
            break;
        wait_for_it(process, service, wait);
        if (wait < WATCHED_MOST_US)
            wait *= 2;
    }
    atomic_store(&turn->seat->state, MEMSC_SEAT_TURN);
    turn->since = memsc_cycles();
    look_around_if_changed(turn);
}

void memsc_turn_rest(struct memsc_service *service)
{
    struct memsc_turn *turn = &service->turn;
    if (!turn->seat)
        return;
    atomic_store(&turn->seat->pooled,
                 atomic_load_explicit(&service->pooled, memory_order_relaxed) != 0);
    atomic_store(&turn->seat->state, MEMSC_SEAT_PARKED);
    uint32_t me = turn->me;
    if (!atomic_compare_exchange_strong(&turn->board->holder, &me, 0))
        return;
    /* As in memsc_turn_arrive. */
    atomic_thread_fence(memory_order_seq_cst);
    look_around_if_changed(turn);
    for (uint32_t k = 0; k < turn->watched; k++) {
        struct memsc_seat *other = &turn->board->seats[turn->watch[k]];
        if (atomic_load(&other->state) != MEMSC_SEAT_WAITING || memsc_seat_empty(other))
            continue;
        uint32_t nobody = 0;
        if (!atomic_compare_exchange_strong(&turn->board->holder, &nobody, turn->watch[k] + 1u))
            return;
        if (move_state(other, MEMSC_SEAT_WAITING, MEMSC_SEAT_TURN)) {
            memsc_futex_wake(&other->state, 1);
            return;
        }
        uint32_t given = turn->watch[k] + 1u;
        atomic_compare_exchange_strong(&turn->board->holder, &given, 0);
    }
}

/* ---- watching ---- */

static void hand_over(struct memsc_process *process, struct memsc_service *service, uint32_t seat)
{
    struct memsc_turn *turn = &service->turn;
    struct memsc_seat *other = &turn->board->seats[seat];
    if (memsc_seat_empty(other)) {
        memsc_board_look_around(turn);
        return;
    }
    if (atomic_load_explicit(&other->state, memory_order_relaxed) == MEMSC_SEAT_LOST)
        return; /* it would not come */
    atomic_store(&turn->seat->pooled,
                 atomic_load_explicit(&service->pooled, memory_order_relaxed) != 0);
    /* First, for the other may hand it back at once. */
    atomic_store(&turn->seat->state, MEMSC_SEAT_WAITING);
    if (!give(turn, seat))
        move_state(turn->seat, MEMSC_SEAT_WAITING, MEMSC_SEAT_TURN);
    memsc_turn_arrive(process, service);
}

/* Leaves the CPU to threads of other processes. A yield is for those of the same group of tasks (of one
 * terminal, see autogroup in sched(7)); others wait for the scheduler to be fair to their group, which
 * with Linux 6.18 and a poller that yields has taken minutes. */
static void step_aside(struct memsc_turn *turn)
{
    memsc_futex_wait(&turn->seat->state, MEMSC_SEAT_TURN, ASIDE_US);
    turn->aside = memsc_cycles();
    turn->late = 0;
}

static bool due(const struct memsc_turn *turn)
{
    return memsc_cycles() - turn->since > turn->quantum;
}

/* Moves on to the next seat and looks at it. */
static bool next_has_calls(struct memsc_turn *turn, uint32_t *seat)
{
    if (turn->cursor >= turn->watched)
        turn->cursor = 0;
    *seat = turn->watch[turn->cursor++];
    return view_has_calls(&turn->views[*seat], turn->looks++ % LOOKS_PER_PAGE == 0);
}

void memsc_turn_glance(struct memsc_process *process, struct memsc_service *service,
                       uint32_t fruitless)
{
    struct memsc_turn *turn = &service->turn;
    uint32_t seat;
    beat(turn);
    if (holder_of(turn) != turn->me)
        memsc_turn_arrive(process, service);
    else if (next_has_calls(turn, &seat) && (fruitless > LINGER || due(turn)))
        hand_over(process, service, seat);
}

void memsc_turn_look_up(struct memsc_process *process, struct memsc_service *service)
{
    struct memsc_turn *turn = &service->turn;
    if (!turn->seat)
        return;
    beat(turn);
    look_around_if_changed(turn);
    bool yield = turn->yields != 0, pooled = false, gone = false;
    turn->yields -= yield;
    for (uint32_t k = 0; k < turn->watched; k++) {
        const struct memsc_seat *seat = &turn->board->seats[turn->watch[k]];
        pooled |= atomic_load_explicit(&seat->pooled, memory_order_relaxed) != 0;
        gone |= memsc_seat_empty(seat);
    }
    if (gone)
        memsc_board_look_around(turn);
    if (pooled && memsc_cycles() - turn->aside > QUANTA * turn->quantum)
        step_aside(turn);
    else if (yield || pooled)
        MEMSC_SYS(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
    if (!turn->watched)
        return;
    if (holder_of(turn) != turn->me) {
        memsc_turn_arrive(process, service);
        return;
    }
    if (process->service_mode == MEMSC_SCANNER || !due(turn))
        return;
    for (uint32_t k = 0; k < turn->watched; k++) {
        uint32_t seat;
        if (next_has_calls(turn, &seat)) {
            hand_over(process, service, seat);
            return;
        }
    }
}

bool memsc_turn_scan_others(struct memsc_process *process, struct memsc_service *service,
                            bool thorough)
{
    struct memsc_turn *turn = &service->turn;
    bool found = false, late = false;
    beat(turn);
    if (holder_of(turn) != turn->me)
        memsc_turn_arrive(process, service);
    if (holder_of(turn) != turn->me)
        return false;
    for (uint32_t k = 0; k < turn->watched; k++) {
        uint32_t at = turn->watch[k];
        const struct memsc_view *view = &turn->views[at];
        struct memsc_seat *seat = &turn->board->seats[at];
        if (!view->scanner) {
            if (has_calls(view->pages, view->services, thorough)) {
                hand_over(process, service, at);
                return true;
            }
            continue;
        }
        for (uint32_t i = 1; i < view->services; i++) {
            if (!has_calls(view->pages, i, thorough))
                continue;
            found = true;
            late |= !atomic_load_explicit(&seat->parked[i], memory_order_relaxed);
            memsc_wake_worker(&seat->parked[i], thorough);
        }
    }
    if (found)
        /* Workers may run on this CPU. */
        MEMSC_SYS(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
    turn->late = late ? turn->late + 1 : 0;
    if (turn->late > LATE)
        step_aside(turn);
    return found;
}

/* ---- callers ---- */

/* Whether the holder has moved within the stuck time. */
static bool moves(const struct memsc_process *process, struct memsc_turn *turn)
{
    uint64_t now = memsc_cycles();
    uint32_t seen = atomic_load_explicit(&turn->board->beat, memory_order_relaxed);
    uint64_t since = atomic_load_explicit(&turn->beat_since, memory_order_relaxed);
    if (seen != atomic_load_explicit(&turn->beat, memory_order_relaxed)) {
        atomic_store_explicit(&turn->beat, seen, memory_order_relaxed);
        atomic_store_explicit(&turn->beat_since, now, memory_order_relaxed);
        since = now;
    }
    return now - since < PATIENCE * process->stuck_cycles;
}

/* The turn that a caller's calls hang on. */
static struct memsc_turn *turn_of(struct memsc_process *process,
                                  const struct memsc_service *service)
{
    bool scanner = process->service_mode == MEMSC_SCANNER;
    return &process->service[scanner ? 0 : service - process->service].turn;
}

bool memsc_turn_crowded(struct memsc_process *process, const struct memsc_service *service)
{
    const struct memsc_turn *turn = turn_of(process, service);
    const struct memsc_seat *seat = atomic_load_explicit(&turn->seat, memory_order_acquire);
    if (!seat)
        return false;
    if (process->service_mode == MEMSC_SCANNER)
        return atomic_load_explicit(&turn->board->seats_used, memory_order_relaxed) > 1;
    return atomic_load_explicit(&seat->state, memory_order_relaxed) == MEMSC_SEAT_WAITING;
}

bool memsc_turn_hurry(struct memsc_process *process, struct memsc_service *service)
{
    bool scanner = process->service_mode == MEMSC_SCANNER;
    struct memsc_turn *turn = turn_of(process, service);
    /* Acquire: the number that goes with the seat. */
    struct memsc_seat *seat = atomic_load_explicit(&turn->seat, memory_order_acquire);
    if (!seat || atomic_load(&seat->state) != MEMSC_SEAT_WAITING)
        return false;
    if (!nobody_holds(turn) && moves(process, turn))
        return !scanner;
    if (move_state(seat, MEMSC_SEAT_WAITING, MEMSC_SEAT_TURN)) {
        take(turn);
        memsc_futex_wake(&seat->state, 1);
    }
    return true;
}
