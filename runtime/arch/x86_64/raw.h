/* SPDX-License-Identifier: MIT
 *
 * A system call that a signal handler can tell the state of, and how long things are.
 */
#ifndef MEMSC_RAW_H
#define MEMSC_RAW_H

#include <stdint.h>

enum { MEMSC_SYSCALL_BYTES = 2, MEMSC_RED_ZONE = 128 };

/* raw.S. memsc_raw with nothing under way any more (memsc_under_way) as soon as it cannot be taken back.
 * Between the two marks the call has not been made, and args is on top of the stack. */
long memsc_raw_marked(long number, const uint64_t args[6]);
extern const uint8_t memsc_raw_open[], memsc_raw_made[];

#endif
