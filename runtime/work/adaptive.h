/* SPDX-License-Identifier: MIT
 *
 * One of the peers: two threads that poll for each other for a while, and sleep if nothing comes.
 */
#ifndef MEMSC_WORK_ADAPTIVE_H
#define MEMSC_WORK_ADAPTIVE_H

#include <linux/futex.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cpu.h"

/* Polling before sleeping: whoever has polled long enough changes his own state from polling to
 * asleep, and whoever has news for him changes it back and knows whether he must wake him. */
enum { POLLING, ASLEEP, POLLS = 4096 };

static alignas(64) _Atomic uint32_t told; /* 0 nothing to do, 1 requested; and back */
static alignas(64) _Atomic uint32_t caller_state;
static alignas(64) _Atomic uint32_t server_state;

static void tell(uint32_t value, _Atomic uint32_t *other)
{
    /* Sequentially consistent, here and in await(): news and state are stored by one side and loaded
     * by the other, crosswise, so one of the two must see what the other stored. */
    atomic_store(&told, value);
    if (atomic_load(other) == ASLEEP && atomic_exchange(other, POLLING) == ASLEEP)
        syscall(SYS_futex, other, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void await(uint32_t value, _Atomic uint32_t *mine)
{
    for (int i = 0; i < POLLS; i++) {
        /* Acquire: what the other left, after the word that says it is there. */
        if (atomic_load_explicit(&told, memory_order_acquire) != value)
            return;
        memsc_pause();
    }
    atomic_store(mine, ASLEEP);
    while (atomic_load(&told) == value)
        syscall(SYS_futex, mine, FUTEX_WAIT_PRIVATE, ASLEEP, NULL, NULL, 0);
    atomic_store(mine, POLLING);
}

static void adaptive_request(void)
{
    tell(1, &server_state);
}
static void adaptive_reply(void)
{
    tell(0, &caller_state);
}
static void adaptive_await_request(void)
{
    await(0, &server_state);
}
static void adaptive_await_reply(void)
{
    await(1, &caller_state);
}

#endif
