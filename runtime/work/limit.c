/* SPDX-License-Identifier: MIT */
#include "limit.h"

#include <linux/membarrier.h>
#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common.h"
#include "cpu.h"
#include "layout.h"
#include "median.h"

static FILE *begin(const char *path)
{
    FILE *file = fopen(path, "w");
    if (!file)
        fail(path, errno);
    return file;
}

static void end(FILE *file, const char *path)
{
    fprintf(file, "}\n");
    if (fclose(file))
        fail(path, errno);
}

/* ---- a cache line ---- */

static struct {
    alignas(MEMSC_LINE) _Atomic uint64_t ball;
    alignas(MEMSC_LINE) _Atomic bool ready;
    int cpu;
} line;

static void *echo(void *trips)
{
    pin(line.cpu);
    atomic_store(&line.ready, true);
    for (uint64_t i = 1; i <= (uint64_t)(uintptr_t)trips; i++) {
        while (atomic_load_explicit(&line.ball, memory_order_acquire) != 2 * i - 1)
            memsc_pause();
        atomic_store_explicit(&line.ball, 2 * i, memory_order_release);
    }
    return NULL;
}

void memsc_work_line(int here, int there, uint64_t *array, size_t trips)
{
    size_t warm_up = trips / 10 + 1;
    pthread_t thread;
    line.cpu = there;
    atomic_store(&line.ball, 0);
    atomic_store(&line.ready, false);
    int error = pthread_create(&thread, NULL, echo, (void *)(uintptr_t)(trips + warm_up));
    if (error)
        fail("thread", error);
    pin(here);
    while (!atomic_load(&line.ready))
        memsc_pause();
    for (uint64_t i = 1; i <= trips + warm_up; i++) {
        uint64_t since = memsc_cycles();
        atomic_store_explicit(&line.ball, 2 * i - 1, memory_order_release);
        while (atomic_load_explicit(&line.ball, memory_order_acquire) != 2 * i)
            memsc_pause();
        uint64_t took = memsc_cycles() - since;
        if (i > warm_up)
            array[i - warm_up - 1] = took;
    }
    pthread_join(thread, NULL);
}

static size_t parse(const char *text, int *cpus)
{
    size_t count = 0;
    for (const char *at = text; *at; at += *at == ',') {
        char *rest;
        long cpu = strtol(at, &rest, 10);
        if (rest == at || (*rest && *rest != ',') || cpu < 0 || cpu >= CPU_SETSIZE ||
            count == CPU_SETSIZE)
            fail(text, EINVAL);
        cpus[count++] = (int)cpu;
        at = rest;
    }
    return count;
}

void memsc_work_pairs(const char *text, size_t trips, const char *measures)
{
    static int cpus[CPU_SETSIZE];
    size_t count = parse(text, cpus);
    uint64_t *array = intervals(trips);
    FILE *file = begin(measures);
    const char *between = "{";
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < count; k++) {
            if (i == k)
                continue;
            memsc_work_line(cpus[i], cpus[k], array, trips);
            fprintf(file, "%s\"line-%d-%d\": %llu", between, cpus[i], cpus[k],
                    (unsigned long long)median_of(array, trips));
            between = ", ";
        }
    if (count < 2)
        fprintf(file, "{");
    end(file, measures);
}

/* ---- the clock ---- */

void memsc_work_stamps(size_t count, const char *measures)
{
    FILE *file = begin(measures);
    uint64_t since = memsc_cycles();
    for (size_t i = 0; i < count; i++)
        memsc_cycles();
    uint64_t plain = memsc_cycles() - since;
    since = memsc_cycles();
    for (size_t i = 0; i < count; i++)
        memsc_cycles_ordered();
    uint64_t ordered = memsc_cycles() - since;
    fprintf(file, "{\"stamp\": %.3f, \"stamp-ordered\": %.3f", (double)plain / (double)count,
            (double)ordered / (double)count);
    end(file, measures);
}

/* ---- an interrupt ---- */

enum {
    GAP = 500,            /* cycles between two readings in a row that only an interrupt takes */
    PATIENCE = 100000000, /* cycles until it must have been seen */
};

static struct {
    alignas(MEMSC_LINE) _Atomic uint64_t seen; /* gaps */
    uint64_t start, end;                       /* of the last gap */
    alignas(MEMSC_LINE) _Atomic bool stop;
    _Atomic bool ready;
    int cpu;
} gap;

static void *watch(void *unused)
{
    pin(gap.cpu);
    uint64_t last = memsc_cycles();
    atomic_store(&gap.ready, true);
    while (!atomic_load_explicit(&gap.stop, memory_order_relaxed)) {
        uint64_t now = memsc_cycles();
        if (now - last > GAP) {
            gap.start = last;
            gap.end = now;
            /* Release: the gap before the count that says there is one. */
            atomic_fetch_add_explicit(&gap.seen, 1, memory_order_release);
            now = memsc_cycles();
        }
        last = now;
    }
    return unused;
}

long memsc_work_interrupts(int here, int there, uint64_t *array, size_t count, const char *measures)
{
    if (syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0))
        return -errno;
    uint64_t *taken = intervals(count), *whole = intervals(count);
    pthread_t thread;
    gap.cpu = there;
    int error = pthread_create(&thread, NULL, watch, NULL);
    if (error)
        fail("thread", error);
    pin(here);
    while (!atomic_load(&gap.ready))
        memsc_pause();
    size_t seen = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t before = atomic_load(&gap.seen);
        uint64_t since = memsc_cycles();
        if (syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0))
            fail("membarrier", errno);
        uint64_t back = memsc_cycles();
        /* Acquire: see above. */
        while (atomic_load_explicit(&gap.seen, memory_order_acquire) == before &&
               memsc_cycles() - back < PATIENCE)
            memsc_pause();
        /* A gap that began before the call is somebody else's; this one's may lie in it. */
        if (atomic_load(&gap.seen) != before + 1 || gap.start < since || gap.start > back)
            continue;
        array[seen] = gap.start - since;
        taken[seen] = gap.end - gap.start;
        whole[seen++] = back - since;
    }
    atomic_store(&gap.stop, true);
    pthread_join(thread, NULL);
    FILE *file = begin(measures);
    if (seen)
        fprintf(file, "{\"ipi-taken\": %llu, \"ipi-round-trip\": %llu",
                (unsigned long long)median_of(taken, seen),
                (unsigned long long)median_of(whole, seen));
    else
        fprintf(file, "{");
    end(file, measures);
    return (long)seen;
}
