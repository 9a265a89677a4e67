/* SPDX-License-Identifier: MIT
 *
 * A program that calls now and then: each call finds much of what it needs cold.
 */
#ifndef MEMSC_WORK_RARE_H
#define MEMSC_WORK_RARE_H

#include <stddef.h>
#include <stdint.h>

/* Makes `count` getppid by `make`, NULL: as plain system calls, each so long after the one before, between
 * which it computes. array gets the cycles of each. */
void memsc_work_rare(long microseconds, long (*make)(long number, const long args[6]),
                     uint64_t *array, size_t count);

#endif
