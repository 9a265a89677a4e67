/* SPDX-License-Identifier: MIT
 *
 * Makes the whole shared format appear in the library's debug information, where Python finds it,
 * and holds it to its sizes.
 */
#include "layout.h"

#include "registry.h"
#include "memsc.h"

_Static_assert(sizeof(struct memsc_entry) == MEMSC_LINE, "an entry is one cache line");
_Static_assert(sizeof(struct memsc_syspage) == 4096, "a syspage is one page");
_Static_assert(sizeof(struct memsc_call) == MEMSC_LINE, "a call record is one cache line");
_Static_assert(sizeof(struct memsc_region) <= 4096, "the head of a region fits its page");

MEMSC_API extern const uint32_t memsc_layout_version;
const uint32_t memsc_layout_version = MEMSC_LAYOUT_VERSION;

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
};
extern const struct memsc_layout *const memsc_layout;
const struct memsc_layout *const memsc_layout = 0;

/* Registries and segments are not Python's to read, but it must know one when it sees it. */
MEMSC_API extern const uint32_t memsc_registry_size, memsc_pages_size;
const uint32_t memsc_pages_size = sizeof(struct memsc_pages);
const uint32_t memsc_registry_size = sizeof(struct memsc_registry);
