/* SPDX-License-Identifier: MIT */
#include "rare.h"

#include <sys/syscall.h>
#include <unistd.h>

#include "cpu.h"
#include "memsc.h"

static const long none[6] = {0};

static uint64_t cycles_of(long microseconds)
{
    struct memsc_clock_sample first, second;
    memsc_clock_sample(&first);
    usleep(20000);
    memsc_clock_sample(&second);
    return (second.cycles - first.cycles) * (uint64_t)microseconds * 1000 /
           (uint64_t)(second.ns - first.ns);
}

/* Keeps its CPU meanwhile: what is measured is a call, not how a sleep ends. */
static void compute(uint64_t cycles)
{
    for (uint64_t since = memsc_cycles(); memsc_cycles() - since < cycles;)
        continue;
}

void memsc_work_rare(long microseconds, long (*make)(long number, const long args[6]),
                     uint64_t *array, size_t count)
{
    uint64_t gap = cycles_of(microseconds);
    for (size_t i = 0; i < count; i++) {
        compute(gap);
        uint64_t since = memsc_cycles();
        if (make)
            make(SYS_getppid, none);
        else
            syscall(SYS_getppid);
        array[i] = memsc_cycles() - since;
    }
}
