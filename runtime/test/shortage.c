/* SPDX-License-Identifier: MIT
 * A start that fails half way leaves nothing behind, and nobody finds it half done. */
#include "check.h"

#include <errno.h>
#include <pthread.h>
#include <sys/resource.h>

enum {
    STARTERS = 4,
    TRIES = 50,
    NOBODY_ELSE = 64000 /* users who run nothing, and their number */
};

static struct memsc_options options;
static pthread_barrier_t ready;

/* Where one more thread cannot be made, none of those who start together gets a page. */
static void *start_in_vain(void *unused)
{
    pthread_barrier_wait(&ready);
    for (int i = 0; i < TRIES; i++) {
        int error = memsc_start(&options);
        if (error == 0 || error == -EALREADY)
            error = memsc_register();
        CHECK_EQUAL(error, -EAGAIN);
    }
    pthread_barrier_wait(&ready); /* who ends makes room */
    return unused;
}

/* Returns what was allowed before. */
static rlim_t allow_threads(rlim_t count)
{
    struct rlimit limit;
    CHECK_EQUAL(getrlimit(RLIMIT_NPROC, &limit), 0);
    rlim_t before = limit.rlim_cur;
    limit.rlim_cur = count;
    CHECK_EQUAL(setrlimit(RLIMIT_NPROC, &limit), 0);
    return before;
}

/* extra: service threads that can be made before one cannot. */
static void start_among_many(rlim_t extra)
{
    pthread_t threads[STARTERS];
    uid_t user = NOBODY_ELSE + (uid_t)getpid() % 1000;
    CHECK_EQUAL(setresuid(user, user, user), 0);
    pthread_barrier_init(&ready, NULL, STARTERS + 1);
    for (int i = 0; i < STARTERS; i++)
        CHECK_EQUAL(pthread_create(&threads[i], NULL, start_in_vain, NULL), 0);
    rlim_t before = allow_threads(1 + STARTERS + extra);
    pthread_barrier_wait(&ready);
    pthread_barrier_wait(&ready);
    for (int i = 0; i < STARTERS; i++)
        pthread_join(threads[i], NULL);
    allow_threads(before);
    CHECK_EQUAL(memsc_start(&options), 0);
    CHECK_EQUAL(memsc_register(), 0);
    CHECK_EQUAL(CALL(SYS_getppid), getppid());
    _exit(0);
}

static void in_a_child(rlim_t extra)
{
    int status;
    pid_t child = fork();
    if (child == 0)
        start_among_many(extra);
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK_EQUAL(status, 0);
}

static void body(const struct memsc_options *given)
{
    options = *given;
    if (options.transport == MEMSC_DIRECT)
        return;
    in_a_child(0);
    if (options.service_mode == MEMSC_SCANNER) /* scanner and worker */
        in_a_child(1);
}

int main(void)
{
    if (geteuid() != 0) {
        fprintf(stderr, "needs root, to become a user who runs nothing\n");
        return 77;
    }
    each_transport(body);
    return 0;
}
