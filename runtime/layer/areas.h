/* SPDX-License-Identifier: MIT
 *
 * Where slots lie: in the layer's own text, and where a jump does not reach from there, near the library, too.
 */
#ifndef MEMSC_LAYER_AREAS_H
#define MEMSC_LAYER_AREAS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "slots.h"

enum { MEMSC_MAX_AREAS = 4 };

struct memsc_area {
    uint8_t *slots; /* NULL: there is none, and none behind it */
    uint32_t used;
};

extern struct memsc_area memsc_areas[MEMSC_MAX_AREAS];

static inline bool memsc_is_in_slots(const uint8_t *at)
{
    const size_t bytes = (size_t)MEMSC_SLOTS * MEMSC_SLOT_BYTES;
    for (int i = 0; i < MEMSC_MAX_AREAS && memsc_areas[i].slots; i++)
        if ((uintptr_t)at - (uintptr_t)memsc_areas[i].slots < bytes)
            return true;
    return false;
}

#endif
