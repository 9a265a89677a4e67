/* SPDX-License-Identifier: MIT
 *
 * Signals that the kernel sends to the thread that executes a call, which here is not the thread
 * that made it. Service threads block them; the caller raises them for itself.
 */
#ifndef MEMSC_LAYER_LOST_SIGNALS_H
#define MEMSC_LAYER_LOST_SIGNALS_H

#include <stdint.h>

/* result: -EPIPE or -EFBIG. */
void memsc_raise_lost_signal(long number, const uint64_t args[6], long result);

#endif
