/* SPDX-License-Identifier: MIT
 *
 * The board: who polls on one service CPU, among the processes of one user.
 *
 * A System V segment per user and CPU, found by its key, mode 0600. It holds nothing but hints and
 * words to sleep on; no call and no result pass through it, so a process that writes nonsense here
 * costs the others of its user time and nothing else. A process trusts a board only if the kernel
 * says that its own user made it, and maps another one's segment (struct memsc_pages), whose number
 * stands here, read-only and only if the kernel says that this process of this user made it.
 */
#ifndef MEMSC_BOARD_H
#define MEMSC_BOARD_H

#include "layout.h"
#include "memsc.h"

#define MEMSC_BOARD_VERSION 1u /* part of the key: other versions never meet */

enum {
    MEMSC_SEATS = 256,    /* processes that share one service CPU; more of them do not cooperate */
    MEMSC_BOARD_KEYS = 8, /* keys tried in turn: another user may sit on one */
};

enum memsc_seat_state {
    MEMSC_SEAT_PARKED = 0, /* asleep behind its own door: its posters wake it */
    MEMSC_SEAT_WAITING,    /* asleep on `state`: whoever has the turn watches its pages */
    MEMSC_SEAT_TURN,       /* polls */
    MEMSC_SEAT_LOST,       /* had the turn and did not move: another one took it */
};

/* One process. */
struct memsc_seat {
    /* Written at registration. */
    alignas(
        MEMSC_LINE) _Atomic uint32_t owner; /* thread that sits here, 0: nobody; the kernel writes
                                                   FUTEX_OWNER_DIED when it ends, however it ends */
    _Atomic uint32_t generation;            /* changes last when somebody sits down */
    _Atomic uint32_t pid;
    _Atomic int32_t pages_id; /* of its segment */
    _Atomic uint32_t scanner; /* enum memsc_service_mode */
    _Atomic uint32_t
        services; /* service lines: inline, the one that polls here; scanner, 1 … services-1 */

    /* Written by the process itself and by whoever hands it the turn. */
    alignas(MEMSC_LINE) _Atomic uint32_t state; /* futex: enum memsc_seat_state */
    _Atomic uint32_t pooled;                    /* its pool threads want this CPU now and then */

    /* Written by its workers and by whoever scans. */
    alignas(
        MEMSC_LINE) _Atomic uint32_t parked[MEMSC_MAX_SERVICES]; /* futexes, as in service lines */
};

struct memsc_board {
    _Atomic uint64_t identity; /* user << 32 | 1 + CPU */
    /* Written when the turn passes. */
    alignas(MEMSC_LINE) _Atomic uint32_t holder; /* 1 + seat that has the turn, 0: nobody polls */
    /* Written by the holder. */
    alignas(MEMSC_LINE) _Atomic uint32_t beat; /* moves while the holder does */
    /* Written at registration. */
    alignas(MEMSC_LINE) _Atomic uint32_t changes; /* moves when somebody comes */
    _Atomic uint32_t seats_used;                  /* seats ever taken */
    struct memsc_seat seats[MEMSC_SEATS];
};

/* What a process knows privately about a board it sits at. */
struct memsc_turn {
    struct memsc_board *board; /* NULL: this service CPU is shared with nobody */
    struct memsc_seat
        *_Atomic seat; /* NULL until the service's own thread has sat down; callers look */
    int id;
    uint32_t me;      /* 1 + number of the seat */
    uint32_t changes; /* seen */
    uint32_t yields;  /* still owed to whoever came */
    uint32_t looks, cursor, watched;
    uint32_t late;  /* scanner: looks in a row at another process's call whose worker is awake */
    uint64_t since; /* cycles: the turn came */
    uint64_t aside; /* cycles: the CPU was last left to others for a while */
    uint64_t quantum;
    _Atomic uint32_t beat;       /* seen by callers … */
    _Atomic uint64_t beat_since; /* … since these cycles */
    uint8_t watch[MEMSC_SEATS];  /* seats of others, `watched` of them */
    struct memsc_view {
        const struct memsc_pages *pages; /* NULL: cannot be mapped */
        uint32_t generation, scanner, services;
    } views[MEMSC_SEATS];
    struct { /* as the kernel wants it: struct robust_list_head */
        void *next;
        long offset;
        void *pending;
    } robust;
};

/* board.c. Attaches to the board of this user and CPU; without one the turn stays all zero, and the
 * process polls as if alone. */
void memsc_board_open(struct memsc_turn *turn, uint32_t cpu);
void memsc_board_close(struct memsc_turn *turn);

/* The process ends in order: the last one takes the board along. */
void memsc_board_finish(const struct memsc_turn *turn);

/* Takes a seat for the calling thread, which must live as long as the service; `pages_id` as in
 * struct memsc_process. */
void memsc_board_sit(struct memsc_turn *turn, uint32_t pid, int pages_id, uint32_t scanner,
                     uint32_t services);

/* Somebody new wants this CPU: whoever polls shall let it. */
void memsc_board_knock(const struct memsc_turn *turn);

/* Brings `watch` and `views` up to date. */
void memsc_board_look_around(struct memsc_turn *turn);

/* Nobody sits there any more? */
static inline int memsc_seat_empty(const struct memsc_seat *seat)
{
    enum { TID_MASK = 0x3fffffff };
    return !(atomic_load_explicit(&seat->owner, memory_order_acquire) & TID_MASK);
}

/* Key of a board; attempt below MEMSC_BOARD_KEYS. */
MEMSC_API uint32_t memsc_board_key_of(uint32_t user, uint32_t cpu, uint32_t attempt);

#endif
