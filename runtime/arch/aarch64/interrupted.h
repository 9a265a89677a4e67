/* SPDX-License-Identifier: MIT
 *
 * What a signal's handler finds of the thread that it interrupts, and where it returns to (recall_signal.c).
 */
#ifndef MEMSC_INTERRUPTED_H
#define MEMSC_INTERRUPTED_H

#include <stdbool.h>
#include <ucontext.h>

#include "raw.h"
#include "signals.h"

static void learn_processor(void)
{
}

/* At a system call that is to be made again, or is about to be made for the first time. */
static bool is_restarted(const ucontext_t *context)
{
    const uint8_t *at = (const uint8_t *)context->uc_mcontext.pc;
    return at[0] == 0x01 && at[1] == 0 && at[2] == 0 && at[3] == 0xd4;
}

/* Goes on behind that call, as if it had returned the result. */
static void skip_call(ucontext_t *context, long result)
{
    context->uc_mcontext.pc += MEMSC_SYSCALL_BYTES;
    context->uc_mcontext.regs[0] = (uint64_t)result;
}

/* The kernel has a place of its own for handlers to return to. */
static void set_restorer(struct memsc_action *action)
{
    (void)action;
}

#endif
