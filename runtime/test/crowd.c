/* SPDX-License-Identifier: MIT
 * 64 processes of four threads each call as fast as they can, on two CPUs: every thread gets on.
 *
 * Prints the calls of processes and threads, and how far the mean is above the least: the fairness.
 * MEMSC_CROWD_SECONDS: for how long, under each arm; then it is judged, too, where calls are forwarded. */
#include "check.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

enum { PROCESSES = 64, THREADS = 4, FAIR = 3 };

static struct {
    _Atomic uint32_t go; /* 1: count */
    _Atomic uint32_t ready;
    _Atomic uint64_t calls[PROCESSES][THREADS];
} *shared;

static void *caller(void *counter)
{
    _Atomic uint64_t *calls = counter;
    CHECK_EQUAL(memsc_register(), 0);
    CHECK_EQUAL(call(SYS_getppid, NO_ARGS), getppid());
    atomic_fetch_add(&shared->ready, 1);
    for (;;) {
        CHECK_EQUAL(call(SYS_getppid, NO_ARGS), getppid());
        if (atomic_load_explicit(&shared->go, memory_order_relaxed))
            atomic_fetch_add_explicit(calls, 1, memory_order_relaxed);
    }
    return NULL;
}

static _Noreturn void process(int number, const struct memsc_options *options)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    CHECK_EQUAL(memsc_start(options), 0);
    pthread_t thread;
    for (int i = 0; i < THREADS; i++)
        CHECK_EQUAL(pthread_create(&thread, NULL, caller, &shared->calls[number][i]), 0);
    for (;;)
        pause();
}

static void wait_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static bool all_got_on(void)
{
    for (int i = 0; i < PROCESSES; i++)
        for (int k = 0; k < THREADS; k++)
            if (!atomic_load(&shared->calls[i][k]))
                return false;
    return true;
}

static long memory_kib(pid_t pid)
{
    char path[64], line[128];
    long kib = 0;
    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", pid);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "Pss: %ld", &kib) == 1)
            break;
    if (file)
        fclose(file);
    return kib;
}

static void report(bool judged)
{
    uint64_t sum = 0, least = UINT64_MAX, most = 0, least_thread = UINT64_MAX;
    for (int i = 0; i < PROCESSES; i++) {
        uint64_t mine = 0;
        for (int k = 0; k < THREADS; k++) {
            uint64_t calls = atomic_load(&shared->calls[i][k]);
            mine += calls;
            least_thread = calls < least_thread ? calls : least_thread;
        }
        sum += mine;
        least = mine < least ? mine : least;
        most = mine > most ? mine : most;
    }
    double mean = (double)sum / PROCESSES;
    fprintf(stderr, "  calls %llu; a process: mean %.0f, least %llu, most %llu: %.2f and %.2f\n",
            (unsigned long long)sum, mean, (unsigned long long)least, (unsigned long long)most,
            mean / (double)least, (double)most / mean);
    fprintf(stderr, "  a thread: mean %.0f, least %llu: %.2f\n", mean / THREADS,
            (unsigned long long)least_thread, mean / THREADS / (double)least_thread);
    if (judged)
        CHECK(mean <= FAIR * (double)least);
}

static void crowd(const struct memsc_options *options)
{
    const char *text = getenv("MEMSC_CROWD_SECONDS");
    long milliseconds = text ? atol(text) * 1000 : 300;
    memset(shared, 0, sizeof *shared);
    pid_t child[PROCESSES];
    for (int i = 0; i < PROCESSES; i++) {
        child[i] = fork();
        CHECK(child[i] >= 0);
        if (child[i] == 0)
            process(i, options);
    }
    /* A process that never gets there fails the test by its time limit. */
    while (atomic_load(&shared->ready) < PROCESSES * THREADS)
        wait_ms(5);
    atomic_store(&shared->go, 1);
    wait_ms(milliseconds);
    while (!all_got_on())
        wait_ms(5);
    atomic_store(&shared->go, 0);
    report(text && options->transport != MEMSC_DIRECT);
    long kib = 0;
    for (int i = 0; i < PROCESSES; i++)
        kib += memory_kib(child[i]);
    fprintf(stderr, "  memory: %ld KiB a process\n", kib / PROCESSES);
    CHECK(kib / PROCESSES < 8192);
    for (int i = 0; i < PROCESSES; i++) {
        CHECK_EQUAL(waitpid(child[i], NULL, WNOHANG), 0);
        kill(child[i], SIGKILL);
        CHECK_EQUAL(waitpid(child[i], NULL, 0), child[i]);
    }
}

int main(void)
{
#if defined(ADDRESS_SANITIZER) || defined(THREAD_SANITIZER)
    fprintf(stderr, "a crowd under a sanitizer is no crowd\n");
    return 77;
#endif
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED);
    each_transport(crowd);
    return 0;
}
