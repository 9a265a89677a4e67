/* SPDX-License-Identifier: MIT */
#include "state.h"

/* How far below the frame's address a register is saved, in words; 0: it is as it was. */
static unsigned words_below(const struct rule *rule)
{
    bool told = rule->how == AT && rule->number < 0 && rule->number % 8 == 0 &&
                rule->number >= -8 * MEMSC_MORE_MOST;
    return told ? (unsigned)(-rule->number / 8) : 0;
}

/* `*(register + offset)`, and perhaps `+ addend` behind it. */
static bool is_indirect(struct bytes expression, unsigned *reg, int64_t *offset, uint64_t *addend)
{
    enum { BREG = 0x70, DEREF = 0x06, PLUS_UCONST = 0x23 };
    *reg = (unsigned)take(&expression, 1) - BREG;
    *offset = take_difference(&expression);
    *addend = 0;
    if (take(&expression, 1) != DEREF)
        return false;
    if (expression.at < expression.end) {
        if (take(&expression, 1) != PLUS_UCONST)
            return false;
        *addend = take_number(&expression);
    }
    return !expression.bad && expression.at == expression.end;
}

/* The linker's description of the lazy procedure linkage table: rsp + 8 + ((rip & 15) >= N) * 8. Returns N, -1: it
 * is something else. */
static int linkage_table(struct bytes expression)
{
    static const uint8_t head[] = {0x77, 8, 0x80, 0, 0x3f, 0x1a}, tail[] = {0x2a, 0x33, 0x24, 0x22};
    if (expression.end - expression.at != sizeof head + 1 + sizeof tail ||
        memcmp(expression.at, head, sizeof head) ||
        memcmp(expression.at + sizeof head + 1, tail, sizeof tail))
        return -1;
    int literal = expression.at[sizeof head] - 0x30;
    return literal >= 0 && literal < 16 ? literal : -1;
}

/* The layer's own (layer/stub.S): the return address stands in the slot. */
static bool is_slot(struct bytes expression)
{
    static const uint8_t slot[] = {
        0x80, 0, 0x09, (uint8_t)-MEMSC_WALK_SLOT, 0x1a, 0x23, MEMSC_WALK_RESUME};
    return expression.end - expression.at == sizeof slot &&
           !memcmp(expression.at, slot, sizeof slot);
}

static uint64_t rule_of_signal(const struct state *state)
{
    unsigned reg;
    int64_t offset;
    uint64_t addend;
    if (state->frame.how == EXPRESSION &&
        is_indirect(state->frame.expression, &reg, &offset, &addend) && reg == MEMSC_RSP && !addend)
        return rule_of(MEMSC_SIGNAL, 0, 0, MEMSC_RSP, offset - MEMSC_UC_RSP);
    return untold();
}

static uint64_t rule_of_expression(struct bytes expression, unsigned rbp)
{
    unsigned reg;
    int64_t offset;
    uint64_t addend;
    if (is_indirect(expression, &reg, &offset, &addend)) {
        if ((reg != MEMSC_RSP && reg != MEMSC_RBP) || addend % 8 || addend / 8 > MEMSC_MORE_MOST)
            return untold();
        return rule_of(MEMSC_INDIRECT, rbp, (unsigned)(addend / 8), reg, offset);
    }
    int literal = linkage_table(expression);
    return literal < 0 ? untold() : rule_of(MEMSC_LINKAGE, 0, 0, MEMSC_RSP, literal);
}

uint64_t memsc_rule_of_state(const struct state *state, bool signal)
{
    const struct rule *caller = &state->registers[RIP];
    if (caller->how == UNDEFINED)
        return rule_of(MEMSC_OUTERMOST, 0, 0, 0, 0);
    if (signal)
        return rule_of_signal(state);
    bool by_register = state->frame.how == IN && state->frame_register < RIP;
    unsigned reg = (unsigned)state->frame_register;
    int64_t offset = state->frame.number;
    if (by_register && reg == MEMSC_RSP) {
        if (caller->how == EXPRESSION && is_slot(caller->expression))
            return rule_of(MEMSC_SLOT, 0, 0, reg, offset);
        if (caller->how == IN && caller->number >= 0 && caller->number < RIP)
            return rule_of(MEMSC_RETURN_IN, 0, (unsigned)caller->number, reg, offset);
    }
    if (caller->how != AT || caller->number != -8)
        return untold();
    unsigned rbp = words_below(&state->registers[MEMSC_RBP]);
    if (by_register) {
        if (reg != MEMSC_RSP && reg != MEMSC_RBP && reg != MEMSC_RBX)
            return rule_of(MEMSC_INNERMOST, rbp, 0, reg, offset);
        return rule_of(MEMSC_PLAIN, rbp, words_below(&state->registers[MEMSC_RBX]), reg, offset);
    }
    return state->frame.how == EXPRESSION ? rule_of_expression(state->frame.expression, rbp)
                                          : untold();
}
