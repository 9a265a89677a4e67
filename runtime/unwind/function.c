/* SPDX-License-Identifier: MIT */
#include "function.h"

enum { KEPT_STATES = 16 };

void memsc_put_row(struct output *output, uint64_t address, uint64_t rule)
{
    if (output->count < output->room)
        output->rows[output->count] = (struct memsc_unwind_row){address, rule};
    output->count++;
}

static void settle(struct function *function, const struct state *state)
{
    uint64_t rule = memsc_rule_of_state(state, function->common->signal);
    if (rule != function->rule)
        memsc_put_row(function->output, function->address, rule);
    function->rule = rule;
}

static struct rule saved_at(const struct common *common, uint64_t number)
{
    return (struct rule){.how = AT, .number = (int64_t)(number * (uint64_t)common->data_factor)};
}

static struct rule by_expression(struct bytes *bytes)
{
    return (struct rule){.how = EXPRESSION, .expression = take_block(bytes, take_number(bytes))};
}

bool memsc_follow(struct bytes bytes, struct function *function, struct state *state)
{
    const struct common *common = function->common;
    struct state kept[KEPT_STATES];
    unsigned depth = 0;
    while (bytes.at < bytes.end) {
        uint8_t code = (uint8_t)take(&bytes, 1), low = code & 0x3f;
        uint64_t reg = NO_REGISTER, advance = 0;
        struct rule rule = {.how = SAME};
        bool advances = false, restores = false;
        switch (code & 0xc0) {
        case 0x40: /* DW_CFA_advance_loc */
            advance = low, advances = true;
            code = 0;
            break;
        case 0x80: /* DW_CFA_offset */
            reg = low, rule = saved_at(common, take_number(&bytes));
            code = 0;
            break;
        case 0xc0: /* DW_CFA_restore */
            reg = low, restores = true;
            code = 0;
            break;
        }
        switch (code) {
        case 0x00: /* DW_CFA_nop */
            break;
        case 0x02: /* DW_CFA_advance_loc1, 2, 4 */
        case 0x03:
        case 0x04:
            advance = take(&bytes, 1u << (code - 2)), advances = true;
            break;
        case 0x05: /* DW_CFA_offset_extended */
            reg = take_number(&bytes), rule = saved_at(common, take_number(&bytes));
            break;
        case 0x06: /* DW_CFA_restore_extended */
            reg = take_number(&bytes), restores = true;
            break;
        case 0x07: /* DW_CFA_undefined */
            reg = take_number(&bytes), rule.how = UNDEFINED;
            break;
        case 0x08: /* DW_CFA_same_value */
            reg = take_number(&bytes);
            break;
        case 0x09: /* DW_CFA_register */
            reg = take_number(&bytes);
            rule = (struct rule){.how = IN, .number = (int64_t)take_number(&bytes)};
            break;
        case 0x0a: /* DW_CFA_remember_state */
            if (depth == KEPT_STATES)
                return false;
            kept[depth++] = *state;
            break;
        case 0x0b: /* DW_CFA_restore_state */
            if (!depth)
                return false;
            *state = kept[--depth];
            break;
        case 0x0c: /* DW_CFA_def_cfa */
            state->frame_register = take_number(&bytes);
            state->frame = (struct rule){.how = IN, .number = (int64_t)take_number(&bytes)};
            break;
        case 0x0d: /* DW_CFA_def_cfa_register */
            state->frame_register = take_number(&bytes);
            break;
        case 0x0e: /* DW_CFA_def_cfa_offset */
            state->frame.number = (int64_t)take_number(&bytes);
            break;
        case 0x0f: /* DW_CFA_def_cfa_expression */
            state->frame = by_expression(&bytes);
            break;
        case 0x10: /* DW_CFA_expression */
            reg = take_number(&bytes), rule = by_expression(&bytes);
            break;
        case 0x11: /* DW_CFA_offset_extended_sf */
            reg = take_number(&bytes), rule = saved_at(common, (uint64_t)take_difference(&bytes));
            break;
        case 0x12: /* DW_CFA_def_cfa_sf */
            state->frame_register = take_number(&bytes);
            state->frame = saved_at(common, (uint64_t)take_difference(&bytes));
            state->frame.how = IN;
            break;
        case 0x13: /* DW_CFA_def_cfa_offset_sf */
            state->frame.number = saved_at(common, (uint64_t)take_difference(&bytes)).number;
            break;
        case 0x14: /* DW_CFA_val_offset, _sf */
        case 0x15:
            reg = take_number(&bytes), rule.how = UNTOLD;
            take_number(&bytes);
            break;
        case 0x16: /* DW_CFA_val_expression */
            reg = take_number(&bytes), rule = by_expression(&bytes);
            rule.how = UNTOLD;
            break;
        case 0x2e: /* DW_CFA_GNU_args_size */
            take_number(&bytes);
            break;
        case 0x2f: /* DW_CFA_GNU_negative_offset_extended */
            reg = take_number(&bytes), rule = saved_at(common, -take_number(&bytes));
            break;
        default:
            return false;
        }
        if (bytes.bad)
            return false;
        if (restores && !function->initial)
            return false;
        if (reg < REGISTERS)
            state->registers[reg] = restores ? function->initial->registers[reg] : rule;
        if (!advances)
            continue;
        if (!function->output)
            return false;
        settle(function, state);
        advance *= common->code_factor;
        if (advance >= function->end - function->address)
            return true; /* what follows is of no instruction */
        function->address += advance;
    }
    if (function->output)
        settle(function, state);
    return true;
}
