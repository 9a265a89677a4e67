/* SPDX-License-Identifier: MIT
 *
 * Carrying a plan out, as far as it differs by processor: what a slot is filled with, and what comes in a site's
 * place. While the C library's text is not executable nothing in here may call it, not even for a memcpy the
 * compiler put in: who implements this is built freestanding and copies byte by byte.
 */
#ifndef MEMSC_LAYER_REWRITE_H
#define MEMSC_LAYER_REWRITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "plan.h"

/* Bytes to be written at one place of the text. */
struct memsc_change {
    uint8_t *at; /* where it runs */
    uint32_t size;
    const uint8_t *before; /* as the file has it */
    uint8_t bytes[MEMSC_CHANGE_MAX];
};

static inline void memsc_copy_bytes(uint8_t *to, const uint8_t *from, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++)
        to[i] = from[i];
}

/* Whether a jump can lead from the site, where it runs, to the slot and back. */
bool memsc_reaches(const uint8_t *live, const uint8_t *slot);

/* More slots, of which nothing is filled, for a text that the layer's own are too far from, or which has more sites
 * than those can serve; not writable yet. NULL: there are none. */
uint8_t *memsc_area_near(const uint8_t *text, const uint8_t *text_end);

/* Fills what all slots of an area share. */
void memsc_fill_area(uint8_t *slots);

/* Fills the site's slot, which is writable. */
void memsc_fill_slot(const struct memsc_site *site, ptrdiff_t to_live);

/* What a site needs: first what is to be there when the rest is. Returns how many. */
uint32_t memsc_changes(const struct memsc_site *site, ptrdiff_t to_live,
                       struct memsc_change changes[2]);

/* What was written there is executed from now on, by all processors. */
void memsc_see_text(const uint8_t *from, const uint8_t *to);

#endif
