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

#include "areas.h"
#include "bridge.h"
#include "slots.h"
#include "stub.h"

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

/* The bridge that a call comes from, by its stub's frame; 0: it comes from none. */
static inline uint64_t memsc_bridge_behind(const uint64_t *args)
{
    uint64_t link = args[(MEMSC_FRAME_LINK - MEMSC_FRAME_ARGS) / 8];
    return memsc_bridge_of((const uint8_t *)(link & -(uint64_t)MEMSC_SLOT_BYTES));
}

static inline void memsc_go_on_at(ucontext_t *interrupted, uint64_t bridge)
{
    enum { BRANCH_TYPE = 3 << 10 };
    interrupted->uc_mcontext.pc = bridge;
    interrupted->uc_mcontext.pstate &= ~(uint64_t)BRANCH_TYPE;
}

/* The interrupted thread is to go on at the `svc` of its call, whose stub's frame begins with the arguments, and
 * nothing below that is there any more. False: the call came from no bridge. */
static inline bool memsc_resume_on_bridge(ucontext_t *interrupted, const uint64_t *args)
{
    enum { FIRST_KEPT = 19, LAST_KEPT = 28, FRAME_POINTER = 29, LINK, NUMBER = 8, ARGS = 6 };
    const uint8_t *frame = (const uint8_t *)args - MEMSC_FRAME_ARGS;
    const uint64_t *site = (const uint64_t *)(const void *)frame;
    const uint64_t *kept = (const uint64_t *)(const void *)(frame + MEMSC_FRAME_KEPT);
    const uint64_t *number = (const uint64_t *)(const void *)(frame + MEMSC_FRAME_NUMBER);
    mcontext_t *registers = &interrupted->uc_mcontext;
    uint64_t bridge = memsc_bridge_behind(args);
    if (!bridge)
        return false;
    for (int i = 0; i < ARGS; i++)
        registers->regs[i] = args[i];
    registers->regs[NUMBER] = *number;
    for (int i = FIRST_KEPT; i <= LAST_KEPT; i++)
        registers->regs[i] = kept[i - FIRST_KEPT];
    registers->regs[FRAME_POINTER] = site[0];
    registers->regs[LINK] = site[1];
    registers->sp = (uint64_t)frame + MEMSC_FRAME_BYTES;
    memsc_go_on_at(interrupted, bridge);
    return true;
}

/* The arguments and the number of the call that the interrupted thread is about to make by memsc_raw_marked;
 * NULL: none. */
static inline const uint64_t *memsc_about_to_make(const ucontext_t *interrupted, long *number)
{
    const mcontext_t *registers = &interrupted->uc_mcontext;
    const uint8_t *at = (const uint8_t *)registers->pc;
    *number = (long)registers->regs[8];
    return at >= memsc_raw_open && at < memsc_raw_made ? (const uint64_t *)registers->regs[9]
                                                       : NULL;
}

/* Takes registers back that were saved on the stack. */
static inline void memsc_take_back(mcontext_t *registers, int first, int second)
{
    const uint64_t *saved = (const uint64_t *)registers->sp;
    registers->regs[first] = saved[0];
    registers->regs[second] = saved[1];
    registers->sp += 16;
}

/* memsc_resume_on_bridge for a thread on its way from a slot to the `svc` of its bridge. */
static inline bool memsc_move_to_bridge(ucontext_t *interrupted)
{
    mcontext_t *registers = &interrupted->uc_mcontext;
    const uint8_t *at = (const uint8_t *)registers->pc;
    if (at >= memsc_bridge_local && at < memsc_bridge_end) {
        bool sent = at == memsc_bridge_sent;
        if (!sent && at >= memsc_bridge_send)
            return false;
        if (sent)
            memsc_take_back(registers, 2, 8);
        if (sent || (at >= memsc_bridge_saved && at < memsc_bridge_restored))
            memsc_take_back(registers, 0, 1);
        memsc_go_on_at(interrupted, registers->regs[17]);
        return true;
    }
    if (!memsc_is_in_slots(at))
        return false;
    const uint8_t *slot = (const uint8_t *)((uint64_t)at & -(uint64_t)MEMSC_SLOT_BYTES);
    uint64_t bridge = memsc_bridge_of(slot);
    bool decided = at >= slot + MEMSC_SLOT_DECIDED && at < slot + MEMSC_SLOT_ENTRY;
    if (!bridge || !decided)
        return false;
    if (at == slot + MEMSC_SLOT_DECIDED) {
        memsc_take_back(registers, 29, 30);
        registers->sp += MEMSC_FRAME_BYTES - 16;
    }
    memsc_go_on_at(interrupted, bridge);
    return true;
}

#endif
