/* SPDX-License-Identifier: MIT
 *
 * Whether valgrind runs this program; see ../../x86_64/layer/emulated.h.
 */
#ifndef MEMSC_LAYER_EMULATED_H
#define MEMSC_LAYER_EMULATED_H

#include <stdbool.h>
#include <stdint.h>

/* It knows these instructions, which do nothing elsewhere, as a question. */
static inline bool memsc_emulated(void)
{
    enum { RUNNING_ON_VALGRIND = 0x1001 };
    const uint64_t question[6] = {RUNNING_ON_VALGRIND, 0, 0, 0, 0, 0};
    register uint64_t depth __asm__("x3") = 0;
    register const uint64_t *asked __asm__("x4") = question;
    __asm__ volatile(
        "ror x12, x12, #3\n\tror x12, x12, #13\n\tror x12, x12, #51\n\tror x12, x12, #61\n\t"
        "orr x10, x10, x10"
        : "+r"(depth)
        : "r"(asked)
        : "memory");
    return depth != 0;
}

#endif
