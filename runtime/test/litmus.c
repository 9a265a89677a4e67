/* SPDX-License-Identifier: MIT
 * The barriers of handshake.h on this machine: of two parties that each store and then load what the other
 * stores, at least one sees the other. runtime/model proves what follows from that. */
#include "check.h"

#include <pthread.h>
#include <stdalign.h>
#include <time.h>

#include "handshake.h"

enum { ROUNDS = 200000, SECONDS = 1 };

struct side {
    alignas(128) _Atomic uint32_t announced; /* by this side */
    alignas(128) uint32_t saw;               /* of the other */
    alignas(128) _Atomic uint32_t arrived, left;
};

static struct side sides[2];
static bool symmetric, without; /* … any barrier: to see what there is to see */
static _Atomic bool over;

static void announce_and_look(int me, bool rare)
{
    atomic_store_explicit(&sides[me].announced, 1, memory_order_relaxed);
    if (without)
        atomic_signal_fence(memory_order_seq_cst);
    else if (rare)
        memsc_heavy_barrier(symmetric);
    else
        memsc_light_barrier(symmetric);
    sides[me].saw = atomic_load_explicit(&sides[1 - me].announced, memory_order_relaxed);
}

/* Both sides at once: the other one may be waiting for a CPU. */
static void meet(_Atomic uint32_t *mine, _Atomic uint32_t *other, uint32_t round)
{
    atomic_store(mine, round);
    for (uint32_t polls = 1; atomic_load(other) < round && !atomic_load(&over); polls++)
        if (polls % 4096 == 0)
            sched_yield();
}

static void *frequent(void *nothing)
{
    for (uint32_t round = 1; !atomic_load(&over); round++) {
        meet(&sides[0].arrived, &sides[1].arrived, round);
        announce_and_look(0, false);
        meet(&sides[0].left, &sides[1].left, round);
    }
    return nothing;
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void both(const char *name)
{
    uint32_t missed = 0, round = 1;
    memset(sides, 0, sizeof sides);
    atomic_store(&over, false);
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(0, &set);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setaffinity_np(&attributes, sizeof set, &set);
    pthread_t thread;
    CHECK_EQUAL(pthread_create(&thread, &attributes, frequent, NULL), 0);
    pthread_attr_destroy(&attributes);
    double end = now() + SECONDS;
    for (; round <= ROUNDS && now() < end; round++) {
        meet(&sides[1].arrived, &sides[0].arrived, round);
        announce_and_look(1, true);
        /* Once the other has arrived there, it waits for this side, which clears up first. */
        while (atomic_load(&sides[0].left) < round)
            ;
        missed += !sides[0].saw && !sides[1].saw;
        atomic_store(&sides[0].announced, 0);
        atomic_store(&sides[1].announced, 0);
        atomic_store(&sides[1].left, round);
    }
    atomic_store(&over, true);
    pthread_join(thread, NULL);
    fprintf(stderr, "%s: in %u of %u rounds neither saw the other\n", name, missed, round - 1);
    CHECK(without || missed == 0);
}

int main(void)
{
    two_cpus();
    symmetric =
        MEMSC_SYS(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0, 0, 0, 0) < 0;
    both(symmetric ? "no membarrier here: full barriers" : "membarrier");
    symmetric = true;
    both("full barriers");
    without = true;
    both("none");
    return 0;
}
