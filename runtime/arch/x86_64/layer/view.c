/* SPDX-License-Identifier: MIT */
#include "view.h"

#include <stddef.h>

static bool bit(const uint8_t *bits, ptrdiff_t index)
{
    return bits[index / 8] >> index % 8 & 1;
}

static void set_bit(uint8_t *bits, ptrdiff_t index)
{
    bits[index / 8] |= (uint8_t)(1 << index % 8);
}

/* Whether execution may go on behind the last instruction of a function. A call there does not come
 * back: there is nothing to come back to. */
static bool falls_out(const struct memsc_instruction *last, const uint8_t *at)
{
    switch (last->flow) {
    case MEMSC_FLOW_NEXT:
    case MEMSC_FLOW_SYSCALL:
        return true;
    case MEMSC_FLOW_BRANCH:
        return *at != 0xe8;
    default:
        return false;
    }
}

void memsc_view_function(struct memsc_view *view, struct memsc_function function)
{
    ptrdiff_t size = function.end - function.begin;
    if (view->function.begin == function.begin && view->function.end == function.end)
        return;
    view->function = function;
    view->valid = view->indirect = false;
    if (size <= 0 || size >= MEMSC_LARGEST_FUNCTION)
        return;
    __builtin_memset(view->starts, 0, (size_t)size / 8 + 1);
    __builtin_memset(view->targets, 0, (size_t)size / 8 + 1);
    struct memsc_instruction instruction;
    for (const uint8_t *at = function.begin; at < function.end; at += instruction.length) {
        if (!memsc_decode(at, function.end, &instruction))
            return;
        set_bit(view->starts, at - function.begin);
        if (instruction.target >= function.begin && instruction.target < function.end)
            set_bit(view->targets, instruction.target - function.begin);
        view->indirect |= instruction.flow == MEMSC_FLOW_INDIRECT;
        view->falls_out = falls_out(&instruction, at);
    }
    view->valid = true;
}

bool memsc_view_begins(const struct memsc_view *view, const uint8_t *address)
{
    return bit(view->starts, address - view->function.begin);
}

bool memsc_view_targeted(const struct memsc_view *view, const uint8_t *from, const uint8_t *to)
{
    for (; from < to; from++)
        if (bit(view->targets, from - view->function.begin))
            return true;
    return false;
}

const uint8_t *memsc_view_previous(const struct memsc_view *view, const uint8_t *address)
{
    while (address > view->function.begin)
        if (memsc_view_begins(view, --address))
            return address;
    return NULL;
}

bool memsc_jumps_between(struct memsc_function function, const uint8_t *from, const uint8_t *to)
{
    struct memsc_instruction instruction;
    for (const uint8_t *at = function.begin; at < function.end; at += instruction.length) {
        if (!memsc_decode(at, function.end, &instruction))
            return true;
        if (instruction.target > from && instruction.target < to)
            return true;
    }
    return false;
}

bool memsc_all_padding(const uint8_t *from, const uint8_t *to)
{
    struct memsc_instruction instruction;
    for (; from < to; from += instruction.length)
        if (!memsc_decode(from, to, &instruction) || !instruction.padding)
            return false;
    return true;
}
