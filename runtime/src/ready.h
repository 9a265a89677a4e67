/* SPDX-License-Identifier: MIT
 *
 * Whether a call that may wait for ever would not, just now.
 */
#ifndef MEMSC_READY_H
#define MEMSC_READY_H

#include <stdbool.h>
#include <stdint.h>

/* True if its descriptor has what the call wants: the poller executes it at once, where handing it to a
 * pool thread takes two switches, twenty times as long as asking. The answer may be old when the call is
 * made, for another thread may have been quicker: then a takeover helps, as with any call that waits
 * unexpectedly. */
bool memsc_ready_now(long number, const uint64_t args[6]);

#endif
