/* SPDX-License-Identifier: MIT */
#include "scan.h"

#include <emmintrin.h>
#include <string.h>

static uint32_t equal(__m128i bytes, uint8_t value)
{
    return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8((char)value)));
}

void memsc_scan_syscalls(uint8_t *begin, uint8_t *end, void (*found)(void *, uint8_t *),
                         void *context)
{
    uint8_t *at = begin;
    for (; end - at > 16; at += 16) {
        uint32_t hits = equal(_mm_loadu_si128((const __m128i *)at), 0x0f) &
                        equal(_mm_loadu_si128((const __m128i *)(at + 1)), 0x05);
        for (; hits; hits &= hits - 1)
            found(context, at + __builtin_ctz(hits));
    }
    for (; end - at >= 2; at++)
        if (at[0] == 0x0f && at[1] == 0x05)
            found(context, at);
}

static void jump_at(const uint8_t *at, const uint8_t *end, void (*found)(void *, const uint8_t *),
                    void *context)
{
    int32_t distance;
    const uint8_t *operand = at + 1;
    if (at[0] == 0x0f) {
        if (end - at < 6 || (at[1] & 0xf0) != 0x80)
            return;
        operand++;
    } else if (end - at < 5 || (at[0] & 0xfe) != 0xe8) {
        return;
    }
    memcpy(&distance, operand, sizeof distance);
    found(context, operand + sizeof distance + distance);
}

void memsc_scan_jumps(const uint8_t *begin, const uint8_t *end,
                      void (*found)(void *, const uint8_t *), void *context)
{
    const uint8_t *at = begin;
    const __m128i low = _mm_set1_epi8((char)0xf0), one = _mm_set1_epi8((char)0xfe);
    for (; end - at > 16; at += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)at);
        __m128i next = _mm_loadu_si128((const __m128i *)(at + 1));
        uint32_t hits = equal(_mm_and_si128(bytes, one), 0xe8) |
                        (equal(bytes, 0x0f) & equal(_mm_and_si128(next, low), 0x80));
        for (; hits; hits &= hits - 1)
            jump_at(at + __builtin_ctz(hits), end, found, context);
    }
    for (; at < end; at++)
        jump_at(at, end, found, context);
}
