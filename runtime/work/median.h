/* SPDX-License-Identifier: MIT
 *
 * The median of intervals in cycles.
 */
#ifndef MEMSC_WORK_MEDIAN_H
#define MEMSC_WORK_MEDIAN_H

#include <stdint.h>
#include <stdlib.h>

static inline int by_size(const void *a, const void *b)
{
    uint64_t one = *(const uint64_t *)a, other = *(const uint64_t *)b;
    return one < other ? -1 : one > other;
}

/* Sorts them. */
static inline uint64_t median_of(uint64_t *array, size_t count)
{
    qsort(array, count, sizeof *array, by_size);
    return array[count / 2];
}

#endif
