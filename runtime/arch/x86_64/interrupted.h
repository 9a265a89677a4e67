/* SPDX-License-Identifier: MIT
 *
 * What a signal's handler finds of the thread that it interrupts, and where it returns to (recall_signal.c).
 */
#ifndef MEMSC_INTERRUPTED_H
#define MEMSC_INTERRUPTED_H

#include <stdbool.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include "barrier.h"
#include "raw.h"
#include "signals.h"

enum { MEMSC_RESTORER = 0x04000000 /* SA_RESTORER */ };

static _Atomic bool leaves_address; /* in rcx: all processors without FRED */

static void learn_processor(void)
{
    long number = SYS_getpid, rcx = 0;
    __asm__ volatile("syscall" : "+a"(number), "+c"(rcx)::"r11", "memory");
    store_relaxed(&leaves_address, rcx != 0);
}

/* At a system call that has been made and is to be made again. If the processor does not tell, it may
 * also be about to be made for the first time: one instruction of its way. */
static bool is_restarted(const ucontext_t *context)
{
    const greg_t *registers = context->uc_mcontext.gregs;
    const uint8_t *at = (const uint8_t *)registers[REG_RIP];
    return at[0] == 0x0f && at[1] == 0x05 &&
           (!load_relaxed(&leaves_address) ||
            registers[REG_RCX] == registers[REG_RIP] + MEMSC_SYSCALL_BYTES);
}

/* Goes on behind that call, as if it had returned the result. */
static void skip_call(ucontext_t *context, long result)
{
    context->uc_mcontext.gregs[REG_RIP] += MEMSC_SYSCALL_BYTES;
    context->uc_mcontext.gregs[REG_RAX] = result;
}

/* sigreturn.S. */
void memsc_recall_return(void);

/* Where the kernel lets the handler return to. */
static void set_restorer(struct memsc_action *action)
{
    action->flags |= MEMSC_RESTORER;
    action->restorer = (uint64_t)memsc_recall_return;
}

#endif
