/* SPDX-License-Identifier: MIT */
#include "neighbours.h"

#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common.h"
#include "memsc.h"

enum { PAUSE_NS = 1000000 };

static _Noreturn void be_one(int started)
{
    static const long no_args[6];
    struct memsc_options options;
    long result;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    memsc_options_default(&options, sizeof options, NULL);
    /* Only the calls among them are measured. */
    options.recording = options.keep = 0;
    options.directory[0] = 0;
    int error = memsc_start(&options);
    if (!error)
        error = memsc_register();
    if (error)
        fail("register", -error);
    for (bool first = true;; first = false) {
        memsc_call(SYS_getppid, no_args, &result);
        if (first && write(started, "", 1) != 1)
            fail("pipe", errno);
        nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
    }
}

void memsc_work_start_neighbours(pid_t *neighbours, uint32_t count)
{
    int started[2];
    if (pipe(started))
        fail("pipe", errno);
    for (uint32_t i = 0; i < count; i++) {
        neighbours[i] = fork();
        if (neighbours[i] < 0)
            fail("fork", errno);
        if (neighbours[i] == 0)
            be_one(started[1]);
    }
    close(started[1]);
    for (uint32_t i = 0; i < count; i++) {
        char byte;
        if (read(started[0], &byte, 1) != 1)
            fail("a neighbour", EPIPE);
    }
    close(started[0]);
}

void memsc_work_end_neighbours(const pid_t *neighbours, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        kill(neighbours[i], SIGKILL);
        waitpid(neighbours[i], NULL, 0);
    }
}
