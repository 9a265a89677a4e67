/* SPDX-License-Identifier: MIT
 *
 * As arch/x86_64/storage.h.
 */
#ifndef MEMSC_STORAGE_H
#define MEMSC_STORAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The C library's begins with the address of its table of what each library has there. */
static inline bool memsc_has_storage(void)
{
    enum { ALIGNED = 15 };
    const uint64_t *storage = __builtin_thread_pointer();
    return storage && !((uint64_t)storage & ALIGNED) && *(const volatile uint64_t *)storage;
}

#endif
