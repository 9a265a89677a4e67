/* SPDX-License-Identifier: MIT
 *
 * A futex lock for the rare paths: registration, hand-off to the pool, change of the poller.
 */
#ifndef MEMSC_LOCK_H
#define MEMSC_LOCK_H

#include "handshake.h"

struct memsc_lock {
    _Atomic uint32_t word; /* 0 free, 1 held, 2 held and waited for */
};

static inline void memsc_lock(struct memsc_lock *lock)
{
    uint32_t seen = 0;
    /* Acquire: what the previous holder wrote is visible. */
    if (atomic_compare_exchange_strong_explicit(&lock->word, &seen, 1, memory_order_acquire,
                                                memory_order_relaxed))
        return;
    while (atomic_exchange_explicit(&lock->word, 2, memory_order_acquire) != 0)
        memsc_futex_wait(&lock->word, 2, 0);
}

static inline void memsc_unlock(struct memsc_lock *lock)
{
    /* Release: what this holder wrote is visible to the next. */
    if (atomic_exchange_explicit(&lock->word, 0, memory_order_release) == 2)
        memsc_futex_wake(&lock->word, 1);
}

#endif
