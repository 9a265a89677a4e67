/* SPDX-License-Identifier: MIT
 *
 * Children and signals.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "executor.h"

/* The child has its parent's files and goes on by itself. */
long do_fork(const long *a)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        long wrote = would_wait(*slot(a[0]), POLLOUT) ? WOULD_WAIT : write(*slot(a[0]), "child", 5);
        _exit(wrote == 5 ? 5 : wrote == WOULD_WAIT ? 7 : errno % 100);
    }
    pid_t ended = waitpid(child, &status, 0);
    return ended == child ? status : -1;
}

long do_spawn(const long *a)
{
    char *const arguments[] = {"sh", "-c", a[0] % 2 ? "ls d 2>/dev/null | wc -l >b" : "exit 3",
                               NULL};
    char *const nothing[] = {"PATH=/usr/bin:/bin", NULL};
    pid_t child;
    int status = 0,
        error = posix_spawn(&child, "/bin/sh", NULL, NULL, arguments, a[1] % 2 ? nothing : environ);
    return error || waitpid(child, &status, 0) != child ? -1 : status;
}

static void catch(int number)
{
    caught = caught + number;
}

long do_handler(const long *a)
{
    struct sigaction action = {.sa_handler = a[0] % 2 ? catch : SIG_IGN};
    return sigaction(SIGPIPE, &action, NULL);
}

long do_raise(const long *a)
{
    struct sigaction action = {.sa_handler = catch, .sa_flags = a[0] % 2 ? SA_RESTART : 0};
    return sigaction(SIGUSR1, &action, NULL) ? -1 : raise(SIGUSR1);
}
