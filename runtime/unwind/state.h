/* SPDX-License-Identifier: MIT
 *
 * Where a frame's registers are, in the middle of a function: as its instructions say it, and as the rule by which
 * stacks are walked.
 */
#ifndef MEMSC_UNWIND_STATE_H
#define MEMSC_UNWIND_STATE_H

#include "bytes.h"

typedef uint64_t u64;

#include "rules.h"

enum {
    RIP = 16, /* as DWARF numbers it (psABI for x86-64, figure 3.36) */
    REGISTERS,
    NO_REGISTER = 0xff,
};

enum how {
    SAME = 0,
    AT, /* saved at the frame's address + number */
    EXPRESSION,
    IN, /* in the register of that number */
    UNDEFINED,
    UNTOLD, /* in a way that nobody but a debugger needs */
};

struct rule {
    enum how how;
    int64_t number;
    struct bytes expression;
};

/* The frame's address (CFA) is a register and an offset, or an expression. */
struct state {
    struct rule frame; /* IN: of frame_register, plus number; EXPRESSION; else not known */
    uint64_t frame_register;
    struct rule registers[REGISTERS];
};

/* A rule of the kinds in rules.h: one that knows nothing where the offset does not fit. */
static inline uint64_t rule_of(unsigned kind, unsigned rbp, unsigned more, unsigned reg,
                               int64_t offset)
{
    if (offset >> (MEMSC_OFFSET_BITS - 1) != 0 && offset >> (MEMSC_OFFSET_BITS - 1) != -1)
        return MEMSC_RULE(MEMSC_UNTOLD, 0, 0, 0, 0);
    return MEMSC_RULE(kind, rbp, more, reg, (uint64_t)offset);
}

static inline uint64_t untold(void)
{
    return rule_of(MEMSC_UNTOLD, 0, 0, 0, 0);
}

/* The rule by which a walk passes such a frame; `signal`: the kernel made it, for a signal's handler. */
uint64_t memsc_rule_of_state(const struct state *state, bool signal);

#endif
