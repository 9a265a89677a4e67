/* SPDX-License-Identifier: MIT
 *
 * The calling thread's signal mask, around what a handler must not come between: one may never come back,
 * and then whatever is locked stays so.
 */
#ifndef MEMSC_SIGNALS_H
#define MEMSC_SIGNALS_H

#include <stdint.h>
#include <sys/syscall.h>

#include "cpu.h"

enum { MEMSC_SET_MASK = 2 /* SIG_SETMASK; its header is the C library's own */ };

static inline void memsc_set_signals(uint64_t mask)
{
    MEMSC_SYS(SYS_rt_sigprocmask, MEMSC_SET_MASK, &mask, 0, sizeof mask, 0, 0);
}

/* What is done about a signal, as the kernel has it. */
struct memsc_action {
    uint64_t handler, flags, restorer, mask;
};

/* Returns the mask that was, for memsc_set_signals. */
static inline uint64_t memsc_block_signals(void)
{
    uint64_t all = ~0ull, before = 0;
    MEMSC_SYS(SYS_rt_sigprocmask, MEMSC_SET_MASK, &all, &before, sizeof all, 0, 0);
    return before;
}

#endif
