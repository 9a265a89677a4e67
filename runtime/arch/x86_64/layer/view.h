/* SPDX-License-Identifier: MIT
 *
 * One function, decoded once from its first byte: where its instructions begin and its jumps lead.
 */
#ifndef MEMSC_LAYER_VIEW_H
#define MEMSC_LAYER_VIEW_H

#include <stdbool.h>
#include <stdint.h>

#include "decode.h"
#include "frames.h"

enum { MEMSC_LARGEST_FUNCTION = 1 << 16 };

struct memsc_view {
    struct memsc_function function;
    bool valid;     /* decodes from its first byte exactly to its last */
    bool indirect;  /* has a jump whose targets are data */
    bool falls_out; /* may go on behind its last byte */
    uint8_t starts[MEMSC_LARGEST_FUNCTION / 8];  /* bit per byte: an instruction begins */
    uint8_t targets[MEMSC_LARGEST_FUNCTION / 8]; /* bit per byte: a jump of this function's */
};

/* Fills view unless it shows this function already. */
void memsc_view_function(struct memsc_view *view, struct memsc_function function);

/* Addresses must lie in the function. */
bool memsc_view_begins(const struct memsc_view *view, const uint8_t *address);
bool memsc_view_targeted(const struct memsc_view *view, const uint8_t *from, const uint8_t *to);

/* The instruction before the one at address, NULL if that is the first. */
const uint8_t *memsc_view_previous(const struct memsc_view *view, const uint8_t *address);

/* True if the function does not decode, or jumps to from < target < to. */
bool memsc_jumps_between(struct memsc_function function, const uint8_t *from, const uint8_t *to);

/* True if [from, to) is whole instructions that only fill space. */
bool memsc_all_padding(const uint8_t *from, const uint8_t *to);

#endif
