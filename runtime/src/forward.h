/* SPDX-License-Identifier: MIT
 *
 * The caller's side, for the public API and for the C-library layer.
 */
#ifndef MEMSC_FORWARD_H
#define MEMSC_FORWARD_H

#include <stdint.h>

/* Executes one call for the calling thread through its transport and waits for it.
 * 1: forwarded, *result is the kernel's value or -errno. 0: the caller must execute it itself,
 * because the call is local, the thread has no page, or a signal handler interrupted the runtime. */
int memsc_forward(long number, const uint64_t args[6], long *result);

/* Counts a call that the thread executes itself. */
void memsc_count_local(long number);

#endif
