/* SPDX-License-Identifier: MIT
 *
 * Calls that run on the caller and change what later calls of the thread or the process may do.
 */
#ifndef MEMSC_LAYER_LOCAL_H
#define MEMSC_LAYER_LOCAL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>

#include "stub.h"

/* The thread's state besides its page. A forked child inherits it, a vforked one shares it. */
struct memsc_layer_thread {
    uint32_t never;        /* 1 + enum memsc_unforwarded: nothing is forwarded any more */
    uint32_t vfork_parent; /* thread that waits for a child which borrows this very memory */
    /* If it is the first of its PID namespace, its robust list, which no child has. */
    uint64_t vfork_list;
    uint32_t beside;     /* calls that it makes itself while others have its service's CPU */
    uint32_t refusals;   /* how often in a row it got no page */
    uint32_t pause;      /* calls until it asks again … */
    uint32_t paused_for; /* … for this reason: enum memsc_unforwarded */
    /* Memory for what a program is given that this thread, or a child that borrows its memory, executes. */
    uint64_t environment, environment_size;
};

extern _Thread_local struct memsc_layer_thread memsc_layer_thread
    __attribute__((tls_model("initial-exec")));

/* Whether the calling task is a child that borrows the memory of a waiting parent. */
bool memsc_is_borrowing(void);

/* Called before any call that is not forwarded. */
void memsc_before_local(long number, const uint64_t args[6]);

/* Whether a call executes a program. */
static inline bool memsc_executes(long number)
{
    return number == SYS_execve || number == SYS_execveat;
}

/* Makes such a call, for a thread of the process or for a child that borrows its memory. */
struct memsc_answer memsc_execute(long number, const uint64_t args[6], bool borrowed);

#endif
