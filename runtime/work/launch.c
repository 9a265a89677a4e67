/* SPDX-License-Identifier: MIT
 *
 * memsc-launch FD LIBRARY PROGRAM ARGUMENT…
 *
 * Says by one byte on the socket FD that it holds, and waits for one, so that probes are attached to this
 * process before it becomes the program, and not before it has become this one; then executes PROGRAM with
 * LIBRARY preloaded ("" for none). The end of FD without a byte means that the session is gone: nothing is
 * executed.
 *
 * The program is killed when the session dies. Nobody would read its call rings any more, and with
 * a full one it would wait for ever.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { NOT_STARTED = 125, NOT_EXECUTABLE = 126, NOT_FOUND = 127 };

int main(int argc, char **argv)
{
    if (argc < 4) {
        fprintf(stderr, "usage: memsc-launch FD LIBRARY PROGRAM ARGUMENT…\n");
        return NOT_STARTED;
    }
    /* Before the wait: a session that dies earlier than this has closed FD. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL))
        return NOT_STARTED;
    int fd = atoi(argv[1]);
    if (send(fd, "h", 1, MSG_NOSIGNAL) != 1)
        return NOT_STARTED;
    char go;
    ssize_t got;
    do
        got = read(fd, &go, 1);
    while (got < 0 && errno == EINTR);
    if (got != 1)
        return NOT_STARTED;
    close(fd);
    if (*argv[2]) {
        const char *others = getenv("LD_PRELOAD");
        char *list = NULL;
        if (asprintf(&list, "%s%s%s", argv[2], others && *others ? ":" : "", others ? others : "") <
                0 ||
            setenv("LD_PRELOAD", list, 1))
            return NOT_STARTED;
    }
    execvp(argv[3], argv + 3);
    int error = errno;
    fprintf(stderr, "memsc: %s: %s\n", argv[3], strerror(error));
    return error == ENOENT ? NOT_FOUND : NOT_EXECUTABLE;
}
