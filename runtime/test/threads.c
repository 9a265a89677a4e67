/* SPDX-License-Identifier: MIT
 * Any number of threads, each with its own page; pages are given back when threads end. Which of them
 * starts the process is all the same. */
#include "check.h"

#include <errno.h>
#include <pthread.h>

enum { CALLS = 300 };

static void *work(void *leave)
{
    CHECK_EQUAL(memsc_register(), 0);
    int fd = (int)(long)CALL(SYS_dup, 2);
    CHECK(fd >= 0);
    for (int i = 0; i < CALLS; i++) {
        CHECK_EQUAL(call(SYS_getppid, NO_ARGS), getppid());
        int first = memsc_add(SYS_getppid, NO_ARGS), second = memsc_add(SYS_getuid, NO_ARGS);
        long result;
        CHECK_EQUAL(memsc_wait_all(), 2);
        CHECK_EQUAL(memsc_retval(second, &result), 0);
        CHECK_EQUAL(result, getuid());
        CHECK_EQUAL(memsc_retval(first, &result), 0);
        CHECK_EQUAL(result, getppid());
    }
    CHECK_EQUAL(CALL(SYS_close, fd), 0);
    if (leave)
        CHECK_EQUAL(memsc_unregister(), 0);
    return NULL; /* else the end of the thread gives the page back */
}

/* The first thread to register starts the process, as the environment says. */
static void start_by_environment(const struct memsc_options *options)
{
    static const char *const transports[] = {"direct", "ipi", "memsc", "adaptive"};
    char cpu[16];
    snprintf(cpu, sizeof cpu, "%d", options->service_cpus[0]);
    setenv("MEMSC_TRANSPORT", transports[options->transport], 1);
    setenv("MEMSC_SERVICE", options->service_mode == MEMSC_SCANNER ? "scanner" : "inline", 1);
    setenv("MEMSC_SERVICE_CPUS", cpu, 1);
}

static void body(const struct memsc_options *given)
{
    struct memsc_options options = *given;
    options.services = 1;
    if (options.transport == MEMSC_IPI)
        return;
    for (int round = 0; round < 3; round++) {
        if (round)
            CHECK_EQUAL(memsc_start(&options), 0);
        else
            start_by_environment(&options);
        pthread_t thread[8];
        for (long i = 0; i < 8; i++)
            CHECK_EQUAL(pthread_create(&thread[i], NULL, work, (void *)(i % 2)), 0);
        for (int i = 0; i < 8; i++)
            CHECK_EQUAL(pthread_join(thread[i], NULL), 0);
        CHECK_EQUAL(memsc_stop(), 0);
    }
}

int main(void)
{
    each_transport(body);
    each_handoff(body);
    return 0;
}
