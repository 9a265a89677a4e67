/* SPDX-License-Identifier: MIT
 *
 * As for x86-64, see there. Signal handlers do not ask for the state of a call (layer/bridge.h), so it has no marks.
 */
#ifndef MEMSC_RAW_H
#define MEMSC_RAW_H

#include <stdint.h>

enum { MEMSC_SYSCALL_BYTES = 4 };

/* raw.S. */
long memsc_raw_marked(long number, const uint64_t args[6]);

#endif
