/* SPDX-License-Identifier: MIT
 *
 * /proc/thread-self is whoever looks, which is a service thread when the call is forwarded.
 */
#ifndef MEMSC_LAYER_THREAD_SELF_H
#define MEMSC_LAYER_THREAD_SELF_H

#include <stdbool.h>
#include <stdint.h>

/* Whether a forwarded call has found the wrong thread there. If so its effect is undone, and it must
 * be made once more, by the caller. */
bool memsc_met_wrong_thread(long number, const uint64_t args[6], long result);

#endif
