/* SPDX-License-Identifier: MIT
 *
 * The registry: who polls on one service CPU, among the processes of one user.
 *
 * A System V segment per user and CPU, found by its key, mode 0600. It holds nothing but hints and
 * words to sleep on; no call and no result pass through it, so a process that writes nonsense here
 * costs the others of its user time and nothing else. A process trusts a registry only if the kernel
 * says that its own user made it, and maps another one's segment (struct memsc_pages), whose number
 * stands here, read-only and only if the kernel says that this process of this user made it.
 */
#ifndef MEMSC_REGISTRY_H
#define MEMSC_REGISTRY_H

#include "barrier.h"
#include "layout.h"
#include "memsc.h"

#define MEMSC_REGISTRY_VERSION 1u /* part of the key: other versions never meet */

enum {
    MEMSC_MEMBERS = 256, /* processes that share one service CPU; more of them do not cooperate */
    MEMSC_REGISTRY_KEYS = 8, /* keys tried in turn: another user may sit on one */
};

enum memsc_member_state {
    MEMSC_MEMBER_PARKED = 0, /* asleep until a poster rings its doorbell */
    MEMSC_MEMBER_WAITING,    /* asleep on `state`: the token's holder watches its pages */
    MEMSC_MEMBER_HOLDS,      /* polls */
    MEMSC_MEMBER_LOST,       /* had the token and did not move: another one took it */
};

/* One process. */
struct memsc_member {
    /* Written at registration. */

    /* The thread that joined, 0: nobody; the kernel writes FUTEX_OWNER_DIED when it ends, however it
     * ends. */
    alignas(MEMSC_LINE) _Atomic uint32_t owner;
    _Atomic uint32_t generation; /* changes last when somebody joins */
    _Atomic uint32_t pid;
    _Atomic int32_t pages_id; /* of its segment */
    _Atomic uint32_t scanner; /* enum memsc_service_mode */
    /* Service lines: inline, the one that polls here; scanner, 1 … services-1. */
    _Atomic uint32_t services;

    /* Written by the process itself and by the one that hands it the token. */
    alignas(MEMSC_LINE) _Atomic uint32_t state; /* futex: enum memsc_member_state */
    _Atomic uint32_t pooled;                    /* its pool threads want this CPU now and then */

    /* Written by its workers and by the scanner: futexes, as in service lines. */
    alignas(MEMSC_LINE) _Atomic uint32_t parked[MEMSC_MAX_SERVICES];
};

struct memsc_registry {
    _Atomic uint64_t identity; /* user << 32 | 1 + CPU */
    /* Written when the token passes: 1 + the member that has it, 0: nobody polls. */
    alignas(MEMSC_LINE) _Atomic uint32_t holder;
    /* Written by the holder. */
    alignas(MEMSC_LINE) _Atomic uint32_t heartbeat; /* moves while the holder does */
    /* Written at registration. */
    alignas(MEMSC_LINE) _Atomic uint32_t changes; /* moves when somebody comes */
    _Atomic uint32_t members_used;                /* entries ever taken */
    struct memsc_member members[MEMSC_MEMBERS];
};

/* What a process knows privately about a registry that it has joined. */
struct memsc_membership {
    struct memsc_registry *registry;     /* NULL: this service CPU is shared with nobody */
    struct memsc_member *_Atomic member; /* NULL until the service's own thread has joined */
    int id;
    uint32_t me;      /* 1 + number of the member */
    uint32_t changes; /* seen */
    uint32_t yields;  /* still owed to a newcomer */
    uint32_t looks, cursor, watched;
    uint32_t late;  /* scanner: looks in a row at another process's call whose worker is awake */
    uint64_t since; /* cycles: the token came */
    uint64_t aside; /* cycles: the CPU was last left to others for a while */
    uint64_t quantum;
    _Atomic uint32_t heartbeat;       /* seen by callers … */
    _Atomic uint64_t heartbeat_since; /* … since these cycles */
    uint8_t watch[MEMSC_MEMBERS];     /* numbers of other members, `watched` of them */
    struct memsc_neighbour {
        const struct memsc_pages *pages; /* NULL: cannot be mapped */
        uint32_t generation, scanner, services;
    } neighbours[MEMSC_MEMBERS];
    struct { /* as the kernel wants it: struct robust_list_head */
        void *next;
        long offset;
        void *pending;
    } robust;
};

/* registry.c. Attaches to the registry of this user and CPU; without one the membership stays all zero,
 * and the process polls as if alone. */
void memsc_registry_open(struct memsc_membership *membership, uint32_t cpu);
void memsc_registry_close(struct memsc_membership *membership);

/* The process ends in order: the last one removes the registry. */
void memsc_registry_finish(const struct memsc_membership *membership);

/* Makes the calling thread a member, which must live as long as the service; `pages_id` as in
 * struct memsc_process. */
void memsc_registry_join(struct memsc_membership *membership, uint32_t pid, int pages_id,
                         uint32_t scanner, uint32_t services);

/* Somebody new wants this CPU: what polls there lets it have it. */
void memsc_registry_announce(const struct memsc_membership *membership);

/* Brings `watch` and `neighbours` up to date. */
void memsc_registry_refresh(struct memsc_membership *membership);

/* Is nobody there any more? */
static inline int memsc_member_gone(const struct memsc_member *member)
{
    enum { TID_MASK = 0x3fffffff };
    return !(load_acquire(&member->owner) & TID_MASK);
}

/* Key of a registry; attempt below MEMSC_REGISTRY_KEYS. */
MEMSC_API uint32_t memsc_registry_key_of(uint32_t user, uint32_t cpu, uint32_t attempt);

#endif
