/* SPDX-License-Identifier: MIT
 *
 * The instructions of 64-bit Arm; ../../src/cpu.h says what is wanted of them.
 */
#ifndef MEMSC_PROCESSOR_H
#define MEMSC_PROCESSOR_H

#include <stdbool.h>
#include <stdint.h>

static inline long memsc_raw(long number, const uint64_t args[6])
{
    uint64_t a = args[0], b = args[1], c = args[2], d = args[3], e = args[4], f = args[5];
    register uint64_t x8 __asm__("x8") = (uint64_t)number;
    register uint64_t x0 __asm__("x0") = a;
    register uint64_t x1 __asm__("x1") = b;
    register uint64_t x2 __asm__("x2") = c;
    register uint64_t x3 __asm__("x3") = d;
    register uint64_t x4 __asm__("x4") = e;
    register uint64_t x5 __asm__("x5") = f;
    __asm__ volatile("svc 0"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                     : "memory");
    return (long)x0;
}

static inline uint64_t memsc_cycles(void)
{
    uint64_t value;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(value));
    return value;
}

/* A barrier for instructions alone waits for no load; but it is behind the branch on it, and no
 * instruction behind it begins before the branch is decided. */
static inline uint64_t memsc_cycles_ordered(void)
{
    __asm__ volatile("isb" ::: "memory");
    return memsc_cycles();
}

/* Firmware writes it there, and some has left it 0. */
static inline uint64_t memsc_cycles_hz(void)
{
    uint64_t value;
    __asm__("mrs %0, cntfrq_el0" : "=r"(value));
    return value & 0xffffffff;
}

/* Never called: the kernel sets no cap_user_rdpmc without being asked to. */
static inline uint64_t memsc_event_counter(uint32_t number)
{
    (void)number;
    return 0;
}

static inline void memsc_pause(void)
{
    __asm__ volatile("yield");
}

static inline bool memsc_is_intel(void)
{
    return false;
}

static inline void memsc_own(const void *line)
{
    __asm__ volatile("prfm pstl1keep, [%0]" ::"r"(line));
}

#endif
