/* SPDX-License-Identifier: MIT
 *
 * As for x86-64, see there; unmodified programs are not carried on this processor, so nobody asks.
 */
#ifndef MEMSC_RAW_H
#define MEMSC_RAW_H

#include <stddef.h>

#include "wait.h"

static inline long memsc_raw_marked(long number, const uint64_t args[6])
{
    memsc_under_way = NULL;
    return memsc_raw(number, args);
}

#endif
