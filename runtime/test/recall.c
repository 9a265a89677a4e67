/* SPDX-License-Identifier: MIT
 * A handler that ends the call it interrupts and jumps out: no byte is lost, none comes twice. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/time.h>

#include "check.h"
#include "forward.h"
#include "recall.h"
#include "recall_signal.h"
#include "wait.h"

enum { BYTES = 2000 };

static sigjmp_buf back;
static enum memsc_settled settled;
static long result;
static int counts[MEMSC_ENDED + 1], ends[2];

static void ends_call(int signal)
{
    (void)signal;
    if (!memsc_under_way)
        return;
    settled = memsc_settle(memsc_self, &result);
    CHECK(!memsc_under_way);
    counts[settled]++;
    siglongjmp(back, 1);
}

static void *writes(void *unused)
{
    for (int i = 0; i < BYTES; i++) {
        unsigned char byte = (unsigned char)i;
        usleep(i % 7 * 20);
        CHECK_EQUAL(write(ends[1], &byte, 1), 1);
    }
    return unused;
}

/* Nobody writes yet, so there is nothing to wait for but the handler. */
static void gives_up(void)
{
    const uint64_t args[6] = {(uint64_t)ends[0], (uint64_t)&result, 1};
    settled = MEMSC_ENDED;
    while (settled != MEMSC_GIVEN_UP)
        if (sigsetjmp(back, 1) == 0)
            memsc_forward(SYS_read, args, &result);
}

static void *nothing(void *unused)
{
    return unused;
}

static void tick(long microseconds)
{
    struct itimerval timer = {{0, microseconds}, {0, microseconds}};
    CHECK_EQUAL(setitimer(ITIMER_REAL, &timer, NULL), 0);
}

static void body(const struct memsc_options *options)
{
    pthread_t writer;
    static unsigned char byte;
    if (options->transport == MEMSC_DIRECT)
        return; /* the kernel's own calls: nothing is called back */
    CHECK_EQUAL(memsc_process_start(options), 0);
    CHECK_EQUAL(memsc_thread_register(), 0);
    CHECK_EQUAL(pipe(ends), 0);
    tick(300);
    gives_up();
    sigset_t alarm;
    sigemptyset(&alarm);
    sigaddset(&alarm, SIGALRM);
    pthread_sigmask(SIG_BLOCK, &alarm, NULL); /* inherited by the writer */
    CHECK_EQUAL(pthread_create(&writer, NULL, writes, NULL), 0);
    pthread_sigmask(SIG_UNBLOCK, &alarm, NULL);
    for (volatile int i = 0; i < BYTES;) {
        const uint64_t args[6] = {(uint64_t)ends[0], (uint64_t)&byte, 1};
        settled = MEMSC_ENDED;
        if (sigsetjmp(back, 1) == 0)
            CHECK_EQUAL(memsc_forward(SYS_read, args, &result), MEMSC_FORWARDED);
        if (settled != MEMSC_ENDED)
            continue;
        CHECK_EQUAL(result, 1);
        CHECK_EQUAL(byte, (unsigned char)i);
        i++;
    }
    tick(0);
    pthread_join(writer, NULL);
    close(ends[0]);
    close(ends[1]);
    CHECK_EQUAL(memsc_thread_unregister(), 0);
    CHECK_EQUAL(memsc_process_stop(), 0);
}

int main(void)
{
#ifdef THREAD_SANITIZER
    return 77; /* it keeps signals back until the C library makes a call */
#endif
    struct sigaction action = {.sa_handler = ends_call};
    sigfillset(&action.sa_mask);
    sigaction(SIGALRM, &action, NULL);
    /* With its first thread the C library takes the signal, which the layer does not let it. */
    pthread_t first;
    CHECK_EQUAL(pthread_create(&first, NULL, nothing, NULL), 0);
    pthread_join(first, NULL);
    CHECK_EQUAL(memsc_recall_enable(), 0);
    each_transport(body);
    fprintf(stderr, "%d not made, %d given up, %d ended\n", counts[MEMSC_NOT_MADE],
            counts[MEMSC_GIVEN_UP], counts[MEMSC_ENDED]);
    CHECK(counts[MEMSC_GIVEN_UP] > 0 && counts[MEMSC_ENDED] > 0);
    return 0;
}
