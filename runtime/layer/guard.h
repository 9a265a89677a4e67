/* SPDX-License-Identifier: MIT
 *
 * Keeps memsc's own descriptors out of the program's hands: to a thread that closes, asks about or overwrites
 * descriptors that it did not open, they are not there.
 */
#ifndef MEMSC_LAYER_GUARD_H
#define MEMSC_LAYER_GUARD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>

#include "../src/kept.h"
#include "../src/table.h"
#include "stub.h"

/* Whether a call may concern them at all. */
static inline bool memsc_may_touch_kept(long number)
{
    if (!memsc_keeps(MEMSC_KEPT_SOCKET) && !memsc_keeps(MEMSC_KEPT_LIBRARY))
        return false;
    enum memsc_fd_effect effect = memsc_fd_effect(number);
    return effect == MEMSC_FD_CLOSE || effect == MEMSC_FD_SECOND || number == SYS_close_range ||
           number == SYS_fcntl;
}

/* For such a call: answers it, or lets it go its way. borrowed: the caller is a child in its parent's memory,
 * with descriptors of its own. */
struct memsc_answer memsc_guard(long number, const uint64_t args[6], bool borrowed);

#endif
