/* SPDX-License-Identifier: MIT
 *
 * Handlers, and a timer whose signals meet calls.
 */
#ifndef SIGNALLING_H
#define SIGNALLING_H

#include "feature.h"

#include <signal.h>
#include <sys/time.h>

static inline void on(int signal, void (*handler)(int), int flags)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    sigaction(signal, &action, NULL);
}

/* Again and again: on a busy machine one may come before the call it is for. 0: no more. */
static inline void tick(long microseconds)
{
    struct itimerval timer = {{0, microseconds}, {0, microseconds}};
    setitimer(ITIMER_REAL, &timer, NULL);
}

static inline void tick_once(long microseconds)
{
    struct itimerval timer = {{0, 0}, {0, microseconds}};
    setitimer(ITIMER_REAL, &timer, NULL);
}

#endif
