/* SPDX-License-Identifier: MIT
 *
 * The system calls that 64-bit Arm has and other processors do not: none. As for those of x86-64, see there.
 */
#ifndef MEMSC_OWN_CALLS_H
#define MEMSC_OWN_CALLS_H

#include <stdbool.h>

#define MEMSC_OWN_ROWS
#define MEMSC_OWN_PATHS

static inline int memsc_own_timeout(long number)
{
    (void)number;
    return -1;
}

static inline bool memsc_own_vfork(long number)
{
    (void)number;
    return false;
}

static inline bool memsc_own_signalfd(long number)
{
    (void)number;
    return false;
}

#endif
