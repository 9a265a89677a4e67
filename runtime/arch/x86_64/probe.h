/* SPDX-License-Identifier: MIT
 *
 * A static probe with its arguments in the registers of a function's first five (../../src/usdt.h).
 */
#ifndef MEMSC_PROBE_H
#define MEMSC_PROBE_H

#define MEMSC_PROBE(name, slot, entry, number, result, caller)                                     \
    do {                                                                                           \
        register uint64_t memsc_fifth __asm__("r8") = (caller);                                    \
        __asm__ volatile(                                                                          \
            MEMSC_NOTE(#name, "4@%%edi 4@%%esi -8@%%rdx -8@%%rcx 4@%%r8d")::"D"(slot), "S"(entry), \
            "d"((int64_t)(number)), "c"((int64_t)(result)), "r"(memsc_fifth));                     \
    } while (0)

#endif
