/* SPDX-License-Identifier: MIT
 *
 * x86-64's instructions; ../../src/cpu.h says what is wanted of them.
 */
#ifndef MEMSC_PROCESSOR_H
#define MEMSC_PROCESSOR_H

#include <stdbool.h>
#include <stdint.h>

/* rcx is 0 before the call: where the instruction leaves its own address there, as most processors do,
 * a signal handler can tell whether the call has been made (interrupted.h). */
static inline long memsc_raw(long number, const uint64_t args[6])
{
    /* Read first: a sanitizer's code for a read must not come between the register variables. */
    uint64_t a = args[0], b = args[1], c = args[2], d = args[3], e = args[4], f = args[5];
    long result;
    register uint64_t r10 __asm__("r10") = d;
    register uint64_t r8 __asm__("r8") = e;
    register uint64_t r9 __asm__("r9") = f;
    __asm__ volatile("xor %%ecx, %%ecx\n\tsyscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "cc", "memory");
    return result;
}

static inline uint64_t memsc_cycles(void)
{
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

static inline uint64_t memsc_cycles_ordered(void)
{
    __asm__ volatile("lfence" ::: "memory");
    return memsc_cycles();
}

static inline uint64_t memsc_cycles_hz(void)
{
    return 0;
}

static inline uint64_t memsc_event_counter(uint32_t number)
{
    uint32_t low, high;
    __asm__ volatile("rdpmc" : "=a"(low), "=d"(high) : "c"(number));
    return (uint64_t)high << 32 | low;
}

static inline void memsc_pause(void)
{
    __asm__ volatile("pause");
}

static inline bool memsc_is_intel(void)
{
    enum { GENU = 0x756e6547 }; /* of "GenuineIntel" */
    uint32_t leaf = 0, name;
    __asm__ volatile("cpuid" : "+a"(leaf), "=b"(name)::"ecx", "edx");
    return name == GENU;
}

static inline void memsc_own(const void *line)
{
    __asm__ volatile("prefetchw %0" ::"m"(*(const char *)line));
}

#endif
