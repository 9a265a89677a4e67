/* SPDX-License-Identifier: MIT
 *
 * As arch/x86_64/storage.h. The C library's begins with nothing that tells it apart here, and there is no layer.
 */
#ifndef MEMSC_STORAGE_H
#define MEMSC_STORAGE_H

#include <stdbool.h>

static inline bool memsc_has_storage(void)
{
    return true;
}

#endif
