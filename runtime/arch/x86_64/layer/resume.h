/* SPDX-License-Identifier: MIT
 *
 * Back into the stub of a call, or to its bridge, out of a signal handler.
 */
#ifndef MEMSC_LAYER_RESUME_H
#define MEMSC_LAYER_RESUME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <ucontext.h>

#include "bridge.h"
#include "slots.h"
#include "stub.h"

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

/* The bridge that a call comes from, by its stub's frame; 0: it comes from none. */
static inline uint64_t memsc_bridge_behind(const uint64_t *args)
{
    uint64_t back = args[(MEMSC_FRAME_BELOW + 8) / 8];
    return memsc_bridge_of((const uint8_t *)(back & -(uint64_t)MEMSC_SLOT_BYTES));
}

/* The interrupted thread is to go on at the `syscall` of its call, whose stub's frame begins with the
 * arguments, and nothing below that is there any more. False: the call came from no bridge. */
static inline bool memsc_resume_on_bridge(ucontext_t *interrupted, const uint64_t *args)
{
    enum { R15 = 6, R14, R13, R12, RBX, NUMBER, FLAGS, RBP, BACK, SITE }; /* behind the arguments */
    greg_t *registers = interrupted->uc_mcontext.gregs;
    uint64_t bridge = memsc_bridge_behind(args);
    if (!bridge)
        return false;
    registers[REG_RDI] = (greg_t)args[0];
    registers[REG_RSI] = (greg_t)args[1];
    registers[REG_RDX] = (greg_t)args[2];
    registers[REG_R10] = (greg_t)args[3];
    registers[REG_R8] = (greg_t)args[4];
    registers[REG_R9] = (greg_t)args[5];
    registers[REG_R15] = (greg_t)args[R15];
    registers[REG_R14] = (greg_t)args[R14];
    registers[REG_R13] = (greg_t)args[R13];
    registers[REG_R12] = (greg_t)args[R12];
    registers[REG_RBX] = (greg_t)args[RBX];
    registers[REG_RBP] = (greg_t)args[RBP];
    registers[REG_RAX] = (greg_t)args[NUMBER];
    registers[REG_RSP] = (greg_t)(args + SITE) + MEMSC_RED_ZONE;
    registers[REG_RIP] = (greg_t)bridge;
    return true;
}

/* The arguments and the number of the call that the interrupted thread is about to make by memsc_raw_marked;
 * NULL: none. */
static inline const uint64_t *memsc_about_to_make(const ucontext_t *interrupted, long *number)
{
    const greg_t *registers = interrupted->uc_mcontext.gregs;
    const uint8_t *at = (const uint8_t *)registers[REG_RIP];
    *number = registers[REG_RAX];
    return at >= memsc_raw_open && at < memsc_raw_made ? *(const uint64_t **)registers[REG_RSP]
                                                       : NULL;
}

/* memsc_resume_on_bridge for a thread on its way from a slot to the `syscall` of its bridge. */
static inline bool memsc_move_to_bridge(ucontext_t *interrupted)
{
    greg_t *registers = interrupted->uc_mcontext.gregs;
    const uint8_t *at = (const uint8_t *)registers[REG_RIP];
    if (at == memsc_bridge_sent) {
        const uint64_t *saved = (const uint64_t *)registers[REG_RSP];
        registers[REG_RDX] = (greg_t)saved[0];
        registers[REG_RSI] = (greg_t)saved[1];
        registers[REG_RDI] = (greg_t)saved[2];
        registers[REG_RAX] = (greg_t)saved[3];
        registers[REG_RIP] = (greg_t)saved[4];
        registers[REG_RSP] = (greg_t)(saved + 5) + MEMSC_RED_ZONE;
        return true;
    }
    if (at >= memsc_bridge_local && at < memsc_bridge_send) {
        registers[REG_RIP] = registers[REG_R11];
        return true;
    }
    if (at < memsc_stubs || at >= memsc_stubs_end)
        return false;
    const uint8_t *slot = (const uint8_t *)((uint64_t)at & -(uint64_t)MEMSC_SLOT_BYTES);
    uint64_t bridge = memsc_bridge_of(slot);
    bool decided = at >= slot + MEMSC_SLOT_BRIDGE ||
                   (at == slot + MEMSC_SLOT_DECIDED && registers[REG_RCX] == 0);
    if (!bridge || !decided)
        return false;
    registers[REG_RIP] = (greg_t)bridge;
    return true;
}

#endif
