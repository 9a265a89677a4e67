/* SPDX-License-Identifier: MIT */
#include "frames.h"

#include <string.h>

/* Encodings of the DWARF exception tables (LSB core, 10.5). */
enum {
    UNSIGNED_4 = 0x03,
    PC_RELATIVE_SIGNED_4 = 0x1b,
    TABLE_RELATIVE_SIGNED_4 = 0x3b,
};

static int32_t read_4(const uint8_t *at)
{
    int32_t value;
    __builtin_memcpy(&value, at, sizeof value);
    return value;
}

bool memsc_frames_open(struct memsc_frames *frames, const uint8_t *header)
{
    if (header[0] != 1 || header[1] != PC_RELATIVE_SIGNED_4 || header[2] != UNSIGNED_4 ||
        header[3] != TABLE_RELATIVE_SIGNED_4)
        return false;
    frames->header = header;
    frames->count = (uint32_t)read_4(header + 8);
    frames->table = (const int32_t *)(const void *)(header + 12);
    return frames->count > 0;
}

int memsc_frames_find(const struct memsc_frames *frames, const uint8_t *address)
{
    int64_t wanted = address - frames->header;
    int low = 0, high = (int)frames->count;
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (frames->table[2 * middle] <= wanted)
            low = middle + 1;
        else
            high = middle;
    }
    return low - 1;
}

bool memsc_frames_get(const struct memsc_frames *frames, int index, struct memsc_function *out)
{
    if (index < 0 || index >= (int)frames->count)
        return false;
    const uint8_t *begin = frames->header + frames->table[2 * index];
    const uint8_t *description = frames->header + frames->table[2 * index + 1];
    const uint8_t *place = description + 8;
    /* The description's own idea of where it begins tells whether its encoding is the usual one; its
     * size then follows in the same width. */
    if (place + read_4(place) != begin)
        return false;
    out->begin = begin;
    out->end = begin + (uint32_t)read_4(place + 4);
    return true;
}
