/* SPDX-License-Identifier: MIT
 *
 * Sleeping without losing a call.
 *
 * Two parties, each of which announces (one store) and then checks what the other announced (one
 * load): the poster publishes an entry and checks whether the service has parked; the service
 * announces that it parks and checks for entries. Without a full barrier between store and load on
 * *both* sides, both may miss each other and the call is lost.
 *
 * One side does it for every call, the other once per sleep. membarrier(2) lets the rare side pay
 * for both: it makes every running thread of the process execute a full barrier, so the frequent side
 * needs only to keep the compiler from swapping its store and its load. Where the kernel refuses
 * membarrier, and for the transports `ipi` and `adaptive`, whose sleeps may be as frequent as their
 * calls and must send no interrupts but the wake-ups being measured, both sides use a plain full
 * barrier.
 */
#ifndef MEMSC_HANDSHAKE_H
#define MEMSC_HANDSHAKE_H

#include <linux/futex.h>
#include <linux/membarrier.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>

#include "barrier.h"
#include "cpu.h"

/* The frequent side: between its announcement and its check. */
static inline void memsc_light_barrier(bool symmetric)
{
    if (symmetric)
        full_barrier();
    else
        compiler_barrier();
}

/* The rare side: between its announcement and its check. */
static inline void memsc_heavy_barrier(bool symmetric)
{
    full_barrier();
    if (!symmetric)
        MEMSC_SYS(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0, 0, 0, 0);
}

/* Sleeps while *word holds value. microseconds 0: no time limit. */
static inline long memsc_futex_wait(_Atomic uint32_t *word, uint32_t value, uint64_t microseconds)
{
    struct {
        int64_t seconds, nanoseconds;
    } limit = {(int64_t)(microseconds / 1000000), (int64_t)(microseconds % 1000000 * 1000)};
    return MEMSC_SYS(SYS_futex, word, FUTEX_WAIT, value, microseconds ? &limit : 0, 0, 0);
}

static inline void memsc_futex_wake(_Atomic uint32_t *word, uint32_t waiters)
{
    MEMSC_SYS(SYS_futex, word, FUTEX_WAKE, waiters, 0, 0, 0);
}

#endif
