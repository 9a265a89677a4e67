/* SPDX-License-Identifier: MIT
 *
 * Search through a whole executable segment: start-up's only work that grows with the C library.
 */
#ifndef MEMSC_LAYER_SCAN_H
#define MEMSC_LAYER_SCAN_H

#include <stdint.h>

/* Calls found(context, address) for each `0f 05`, instruction or not, in ascending order. */
void memsc_scan_syscalls(uint8_t *begin, uint8_t *end, void (*found)(void *, uint8_t *),
                         void *context);

/* Calls found(context, target) for whatever might be a jump or call with a 32-bit distance at *any*
 * byte: all real ones are among them, at the price of some that are not. */
void memsc_scan_jumps(const uint8_t *begin, const uint8_t *end,
                      void (*found)(void *, const uint8_t *), void *context);

#endif
