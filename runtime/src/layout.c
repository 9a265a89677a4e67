/* SPDX-License-Identifier: MIT
 *
 * Holds the shared format to its sizes, and makes all of it appear in this object's debug information, from
 * which the build writes layout.json for Python (../describe.py). No library has this object in it.
 */
#include "layout.h"

#include "registry.h"

_Static_assert(sizeof(struct memsc_entry) == MEMSC_LINE, "an entry is one cache line");
_Static_assert(sizeof(struct memsc_syspage) == 4096, "a syspage is one page");
_Static_assert(sizeof(struct memsc_call) == MEMSC_LINE, "a call record is one cache line");
_Static_assert(sizeof(struct memsc_region) <= 4096, "the head of a region fits its page");

/* Named as in the headers, behind their prefix: there they are macros, and sizes. */
enum memsc_numbers {
    LAYOUT_VERSION = MEMSC_LAYOUT_VERSION,
    MAGIC = MEMSC_MAGIC,
    /* Registries and segments are not Python's to read, but it must know one when it sees it. */
    REGISTRY_VERSION = MEMSC_REGISTRY_VERSION,
    REGISTRY_KEYS = MEMSC_REGISTRY_KEYS,
    REGISTRY_BYTES = sizeof(struct memsc_registry),
    SEGMENT_BYTES = sizeof(struct memsc_pages),
};

/* Named so that the compiler describes each type. */
struct memsc_layout {
    struct memsc_region region;
    struct memsc_slot slot;
    struct memsc_pages pages;
    struct memsc_call call;
    enum memsc_transport transport;
    enum memsc_service_mode service_mode;
    enum memsc_ring_policy ring_policy;
    enum memsc_status status;
    enum memsc_call_flags call_flags;
    enum memsc_polls polls;
    enum memsc_slot_state slot_state;
    enum memsc_numbers numbers;
};
extern const struct memsc_layout *const memsc_layout;
const struct memsc_layout *const memsc_layout = 0;
