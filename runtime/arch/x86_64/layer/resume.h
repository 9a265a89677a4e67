/* SPDX-License-Identifier: MIT
 *
 * Back into the stub of a call, out of a signal handler.
 */
#ifndef MEMSC_LAYER_RESUME_H
#define MEMSC_LAYER_RESUME_H

#include <stdint.h>
#include <ucontext.h>

#include "slots.h"

/* The interrupted thread goes on `at` in the stub of its call, whose frame begins with the arguments, and
 * nothing below that is there any more. */
static inline void memsc_resume(ucontext_t *interrupted, const uint64_t *args, const uint8_t *at,
                                long result)
{
    enum { R15 = 6, R14, R13, R12, RBX, NUMBER }; /* in the frame, behind the arguments */
    greg_t *registers = interrupted->uc_mcontext.gregs;
    registers[REG_R15] = (greg_t)args[R15];
    registers[REG_R14] = (greg_t)args[R14];
    registers[REG_R13] = (greg_t)args[R13];
    registers[REG_R12] = (greg_t)args[R12];
    registers[REG_RBX] = (greg_t)args[RBX];
    registers[REG_RBP] = (greg_t)args + MEMSC_FRAME_BELOW;
    registers[REG_RSP] = (greg_t)args & -16;
    registers[REG_RIP] = (greg_t)at;
    registers[REG_RDI] = (greg_t)args[NUMBER];
    registers[REG_RSI] = (greg_t)args;
    registers[REG_RDX] = result;
}

#endif
