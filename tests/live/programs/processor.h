/* SPDX-License-Identifier: MIT
 *
 * What programs of features do by instructions of their own, which no layer sees.
 */
#ifndef PROCESSOR_H
#define PROCESSOR_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stddef.h>
#include <sys/mman.h>
#include <ucontext.h>

#ifdef __x86_64__

static inline long bare(long number, long a, long b, long c, long d)
{
    register long r10 __asm__("r10") = d, r8 __asm__("r8") = 0;
    __asm__ volatile("syscall"
                     : "+a"(number)
                     : "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    return number;
}

/* What a system call has answered, for a handler that answers it. */
static inline void set_result(ucontext_t *context, long result)
{
    context->uc_mcontext.gregs[REG_RAX] = result;
}

/* Where handlers return to: a symbol. */
#define RETURNS(name) __asm__(".text\n" #name ": mov $15, %eax\n syscall\n")

/* To an instruction that is no endbr64: true if that is allowed, else the program ends by a signal. */
static inline int branch_unmarked(void)
{
    int arrived;
    __asm__ volatile("xor %[done], %[done]\n"
                     "lea 1f(%%rip), %%rax\n"
                     "jmp *%%rax\n"
                     "ud2\n"
                     "1: inc %[done]\n"
                     : [done] "=&r"(arrived)
                     :
                     : "rax", "cc");
    return arrived;
}

/* A sequence that ends only by being interrupted; see rseq(2). */
#define ENDLESS_SEQUENCE(sequence, area, restarted)                                                \
    __asm__ volatile("lea 1f(%%rip), %%rax\n"                                                      \
                     "lea 2f(%%rip), %%rcx\n"                                                      \
                     "mov %%rax, 8(%[at])\n"                                                       \
                     "sub %%rax, %%rcx\n"                                                          \
                     "mov %%rcx, 16(%[at])\n"                                                      \
                     "lea 3f(%%rip), %%rax\n"                                                      \
                     "mov %%rax, 24(%[at])\n"                                                      \
                     "mov %[at], 8(%[own])\n"                                                      \
                     "1: jmp 1b\n"                                                                 \
                     "2: jmp 4f\n"                                                                 \
                     ".long 0x53053053\n"                                                          \
                     "3: movl $1, %[done]\n"                                                       \
                     "4:\n"                                                                        \
                     : [done] "+m"(restarted), "+m"(sequence)                                      \
                     : [at] "r"(&(sequence)), [own] "r"(area)                                      \
                     : "rax", "rcx", "memory", "cc")

#else

static inline long bare(long number, long a, long b, long c, long d)
{
    register long x8 __asm__("x8") = number, x0 __asm__("x0") = a, x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c, x3 __asm__("x3") = d, x4 __asm__("x4") = 0;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
    return x0;
}

static inline void set_result(ucontext_t *context, long result)
{
    context->uc_mcontext.regs[0] = (unsigned long)result;
}

#define RETURNS(name) __asm__(".text\n" #name ": mov x8, #139\n svc #0\n")

/* Into a guarded page, to an instruction that is no bti: true if that is allowed, or if no page is guarded. */
static inline int branch_unmarked(void)
{
    enum { GUARDED = 0x10 /* PROT_BTI */ };
    unsigned int *page =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return 0;
    page[0] = 0x52800020; /* mov w0, #1 */
    page[1] = 0xd65f03c0; /* ret */
    __builtin___clear_cache((char *)page, (char *)(page + 2));
    if (mprotect(page, 4096, PROT_READ | PROT_EXEC | GUARDED) != 0)
        return 1;
    return ((int (*)(void))(void *)page)();
}

#define ENDLESS_SEQUENCE(sequence, area, restarted)                                                \
    __asm__ volatile("adr x9, 1f\n"                                                                \
                     "adr x10, 2f\n"                                                               \
                     "str x9, [%[at], #8]\n"                                                       \
                     "sub x10, x10, x9\n"                                                          \
                     "str x10, [%[at], #16]\n"                                                     \
                     "adr x9, 3f\n"                                                                \
                     "str x9, [%[at], #24]\n"                                                      \
                     "str %[at], [%[own], #8]\n"                                                   \
                     "1: b 1b\n"                                                                   \
                     "2: b 4f\n"                                                                   \
                     ".inst 0xd428bc00\n"                                                          \
                     "3: mov w9, #1\n"                                                             \
                     "str w9, %[done]\n"                                                           \
                     "4:\n"                                                                        \
                     : [done] "+m"(restarted), "+m"(sequence)                                      \
                     : [at] "r"(&(sequence)), [own] "r"(area)                                      \
                     : "x9", "x10", "memory", "cc")

#endif

#endif
