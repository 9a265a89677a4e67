/* SPDX-License-Identifier: MIT
 *
 * Calling a call back.
 *
 * In the kernel a signal handler runs only after the call it interrupts has ended or was given up.
 * So here: before a handler runs, the thread's call is *settled*. If its result is there, or comes soon,
 * that is the result. If it waits, its service thread gets a signal of its own, and whether and how the
 * call ends is the kernel's answer to that: a part that was transferred, EINTR of a call that is never
 * restarted, or nothing (MEMSC_ABORTED), and then the caller decides as the kernel would. From then on
 * the thread has no call under way: the handler's own calls are forwarded like any, and a jump out of
 * it, a cancellation or a fork leaves nothing behind.
 */
#ifndef MEMSC_RECALL_H
#define MEMSC_RECALL_H

#include "process.h"

/* What a signal finds. */
enum memsc_settled {
    MEMSC_NOT_MADE, /* had not begun: to the program the signal came just before the call */
    MEMSC_GIVEN_UP, /* waited, without any effect: again, or EINTR */
    MEMSC_ENDED,    /* *result is its result */
};

/* Settles the calling thread's call, memsc_under_way. To be called before a signal handler of the
 * program runs, with all signals blocked; the interrupted frames must not go on. */
enum memsc_settled memsc_settle(struct memsc_self *self, long *result);

/* For a caller that finds its sleep ended by a handler that did not settle: ends the call. */
void memsc_interrupt(struct memsc_self *self, uint32_t index);

/* Ends the call whose caller is gone, out of a handler that did not settle: nobody wants the result. */
void memsc_abandon(struct memsc_self *self);

#endif
