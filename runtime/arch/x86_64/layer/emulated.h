/* SPDX-License-Identifier: MIT
 *
 * Whether valgrind runs this program: on a processor of its own, one thread at a time, where a thread that polls
 * keeps all others waiting and each forwarded call takes milliseconds.
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
    uint64_t depth = 0;
    __asm__ volatile("rolq $3, %%rdi\n\trolq $13, %%rdi\n\trolq $61, %%rdi\n\trolq $51, %%rdi\n\t"
                     "xchgq %%rbx, %%rbx"
                     : "+d"(depth)
                     : "a"(question)
                     : "cc", "memory");
    return depth != 0;
}

#endif
