/* SPDX-License-Identifier: MIT
 *
 * Whether the running task has thread-local storage that the C library made. A program may give one that it makes
 * by itself some of its own (clone with CLONE_SETTLS), a few zeros that only the C library's simplest functions
 * stand; then nothing of ours is there.
 */
#ifndef MEMSC_STORAGE_H
#define MEMSC_STORAGE_H

#include <stdbool.h>
#include <stdint.h>

/* The C library's begins with its own address, which stands there twice. */
static inline bool memsc_has_storage(void)
{
    enum { ALIGNED = 15 };
    uint64_t first, third;
    __asm__ volatile("mov %%fs:0, %0" : "=r"(first));
    __asm__ volatile("mov %%fs:16, %0" : "=r"(third));
    return first && first == third && !(first & ALIGNED);
}

#endif
