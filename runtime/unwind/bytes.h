/* SPDX-License-Identifier: MIT
 *
 * Reads numbers of DWARF from bytes that may hold anything.
 */
#ifndef MEMSC_UNWIND_BYTES_H
#define MEMSC_UNWIND_BYTES_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct bytes {
    const uint8_t *at, *end;
    bool bad; /* more was read than there is; whatever came of it is worth nothing */
};

static inline uint64_t take(struct bytes *bytes, unsigned width)
{
    uint64_t value = 0;
    if ((size_t)(bytes->end - bytes->at) < width) {
        bytes->bad = true;
        bytes->at = bytes->end;
        return 0;
    }
    memcpy(&value, bytes->at, width);
    bytes->at += width;
    return value;
}

static inline uint64_t take_signed(struct bytes *bytes, unsigned width)
{
    uint64_t value = take(bytes, width);
    unsigned unused = 64 - 8 * width;
    return unused ? (uint64_t)((int64_t)(value << unused) >> unused) : value;
}

static inline uint64_t take_leb(struct bytes *bytes, bool is_signed)
{
    uint64_t value = 0;
    unsigned shift = 0;
    uint8_t byte;
    do {
        byte = (uint8_t)take(bytes, 1);
        if (shift < 64)
            value |= (uint64_t)(byte & 0x7f) << shift;
        shift += 7;
    } while (byte & 0x80 && !bytes->bad);
    if (is_signed && shift < 64 && byte & 0x40)
        value |= ~0ull << shift;
    return value;
}

static inline uint64_t take_number(struct bytes *bytes)
{
    return take_leb(bytes, false);
}

static inline int64_t take_difference(struct bytes *bytes)
{
    return (int64_t)take_leb(bytes, true);
}

/* The next so many bytes, passed over. */
static inline struct bytes take_block(struct bytes *bytes, uint64_t length)
{
    struct bytes block = {bytes->at, bytes->at, false};
    if (length > (uint64_t)(bytes->end - bytes->at))
        bytes->bad = true;
    else
        block.end = bytes->at += length;
    return block;
}

#endif
