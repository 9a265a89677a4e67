/* SPDX-License-Identifier: MIT
 *
 * Is where its arguments say: the work of tests of stacks. Removes its own file first.
 *
 *   places SPIN_MS SLEEPS
 *
 * Prints how often it left the CPU of its own accord while it slept: a timer that expires before the
 * thread is off the CPU lets it stay.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static long cpu_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

__attribute__((noinline)) static void spin_here(long milliseconds)
{
    for (long end = cpu_ms() + milliseconds; cpu_ms() < end;)
        for (volatile int i = 0; i < 1000000; i++)
            continue;
}

/* By the instruction itself: the C library keeps no frame pointers, and would hide its caller. */
__attribute__((noinline)) static void sleep_here(void)
{
    struct timespec time = {.tv_nsec = 200000};
    long result = SYS_nanosleep;
    __asm__ volatile("syscall" : "+a"(result) : "D"(&time), "S"(0) : "rcx", "r11", "memory");
}

static long switches(void)
{
    struct rusage usage;
    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_nvcsw;
}

__attribute__((noinline)) static void outer(long milliseconds, long sleeps)
{
    spin_here(milliseconds);
    long before = switches();
    for (long i = 0; i < sleeps; i++)
        sleep_here();
    printf("%ld\n", switches() - before);
    __asm__ volatile("" ::: "memory"); /* no tail call */
}

__attribute__((noinline)) static void made(long milliseconds)
{
    static const unsigned char code[] = {0x48, 0xff, 0xcf,
                                         0x75, 0xfb, 0xc3}; /* 1: dec rdi; jnz 1b; ret */
    void *place = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(place, code, sizeof code);
    mprotect(place, 4096, PROT_READ | PROT_EXEC);
    for (long end = cpu_ms() + milliseconds; cpu_ms() < end;)
        ((void (*)(long))place)(10000000);
}

int main(int argc, char **argv)
{
    unlink(argv[0]);
    outer(atol(argv[1]), argc > 2 ? atol(argv[2]) : 0);
    made(atol(argv[1]));
    return 0;
}
