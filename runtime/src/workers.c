/* SPDX-License-Identifier: MIT
 *
 * The table of the service's threads.
 */
#include <stddef.h>

#include "service.h"

/* Workers are few and live as long as the service. Those who look at them, in a signal handler too, look
 * at all places that were ever taken. */
static struct memsc_worker workers[MEMSC_MAX_WORKERS];
static _Atomic uint32_t workers_used;

struct memsc_worker *memsc_worker_take(void)
{
    for (uint32_t at = 0; at < MEMSC_MAX_WORKERS; at++) {
        uint32_t nobody = 0;
        if (!atomic_compare_exchange_strong(&workers[at].taken, &nobody, 1))
            continue;
        uint32_t used = atomic_load(&workers_used);
        while (used <= at && !atomic_compare_exchange_strong(&workers_used, &used, at + 1))
            ;
        return &workers[at];
    }
    return NULL;
}

struct memsc_worker *memsc_worker_at(uint32_t at)
{
    return at < load_acquire(&workers_used) ? &workers[at] : NULL;
}

void memsc_workers_reset(void)
{
    for (uint32_t at = atomic_exchange(&workers_used, 0); at > 0; at--)
        atomic_store(&workers[at - 1].taken, 0);
}
