/* SPDX-License-Identifier: MIT
 *
 * What the tracer asks of the cycle counter: how it lies to CLOCK_MONOTONIC, and how far the
 * counters of two CPUs may be apart.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdalign.h>
#include <time.h>

#include "barrier.h"
#include "cpu.h"
#include "memsc.h"

enum { TRIES = 64 };

int memsc_clock_sample(struct memsc_clock_sample *sample)
{
    uint64_t best = UINT64_MAX;
    for (int i = 0; i < TRIES; i++) {
        struct timespec now;
        uint64_t before = memsc_cycles();
        if (clock_gettime(CLOCK_MONOTONIC, &now))
            return -errno;
        uint64_t after = memsc_cycles();
        if (after - before >= best)
            continue;
        /* The narrowest bracket was disturbed least. */
        best = after - before;
        sample->cycles = before + best / 2;
        sample->ns = now.tv_sec * 1000000000ll + now.tv_nsec;
        sample->width = best;
    }
    return 0;
}

struct echo {
    alignas(64) _Atomic uint64_t ball;
    alignas(64) uint64_t stamp;
    uint32_t cpu;
    uint32_t trips;
    _Atomic int state; /* 0 not there yet, 1 ready, -errno failed */
};

static int pin(uint32_t cpu)
{
    cpu_set_t set;
    if (cpu >= CPU_SETSIZE)
        return -EINVAL;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    return sched_setaffinity(0, sizeof set, &set) ? -errno : 0;
}

static void *echo_main(void *argument)
{
    struct echo *echo = argument;
    int error = pin(echo->cpu);
    atomic_store(&echo->state, error ? error : 1);
    for (uint64_t i = 1; !error && i <= echo->trips; i++) {
        /* Acquire and release: each stamp lies between the ball's coming and its going. */
        while (load_acquire(&echo->ball) != 2 * i - 1)
            memsc_pause();
        echo->stamp = memsc_cycles_ordered(); /* after the ball has come, not speculated before */
        store_release(&echo->ball, 2 * i);
    }
    return NULL;
}

int memsc_clock_skew(uint32_t here, uint32_t there, uint32_t trips, int64_t *low, int64_t *high)
{
    cpu_set_t before;
    if (sched_getaffinity(0, sizeof before, &before))
        return -errno;
    struct echo echo = {.cpu = there, .trips = trips};
    pthread_t thread;
    int error = pin(here);
    if (error)
        return error;
    error = -pthread_create(&thread, NULL, echo_main, &echo);
    if (!error) {
        while ((error = atomic_load(&echo.state)) == 0)
            memsc_pause();
        error = error < 0 ? error : 0;
        *low = INT64_MIN;
        *high = INT64_MAX;
        for (uint64_t i = 1; !error && i <= trips; i++) {
            uint64_t sent = memsc_cycles();
            store_release(&echo.ball, 2 * i - 1);
            while (load_acquire(&echo.ball) != 2 * i)
                memsc_pause();
            uint64_t back = memsc_cycles_ordered();
            /* The other CPU's stamp was taken between these two, whatever its counter says. */
            int64_t least = (int64_t)(echo.stamp - back), most = (int64_t)(echo.stamp - sent);
            *low = least > *low ? least : *low;
            *high = most < *high ? most : *high;
        }
        pthread_join(thread, NULL);
    }
    sched_setaffinity(0, sizeof before, &before);
    return error;
}

uint64_t memsc_clock_cycles(void)
{
    return memsc_cycles();
}
