/* SPDX-License-Identifier: MIT
 *
 * A static probe with its arguments in the registers of a function's first five (../../src/usdt.h).
 */
#ifndef MEMSC_PROBE_H
#define MEMSC_PROBE_H

#define MEMSC_PROBE(name, slot, entry, number, result, caller)                                     \
    do {                                                                                           \
        register uint64_t memsc_first __asm__("x0") = (slot);                                      \
        register uint64_t memsc_second __asm__("x1") = (entry);                                    \
        register int64_t memsc_third __asm__("x2") = (number);                                     \
        register int64_t memsc_fourth __asm__("x3") = (result);                                    \
        register uint64_t memsc_fifth __asm__("x4") = (caller);                                    \
        __asm__ volatile(MEMSC_NOTE(#name, "4@x0 4@x1 -8@x2 -8@x3 4@x4")::"r"(memsc_first),        \
                         "r"(memsc_second), "r"(memsc_third), "r"(memsc_fourth),                   \
                         "r"(memsc_fifth));                                                        \
    } while (0)

#endif
