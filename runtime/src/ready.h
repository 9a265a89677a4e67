/* SPDX-License-Identifier: MIT
 *
 * Whether a call that may wait for ever would not, just now.
 */
#ifndef MEMSC_READY_H
#define MEMSC_READY_H

#include <stdbool.h>
#include <stdint.h>

struct memsc_self;

/* True if its descriptor has what the call wants: the poller executes it at once, where handing it to a
 * pool thread takes two switches, twenty times as long as asking. The answer may be old when the call is
 * made, for another thread may have been quicker: then a takeover helps, as with any call that waits
 * unexpectedly. */
bool memsc_ready_now(long number, const uint64_t args[6]);

/* Where nobody looks at the calls (memsc_unseen), for a call that may wait: whether its caller makes it better
 * itself. So it is if a pool thread would have to be woken for it, or one that sleeps (a poller, a scanner's
 * worker), only to ask. */
bool memsc_may_wait_here(const struct memsc_self *self, long number, const uint64_t args[6]);

/* Whether a call may wait and cannot be asked whether it would, whatever its descriptor is. */
bool memsc_waits_unasked(long number, const uint64_t args[6]);

#endif
