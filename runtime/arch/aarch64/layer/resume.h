/* SPDX-License-Identifier: MIT
 *
 * Back into the stub of a call out of a signal handler. Of bridges (bridge.h) there are none here.
 */
#ifndef MEMSC_LAYER_RESUME_H
#define MEMSC_LAYER_RESUME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <ucontext.h>

#include "slots.h"

/* The interrupted thread goes on `at` in the stub of its call, whose frame begins with the arguments, and
 * nothing below that is there any more. */
static inline void memsc_resume(ucontext_t *interrupted, const uint64_t *args, const uint8_t *at,
                                long result)
{
    enum { FIRST_KEPT = 19, LAST_KEPT = 28, FRAME_POINTER = 29, BRANCH_TYPE = 3 << 10 };
    enum {
        NUMBER = (MEMSC_FRAME_NUMBER - MEMSC_FRAME_ARGS) / 8,
        KEPT = (MEMSC_FRAME_KEPT - MEMSC_FRAME_ARGS) / 8,
    };
    uint64_t frame = (uint64_t)args - MEMSC_FRAME_ARGS;
    mcontext_t *registers = &interrupted->uc_mcontext;
    for (int i = FIRST_KEPT; i <= LAST_KEPT; i++)
        registers->regs[i] = args[KEPT + i - FIRST_KEPT];
    registers->regs[FRAME_POINTER] = frame + MEMSC_FRAME_RECORD;
    registers->sp = frame;
    registers->pc = (uint64_t)at;
    registers->pstate &= ~(uint64_t)BRANCH_TYPE; /* it may have been interrupted behind a branch */
    registers->regs[0] = args[NUMBER];
    registers->regs[1] = (uint64_t)args;
    registers->regs[2] = (uint64_t)result;
}

static inline uint64_t memsc_bridge_behind(const uint64_t *args)
{
    (void)args;
    return 0;
}

static inline bool memsc_resume_on_bridge(ucontext_t *interrupted, const uint64_t *args)
{
    (void)interrupted, (void)args;
    return false;
}

static inline const uint64_t *memsc_about_to_make(const ucontext_t *interrupted, long *number)
{
    (void)interrupted, (void)number;
    return NULL;
}

static inline bool memsc_move_to_bridge(ucontext_t *interrupted)
{
    (void)interrupted;
    return false;
}

#endif
