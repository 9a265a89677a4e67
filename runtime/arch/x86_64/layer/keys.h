/* SPDX-License-Identifier: MIT
 *
 * Memory protection keys: two bits each in a register that every thread has. Only once a key was allocated,
 * for other processors do not know the instruction.
 */
#ifndef MEMSC_LAYER_KEYS_H
#define MEMSC_LAYER_KEYS_H

#include <stdint.h>

static inline uint32_t memsc_keys(void)
{
    uint32_t low, high;
    __asm__ volatile("rdpkru" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

/* What it is for a thread that has not changed the key: the kernel gives out no access. */
static inline uint32_t memsc_keys_without(uint32_t keys, uint32_t key)
{
    return (keys & ~(3u << 2 * key)) | 1u << 2 * key;
}

#endif
