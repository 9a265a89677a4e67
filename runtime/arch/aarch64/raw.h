/* SPDX-License-Identifier: MIT
 *
 * As for x86-64, see there. Between the two marks args is in x9.
 */
#ifndef MEMSC_RAW_H
#define MEMSC_RAW_H

#include <stdint.h>

enum { MEMSC_SYSCALL_BYTES = 4 };

/* raw.S. */
long memsc_raw_marked(long number, const uint64_t args[6]);
extern const uint8_t memsc_raw_open[], memsc_raw_made[];

#endif
