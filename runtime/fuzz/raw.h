/* SPDX-License-Identifier: MIT
 *
 * Included before all else in every file under test: no system call of the service is made.
 */
#ifndef MEMSC_FUZZ_RAW_H
#define MEMSC_FUZZ_RAW_H

#include "cpu.h"

long memsc_fuzz_raw(long number, const uint64_t args[6]);

#define memsc_raw memsc_fuzz_raw

#endif
