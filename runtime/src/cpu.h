/* SPDX-License-Identifier: MIT
 *
 * What differs between processors: raw system calls, the cycle counter, the polite poll.
 *
 * System calls are made here without the C library: the runtime lives inside programs whose C
 * library is itself carried by the runtime, may hold the C library's locks when it is entered, and
 * must not touch errno.
 */
#ifndef MEMSC_CPU_H
#define MEMSC_CPU_H

#include <stdint.h>

#if defined(__x86_64__)

/* rcx is 0 before the call: where the instruction leaves its own address there, as most processors do,
 * a signal handler can tell whether the call has been made (recall.c). */
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

/* Cycles of the invariant counter. Not ordered against neighbouring instructions on purpose: an
 * ordering instruction would cost as much as a stage. */
static inline uint64_t memsc_cycles(void)
{
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

/* The same, after the loads before it have their values, on which the caller has branched. */
static inline uint64_t memsc_cycles_ordered(void)
{
    __asm__ volatile("lfence" ::: "memory");
    return memsc_cycles();
}

/* Its rate, 0 where the processor does not say it. */
static inline uint64_t memsc_cycles_hz(void)
{
    return 0;
}

/* Fewer polls of a line mean fewer times the writer must fetch it back. */
static inline void memsc_pause(void)
{
    __asm__ volatile("pause");
}

#elif defined(__aarch64__)

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

static inline void memsc_pause(void)
{
    __asm__ volatile("yield");
}

#else
#error "memsc runs on x86-64 and 64-bit Arm"
#endif

#define MEMSC_SYS(number, a, b, c, d, e, f)                                                        \
    memsc_raw((number), (const uint64_t[6]){(uint64_t)(a), (uint64_t)(b), (uint64_t)(c),           \
                                            (uint64_t)(d), (uint64_t)(e), (uint64_t)(f)})

#endif
