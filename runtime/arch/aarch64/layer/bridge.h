/* SPDX-License-Identifier: MIT
 *
 * Where the C library expects a thread that is to be cancelled; ../../x86_64/layer/bridge.h says why. Here the
 * instruction before the `svc`, which only copies a register, becomes the branch to the slot, and is made there.
 */
#ifndef MEMSC_LAYER_BRIDGE_H
#define MEMSC_LAYER_BRIDGE_H

#include <stdint.h>

#include "raw.h"
#include "slots.h"

/* bridge.S. */
extern const uint8_t memsc_bridge_local[], memsc_bridge_saved[], memsc_bridge_restored[],
    memsc_bridge_send[], memsc_bridge_sent[], memsc_bridge_end[];

/* The `svc` of the bridge that a slot belongs to; 0 if it belongs to another site. */
static inline uint64_t memsc_bridge_of(const uint8_t *slot)
{
    enum { SVC = 0xd4000001 };
    if (*(const uint32_t *)(const void *)(slot + MEMSC_SLOT_LOCAL) == SVC)
        return 0;
    return *(const uint64_t *)(const void *)(slot + MEMSC_SLOT_RESUME) - MEMSC_SYSCALL_BYTES;
}

#endif
