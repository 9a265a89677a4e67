/* SPDX-License-Identifier: MIT
 *
 * Where the functions of a loaded object begin and end, from its unwind tables: shipped C libraries
 * are stripped of their symbols, but never of these.
 */
#ifndef MEMSC_LAYER_FRAMES_H
#define MEMSC_LAYER_FRAMES_H

#include <stdbool.h>
#include <stdint.h>

struct memsc_frames {
    const uint8_t *header; /* of .eh_frame_hdr: its addresses count from here */
    const int32_t *table;  /* pairs: function, frame description; sorted by function */
    uint32_t count;
};

struct memsc_function {
    const uint8_t *begin, *end;
};

/* False: the section has another encoding than the one every x86-64 linker writes. */
bool memsc_frames_open(struct memsc_frames *frames, const uint8_t *header);

/* Index of the last function that begins at or before address, -1 if none. It may end before it. */
int memsc_frames_find(const struct memsc_frames *frames, const uint8_t *address);

/* False: out of range, or described in an unknown way. */
bool memsc_frames_get(const struct memsc_frames *frames, int index, struct memsc_function *out);

#endif
