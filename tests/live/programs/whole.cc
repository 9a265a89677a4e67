/* SPDX-License-Identifier: MIT */
/* Spins in an inlined function, at the end of a deep recursion, and in code that it makes itself and names as Python's
 * `-X perf` does. */
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <sys/mman.h>
#include <unistd.h>

static bool later(const timespec &since, double seconds)
{
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (now.tv_sec - since.tv_sec) + (now.tv_nsec - since.tv_nsec) * 1e-9 > seconds;
}

static inline __attribute__((always_inline)) unsigned long spin_inlined(unsigned long value)
{
    for (int i = 0; i < 200000; i++)
        value = value * 6364136223846793005ul + (value >> 7);
    return value;
}

__attribute__((noinline)) unsigned long outer(double seconds)
{
    timespec since;
    unsigned long value = 1;
    clock_gettime(CLOCK_MONOTONIC, &since);
    while (!later(since, seconds))
        value = spin_inlined(value);
    return value;
}

__attribute__((noinline)) unsigned long deep(int depth, double seconds)
{
    unsigned long value = depth ? deep(depth - 1, seconds) : outer(seconds);
    asm volatile("" : "+r"(value)); /* no tail call */
    return value + depth;
}

/* push %rbp; mov %rsp,%rbp; mov %edi,%eax; loop: dec %eax; jnz loop; pop %rbp; ret */
static const unsigned char code[] = {0x55, 0x48, 0x89, 0xe5, 0x89, 0xf8, 0xff, 0xc8, 0x75, 0xfc, 0x5d, 0xc3};

__attribute__((noinline)) int made(double seconds)
{
    char path[64];
    timespec since;
    int rounds = 0;
    void *memory = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    std::memcpy(memory, code, sizeof code);
    mprotect(memory, 4096, PROT_READ | PROT_EXEC);
    std::snprintf(path, sizeof path, "/tmp/perf-%d.map", (int)getpid());
    std::FILE *map = std::fopen(path, "w");
    std::fprintf(map, "%lx %zx py::handler:/srv/app.py\n", (unsigned long)memory, sizeof code);
    std::fclose(map);
    clock_gettime(CLOCK_MONOTONIC, &since);
    for (; !later(since, seconds); rounds++)
        ((void (*)(int))memory)(1000000);
    return rounds;
}

int main(int, char **words)
{
    const double seconds = std::atof(words[1]);
    const unsigned long found = outer(seconds) + deep(300, seconds) + made(seconds);
    std::printf("%d %lu\n", (int)getpid(), found);
}
