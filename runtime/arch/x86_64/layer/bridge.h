/* SPDX-License-Identifier: MIT
 *
 * Where the C library expects a thread that is to be cancelled.
 *
 * From 2.41 on glibc makes every call that can be cancelled by one `syscall`, its *bridge*
 * (__syscall_cancel_arch). Its handler of SIGCANCEL ends the thread only if that stands there: behind the look
 * at whether it is cancelled, and not yet behind the `syscall`. Else the thread goes on, and a call that
 * waits then waits for ever. So a bridge keeps its `syscall` behind the jump to the slot. What is to be run on
 * the caller is run there, and the handler is shown a thread that stands there whenever the call has not been made.
 * A bridge is known by the `ret` behind it and a number that is no constant; one too many does no harm.
 */
#ifndef MEMSC_LAYER_BRIDGE_H
#define MEMSC_LAYER_BRIDGE_H

#include <stdbool.h>
#include <stdint.h>

#include "plan.h"
#include "raw.h"
#include "slots.h"

/* bridge.S. */
extern const uint8_t memsc_bridge_local[], memsc_bridge_send[], memsc_bridge_sent[];

/* Whether a `syscall` looks like that of a bridge. */
static inline bool memsc_is_bridge_s(const uint8_t *address)
{
    enum { MOV_EAX = 0xb8, MOV_BYTES = 5, RET = 0xc3 };
    return address[MEMSC_SYSCALL_BYTES] == RET && address[-MOV_BYTES] != MOV_EAX;
}

/* The `syscall` of the bridge that a slot belongs to; 0 if it belongs to another site. */
static inline uint64_t memsc_bridge_of(const uint8_t *slot)
{
    if (slot[MEMSC_SLOT_LOCAL] != 0xeb) /* a jump; elsewhere the system call */
        return 0;
    return *(const uint64_t *)(const void *)(slot + MEMSC_SLOT_RESUME) - MEMSC_SYSCALL_BYTES;
}

#endif
