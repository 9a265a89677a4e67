/* SPDX-License-Identifier: MIT
 *
 * Calls that are carried, in a thread that comes and goes, and how a child ended.
 */
#ifndef TASKS_H
#define TASKS_H

#include "feature.h"

#include <pthread.h>
#include <sys/wait.h>

static inline void work(void)
{
    for (int i = 0; i < 20; i++)
        EXPECT(getppid() > 0);
}

/* What a thread runs that does nothing else. */
static inline void *works(void *unused)
{
    work();
    return unused;
}

/* From its beginning to its end. */
static inline void in_thread(void *(*run)(void *), void *with)
{
    pthread_t thread;
    EXPECT(pthread_create(&thread, NULL, run, with) == 0);
    pthread_join(thread, NULL);
}

/* Its status, or the signal that ended it, less than 0. */
static inline int ended(pid_t child)
{
    int status = -1;
    EXPECT(waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

#endif
