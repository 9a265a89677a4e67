/* SPDX-License-Identifier: MIT
 *
 * memsc-work: the reference work, through the direct API, timed from outside.
 *
 *   memsc-work sync CALLS FILE         synchronous getppid, one interval per call
 *   memsc-work rare MICROSECONDS CALLS FILE  as sync, each so long after the one before
 *   memsc-work batch SIZE CALLS FILE   SIZE getppid posted, all waited for: one interval per batch
 *   memsc-work shared COUNT CALLS FILE as sync, while COUNT processes in all are registered
 *   memsc-work closed PROCESSES THREADS BATCH CALLS FILE  all call as fast as they can: one interval
 *   memsc-work open PROCESSES THREADS RATE CALLS FILE MEASURES  calls begin at random at RATE per second,
 *                                      one interval each from when it was to begin; none if they
 *                                      fell behind; MEASURES gets what was wanted and made, as JSON
 *   memsc-work library CALLS FILE      the same by the C library, for the layer to forward
 *   memsc-work interposed PAIRS MEASURES  what the layer adds to a call, as JSON (see interposed.h)
 *   memsc-work calls OPERATION FOLDER COUNT FILE  classic calls (see calls.h), one interval each
 *   memsc-work line CPU CPU TRIPS FILE round trips of one cache line between two CPUs
 *   memsc-work pairs CPU,… TRIPS MEASURES   medians of the same for all pairs, as JSON
 *   memsc-work ring CPU CPU batch SIZE CALLS FILE MEASURES
 *   memsc-work ring CPU CPU recorded CALLS FILE MEASURES
 *   memsc-work ring CPU CPU calls OPERATION FOLDER COUNT FILE MEASURES   the same by a bare ring between
 *                                      two CPUs (see ring.h); MEASURES gets its best variant, as JSON
 *   memsc-work stamps COUNT MEASURES   what a reading of the clock costs, as JSON
 *   memsc-work interrupts CPU CPU COUNT FILE MEASURES  the way of an interrupt between two CPUs
 *   memsc-work spin MILLISECONDS       nothing, without a pause: keeps a CPU busy
 *   memsc-work hits COUNT              passes of the probe memsc:calibrate, once stdin has ended
 *
 * FILE gets the intervals as native 64-bit cycle counts. Transport and service come from the
 * MEMSC_* environment. With the transport `direct` and recording off the calls are plain
 * syscall(2): the reference that nothing of memsc touches.
 */
#include <pthread.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "calls.h"
#include "common.h"
#include "cpu.h"
#include "interposed.h"
#include "layout.h"
#include "limit.h"
#include "load.h"
#include "memsc.h"
#include "neighbours.h"
#include "rare.h"
#include "ring.h"

static const long NO_ARGS[6] = {0};

static bool plain(void)
{
    struct memsc_options options;
    const char *wrong;
    int error = memsc_options_default(&options, sizeof options, &wrong);
    if (error)
        fail(wrong, -error);
    return options.transport == MEMSC_DIRECT && !options.recording;
}

static void begin(void)
{
    int error = memsc_register();
    if (error)
        fail("register", -error);
}

static void end(void)
{
    memsc_unregister();
    memsc_stop();
}

/* By the C library: plain system calls, unless the layer forwards them. */
static void library_calls(size_t calls, uint64_t *array)
{
    for (size_t i = 0; i < WARM_UP; i++)
        syscall(SYS_getppid);
    for (size_t i = 0; i < calls; i++) {
        uint64_t since = memsc_cycles();
        syscall(SYS_getppid);
        array[i] = memsc_cycles() - since;
    }
}

static void sync_calls(size_t calls, const char *path)
{
    uint64_t *array = intervals(calls);
    long result;
    if (plain()) {
        library_calls(calls, array);
    } else {
        begin();
        for (size_t i = 0; i < WARM_UP; i++)
            memsc_call(SYS_getppid, NO_ARGS, &result);
        for (size_t i = 0; i < calls; i++) {
            uint64_t since = memsc_cycles();
            memsc_call(SYS_getppid, NO_ARGS, &result);
            array[i] = memsc_cycles() - since;
        }
        end();
    }
    save(path, array, calls);
}

static void among_neighbours(uint32_t count, size_t calls, const char *path)
{
    pid_t neighbours[MEMSC_WORK_NEIGHBOURS];
    uint32_t others = plain() ? 0 : count - 1;
    memsc_work_start_neighbours(neighbours, others);
    sync_calls(calls, path);
    memsc_work_end_neighbours(neighbours, others);
}

static void one_batch(int size)
{
    int index[MEMSC_PAGE_ENTRIES];
    for (int i = 0; i < size; i++)
        index[i] = memsc_add(SYS_getppid, NO_ARGS);
    memsc_wait_all();
    for (int i = 0; i < size; i++) {
        long result;
        int error = memsc_retval(index[i], &result);
        if (error)
            fail("retval", -error);
    }
}

static void batches(int size, size_t calls, const char *path)
{
    size_t count = (calls + (size_t)size - 1) / (size_t)size;
    uint64_t *array = intervals(count);
    if (plain()) {
        for (size_t i = 0; i < count; i++) {
            uint64_t since = memsc_cycles();
            for (int k = 0; k < size; k++)
                syscall(SYS_getppid);
            array[i] = memsc_cycles() - since;
        }
    } else {
        begin();
        for (int i = 0; i < WARM_UP / size + 1; i++)
            one_batch(size);
        for (size_t i = 0; i < count; i++) {
            uint64_t since = memsc_cycles();
            one_batch(size);
            array[i] = memsc_cycles() - since;
        }
        end();
    }
    save(path, array, count);
}

/* ---- many callers ---- */

static struct memsc_work_load load_of(char **argv)
{
    struct memsc_work_load load = {
        .processes = (uint32_t)positive(argv[0]),
        .threads = (uint32_t)positive(argv[1]),
        .batch = 1,
        .calls = (size_t)positive(argv[3]),
        .forward = !plain(),
    };
    uint64_t callers = (uint64_t)load.processes * load.threads;
    if (!callers || callers > MEMSC_WORK_CALLERS || !load.calls)
        fail("load", EINVAL);
    return load;
}

static void closed_load(char **argv)
{
    struct memsc_work_load load = load_of(argv);
    struct memsc_work_done done;
    load.batch = (uint32_t)positive(argv[2]);
    if (!load.batch || load.batch > MEMSC_PAGE_ENTRIES)
        fail(argv[2], EINVAL);
    memsc_work_load(&load, &done);
    save(argv[4], &done.cycles, 1);
}

static void open_load(char **argv)
{
    struct memsc_work_load load = load_of(argv);
    struct memsc_work_done done;
    load.rate = (uint32_t)positive(argv[2]);
    if (!load.rate)
        fail(argv[2], EINVAL);
    memsc_work_load(&load, &done);
    /* How late the calls were of a load that is too much tells only how long it lasted. */
    if (done.calls == done.wanted)
        save(argv[4], done.late, done.calls);
    FILE *file = fopen(argv[5], "w");
    if (!file ||
        fprintf(file, "{\"wanted\": %zu, \"made\": %zu, \"cycles\": %llu}\n", done.wanted,
                done.calls, (unsigned long long)done.cycles) < 0 ||
        fclose(file))
        fail(argv[5], errno);
}

static long forwarded(long number, const long args[6])
{
    long result;
    int error = memsc_call(number, args, &result);
    return error ? error : result;
}

static void operations(const char *name, const char *folder, size_t count, const char *path)
{
    uint64_t *array = intervals(count);
    bool forward = !plain();
    if (forward)
        begin();
    int error = memsc_work_calls(name, folder, forward ? forwarded : NULL, array, count);
    if (forward)
        end();
    if (error)
        fail(name, -error);
    save(path, array, count);
}

static void rare_calls(long microseconds, size_t count, const char *path)
{
    uint64_t *array = intervals(count);
    bool forward = !plain();
    if (forward)
        begin();
    memsc_work_rare(microseconds, forward ? forwarded : NULL, array, count);
    if (forward)
        end();
    save(path, array, count);
}

/* ---- the bare ring ---- */

static uint64_t *ring_batches(int size, size_t calls, size_t *count)
{
    *count = (calls + (size_t)size - 1) / (size_t)size;
    uint64_t *array = intervals(*count);
    for (size_t i = 0; i < *count; i++) {
        uint64_t since = memsc_cycles();
        memsc_ring_batch(size);
        array[i] = memsc_cycles() - since;
    }
    return array;
}

static void recorded_by_ring(size_t calls, uint64_t *array)
{
    for (size_t i = 0; i < calls; i++) {
        uint64_t since = memsc_cycles();
        memsc_ring_recorded_call();
        array[i] = memsc_cycles() - since;
    }
}

static void bare_ring(char **argv, int argc)
{
    const char *file = argv[argc - 2], *measures = argv[argc - 1];
    size_t count;
    uint64_t *array;
    memsc_ring_begin((int)positive(argv[0]), (int)positive(argv[1]));
    if (argc == 7 && !strcmp(argv[2], "batch")) {
        long size = positive(argv[3]);
        if (size < 1 || size > MEMSC_PAGE_ENTRIES)
            fail(argv[3], EINVAL);
        memsc_ring_search_batch((int)size, measures);
        array = ring_batches((int)size, (size_t)positive(argv[4]), &count);
    } else if (argc == 6 && !strcmp(argv[2], "recorded")) {
        memsc_ring_search_recorded(measures);
        count = (size_t)positive(argv[3]);
        array = intervals(count);
        recorded_by_ring(count, array);
    } else if (argc == 8 && !strcmp(argv[2], "calls")) {
        memsc_ring_search(measures);
        count = (size_t)positive(argv[5]);
        array = intervals(count);
        int error = memsc_work_calls(argv[3], argv[4], memsc_ring_call, array, count);
        if (error)
            fail(argv[3], -error);
    } else {
        fail("ring", EINVAL);
    }
    memsc_ring_end();
    save(file, array, count);
}

/* ---- limits ---- */

static void round_trips(int here, int there, size_t trips, const char *path)
{
    uint64_t *array = intervals(trips);
    memsc_work_line(here, there, array, trips);
    save(path, array, trips);
}

static void interrupts(char **argv)
{
    size_t count = (size_t)positive(argv[2]);
    uint64_t *array = intervals(count);
    long seen = memsc_work_interrupts((int)positive(argv[0]), (int)positive(argv[1]), array, count,
                                      argv[4]);
    if (seen < 0)
        fail("membarrier", (int)-seen);
    save(argv[3], array, (size_t)seen);
}

static void spin(long milliseconds)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t end = now.tv_sec * 1000 + now.tv_nsec / 1000000 + milliseconds;
    do
        clock_gettime(CLOCK_MONOTONIC, &now);
    while (now.tv_sec * 1000 + now.tv_nsec / 1000000 < end);
}

static void probe_hits(size_t hits)
{
    char byte;
    while (read(STDIN_FILENO, &byte, 1) > 0)
        continue;
    memsc_clock_probe(hits);
}

int main(int argc, char **argv)
{
    if (argc == 4 && !strcmp(argv[1], "sync"))
        sync_calls((size_t)positive(argv[2]), argv[3]);
    else if (argc == 5 && !strcmp(argv[1], "rare"))
        rare_calls(positive(argv[2]), (size_t)positive(argv[3]), argv[4]);
    else if (argc == 4 && !strcmp(argv[1], "library")) {
        size_t calls = (size_t)positive(argv[2]);
        uint64_t *array = intervals(calls);
        library_calls(calls, array);
        save(argv[3], array, calls);
    } else if (argc == 4 && !strcmp(argv[1], "interposed")) {
        memsc_work_interposed((size_t)positive(argv[2]), argv[3]);
    } else if (argc == 5 && !strcmp(argv[1], "batch")) {
        long size = positive(argv[2]);
        if (size < 1 || size > MEMSC_PAGE_ENTRIES)
            fail(argv[2], EINVAL);
        batches((int)size, (size_t)positive(argv[3]), argv[4]);
    } else if (argc == 5 && !strcmp(argv[1], "shared")) {
        long count = positive(argv[2]);
        if (count < 1 || count > MEMSC_WORK_NEIGHBOURS + 1)
            fail(argv[2], EINVAL);
        among_neighbours((uint32_t)count, (size_t)positive(argv[3]), argv[4]);
    } else if (argc == 7 && !strcmp(argv[1], "closed"))
        closed_load(argv + 2);
    else if (argc == 8 && !strcmp(argv[1], "open"))
        open_load(argv + 2);
    else if (argc == 6 && !strcmp(argv[1], "calls"))
        operations(argv[2], argv[3], (size_t)positive(argv[4]), argv[5]);
    else if (argc == 3 && !strcmp(argv[1], "spin"))
        spin(positive(argv[2]));
    else if (argc == 6 && !strcmp(argv[1], "line"))
        round_trips((int)positive(argv[2]), (int)positive(argv[3]), (size_t)positive(argv[4]),
                    argv[5]);
    else if (argc == 5 && !strcmp(argv[1], "pairs"))
        memsc_work_pairs(argv[2], (size_t)positive(argv[3]), argv[4]);
    else if (argc >= 8 && !strcmp(argv[1], "ring"))
        bare_ring(argv + 2, argc - 2);
    else if (argc == 4 && !strcmp(argv[1], "stamps"))
        memsc_work_stamps((size_t)positive(argv[2]), argv[3]);
    else if (argc == 7 && !strcmp(argv[1], "interrupts"))
        interrupts(argv + 2);
    else if (argc == 3 && !strcmp(argv[1], "hits"))
        probe_hits((size_t)positive(argv[2]));
    else {
        fprintf(stderr,
                "usage: memsc-work sync CALLS FILE | rare MICROSECONDS CALLS FILE | library CALLS "
                "FILE | "
                "interposed PAIRS MEASURES | batch SIZE CALLS FILE | "
                "shared COUNT CALLS FILE | closed PROCESSES THREADS BATCH CALLS FILE | "
                "open PROCESSES THREADS RATE CALLS FILE MEASURES | "
                "calls OPERATION FOLDER COUNT FILE | line CPU CPU TRIPS FILE | "
                "pairs CPU,… TRIPS MEASURES | "
                "ring CPU CPU batch SIZE CALLS FILE MEASURES | "
                "ring CPU CPU recorded CALLS FILE MEASURES | "
                "ring CPU CPU calls OPERATION FOLDER COUNT FILE MEASURES | stamps COUNT MEASURES | "
                "interrupts CPU CPU COUNT FILE MEASURES | "
                "spin MILLISECONDS | hits COUNT\n");
        return 2;
    }
    return 0;
}
