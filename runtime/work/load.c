/* SPDX-License-Identifier: MIT */
#include "load.h"

#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common.h"
#include "cpu.h"
#include "layout.h"
#include "memsc.h"

enum { BEHIND_NS = 100000000 };

static const long NO_ARGS[6] = {0};

/* One thread's part, in memory that all processes share. */
struct part {
    uint64_t begin, end; /* cycles */
    size_t made;
    uint64_t *late; /* of each call, in the open loop */
};

static struct {
    const struct memsc_work_load *load;
    struct part *parts;
    size_t each;        /* calls of a thread */
    int ready[2];       /* a byte for each thread that has registered */
    int go[2];          /* ends when all may begin */
    double cycles_each; /* mean gap between two calls of one thread */
    uint64_t behind;    /* cycles */
    bool crowded;       /* more threads than CPUs: waiting must let others run */
} at;

static void batch_calls(uint32_t size)
{
    int index[MEMSC_PAGE_ENTRIES];
    long result;
    for (uint32_t i = 0; i < size; i++)
        index[i] = memsc_add(SYS_getppid, NO_ARGS);
    memsc_wait_all();
    for (uint32_t i = 0; i < size; i++) {
        int error = memsc_retval(index[i], &result);
        if (error)
            fail("retval", -error);
    }
}

static void one_turn(uint32_t batch)
{
    long result;
    if (!at.load->forward)
        for (uint32_t i = 0; i < batch; i++)
            syscall(SYS_getppid);
    else if (batch == 1)
        memsc_call(SYS_getppid, NO_ARGS, &result);
    else
        batch_calls(batch);
}

static void closed_loop(struct part *part)
{
    uint32_t batch = at.load->batch;
    for (size_t made = 0; made < at.each; made += batch)
        one_turn(batch);
    part->made = at.each;
}

/* xorshift64*, which is enough for arrival times; in (0, 1]. */
static double random_share(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (double)((*state * 0x2545f4914f6cdd1dull >> 11) + 1) * 0x1p-53;
}

static void open_loop(struct part *part, uint64_t seed)
{
    uint64_t since = memsc_cycles();
    double meant = 0;
    for (size_t i = 0; i < at.each; i++) {
        meant -= log(random_share(&seed)) * at.cycles_each;
        uint64_t start = since + (uint64_t)meant;
        uint64_t now;
        while ((now = memsc_cycles()) < start) {
            if (at.crowded)
                sched_yield();
            else
                memsc_pause();
        }
        if (now - start > at.behind)
            return;
        one_turn(1);
        part->late[i] = memsc_cycles() - start;
        part->made = i + 1;
    }
}

static void *call_away(void *number)
{
    size_t mine = (size_t)(uintptr_t)number;
    struct part *part = &at.parts[mine];
    char byte;
    int error = at.load->forward ? memsc_register() : 0;
    if (error)
        fail("register", -error);
    for (int i = 0; i < WARM_UP / 10; i++)
        one_turn(at.load->batch);
    if (write(at.ready[1], "", 1) != 1 || read(at.go[0], &byte, 1) != 0)
        fail("pipe", errno);
    part->begin = memsc_cycles();
    if (at.load->rate)
        open_loop(part, 0x9e3779b97f4a7c15ull * (mine + 1));
    else
        closed_loop(part);
    part->end = memsc_cycles();
    if (at.load->forward)
        memsc_unregister();
    return NULL;
}

static _Noreturn void be_process(size_t number)
{
    uint32_t threads = at.load->threads;
    pthread_t thread[MEMSC_WORK_CALLERS];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(at.go[1]);
    close(at.ready[0]);
    for (uint32_t i = 0; i < threads; i++) {
        void *mine = (void *)(uintptr_t)(number * threads + i);
        int error = pthread_create(&thread[i], NULL, call_away, mine);
        if (error)
            fail("thread", error);
    }
    for (uint32_t i = 0; i < threads; i++)
        pthread_join(thread[i], NULL);
    if (at.load->forward)
        memsc_stop();
    _exit(0);
}

static pid_t start_process(size_t number)
{
    if (pipe(at.ready))
        fail("pipe", errno);
    pid_t child = fork();
    if (child < 0)
        fail("fork", errno);
    if (child == 0)
        be_process(number);
    close(at.ready[1]);
    /* The end of the pipe instead of a byte: it died, and has said why. */
    for (uint32_t i = 0; i < at.load->threads; i++) {
        char byte;
        if (read(at.ready[0], &byte, 1) != 1)
            exit(1);
    }
    close(at.ready[0]);
    return child;
}

static double cycles_per_ns(void)
{
    struct memsc_clock_sample first, second;
    memsc_clock_sample(&first);
    usleep(20000);
    memsc_clock_sample(&second);
    return (double)(second.cycles - first.cycles) / (double)(second.ns - first.ns);
}

static void prepare(const struct memsc_work_load *load, uint32_t callers)
{
    cpu_set_t cpus;
    double per_ns = cycles_per_ns();
    if (sched_getaffinity(0, sizeof cpus, &cpus) || pipe(at.go))
        fail("preparing", errno);
    at.load = load;
    size_t batches = (load->calls + (size_t)callers * load->batch - 1) / callers / load->batch;
    at.each = batches * load->batch;
    at.crowded = callers > (uint32_t)CPU_COUNT(&cpus);
    at.behind = (uint64_t)(BEHIND_NS * per_ns);
    at.cycles_each = load->rate ? 1e9 * per_ns * callers / load->rate : 0;
    at.parts = shared(callers * sizeof *at.parts);
    for (uint32_t i = 0; load->rate && i < callers; i++)
        at.parts[i].late = shared(at.each * sizeof(uint64_t));
}

static void collect(uint32_t callers, struct memsc_work_done *done)
{
    uint64_t begin = UINT64_MAX, end = 0;
    *done = (struct memsc_work_done){.wanted = at.each * callers};
    done->late = at.load->rate ? intervals(done->wanted) : NULL;
    for (uint32_t i = 0; i < callers; i++) {
        const struct part *part = &at.parts[i];
        begin = part->begin < begin ? part->begin : begin;
        end = part->end > end ? part->end : end;
        if (done->late)
            memcpy(done->late + done->calls, part->late, part->made * sizeof *part->late);
        done->calls += part->made;
    }
    done->cycles = end - begin;
}

void memsc_work_load(const struct memsc_work_load *load, struct memsc_work_done *done)
{
    uint32_t callers = load->processes * load->threads;
    pid_t child[MEMSC_WORK_CALLERS];
    prepare(load, callers);
    for (uint32_t i = 0; i < load->processes; i++)
        child[i] = start_process(i);
    close(at.go[1]);
    for (uint32_t i = 0; i < load->processes; i++) {
        int status;
        if (waitpid(child[i], &status, 0) < 0 || status)
            exit(1);
    }
    collect(callers, done);
}
