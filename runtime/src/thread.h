/* SPDX-License-Identifier: MIT
 *
 * Service threads, made without the C library.
 *
 * They share everything with the process but are unknown to its C library: they never take one of
 * its locks, cannot be found by its fork or exit handlers, and start while the caller holds any of
 * its locks. They must not call it either.
 */
#ifndef MEMSC_THREAD_H
#define MEMSC_THREAD_H

#include <stdbool.h>
#include <stdint.h>

/* Starts run(argument) on a thread pinned to cpu, all signals blocked, named name (15 characters).
 * It never returns from run; it ends by memsc_thread_exit. Returns 0 or -errno. */
int memsc_thread_start(void (*run)(void *), void *argument, uint32_t cpu, const char *name);

_Noreturn void memsc_thread_exit(void);

/* Waits until every thread started here has ended, so that the kernel does not count it any more, and frees
 * their stacks. */
void memsc_thread_join_all(void);

/* Forgets the threads of the parent, in a forked child. */
void memsc_thread_forget(void);

/* How many threads the program itself has: those that the kernel counts less those started here. 0: not
 * known, for there is no /proc. Signals must be blocked. */
int memsc_threads_of_program(void);

/* The calling thread is about to end by exit(2). True if the program then has none left, which would leave
 * those started here alone: the process must end. Signals must be blocked. */
bool memsc_last_thread_leaves(void);

#endif
