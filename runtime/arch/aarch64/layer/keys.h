/* SPDX-License-Identifier: MIT
 *
 * Memory protection keys, as ../../x86_64/layer/keys.h: here four bits each, of eight keys.
 */
#ifndef MEMSC_LAYER_KEYS_H
#define MEMSC_LAYER_KEYS_H

#include <stdint.h>

static inline uint32_t memsc_keys(void)
{
    uint64_t keys;
    __asm__ volatile("mrs %0, s3_3_c10_c2_4" : "=r"(keys)); /* POR_EL0 */
    return (uint32_t)keys;
}

/* What it is for a thread that has not changed the key: the kernel gives out no access. */
static inline uint32_t memsc_keys_without(uint32_t keys, uint32_t key)
{
    return keys & ~(0xfu << 4 * key);
}

#endif
