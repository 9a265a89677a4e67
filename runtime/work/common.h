/* SPDX-License-Identifier: MIT
 *
 * What the work programs share: their arguments, their place, and the file of their intervals.
 */
#ifndef MEMSC_WORK_COMMON_H
#define MEMSC_WORK_COMMON_H

#include <errno.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { WARM_UP = 2000 };

static inline _Noreturn void fail(const char *what, int error)
{
    fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, strerror(error));
    exit(1);
}

static inline long positive(const char *text)
{
    char *end;
    long value = strtol(text, &end, 10);
    if (*end || value < 0 || !*text)
        fail(text, EINVAL);
    return value;
}

/* Faulted in beforehand: the first touch of a page would count as a slow call. */
static inline void *memory(size_t bytes, int sharing)
{
    void *got =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, sharing | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (got == MAP_FAILED)
        fail("memory", errno);
    return got;
}

static inline uint64_t *intervals(size_t count)
{
    return memory(count * sizeof(uint64_t), MAP_PRIVATE);
}

/* With the children of this process. */
static inline void *shared(size_t bytes)
{
    return memory(bytes, MAP_SHARED);
}

static inline void save(const char *path, const uint64_t *array, size_t count)
{
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(array, sizeof *array, count, file) != count || fclose(file))
        fail(path, errno);
}

static inline void pin(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set))
        fail("CPU", errno);
}

#endif
