/* SPDX-License-Identifier: MIT
 *
 * Calls after which a process goes on without memsc.
 *
 * A seccomp filter may forbid what the runtime does for itself, and end a thread that does it; and what a thread's
 * filter forbids must not be done for it by a service thread that has none. Threads that it makes inherit
 * it and cannot be told from others. Syscall User Dispatch has each call made outside a range of addresses end
 * in the program's handler: those of the layer, too, and a handler's own before the program's has switched it
 * off. Who forbids itself to read the time stamp counter (PR_SET_TSC) forbids it to the runtime.
 *
 * Who asks to be traced (PTRACE_TRACEME) shows its tracer a thread that it does not know, and no calls.
 *
 * So with the first of these the service is ended if no other thread has calls there, handlers are the
 * program's own again, and from then on the layer makes no system call of its own and reads no counter. A
 * program that is executed under a filter, without the counter, or traced, is not rewritten.
 */
#ifndef MEMSC_LAYER_RETIRE_H
#define MEMSC_LAYER_RETIRE_H

#include <stdbool.h>
#include <stdint.h>

/* Whether it is such a call, unless the kernel refuses it. */
bool memsc_retires(long number, const uint64_t args[6]);

/* The same of the calling thread alone, for its tracer's sake. */
bool memsc_asks_to_be_traced(long number, const uint64_t args[6]);

/* Before it. whole: the calling task is a thread of the process that the layer began in. end: what the session is
 * told (stats.h). */
void memsc_retire(bool whole, const char *end);

/* Filters on the calling thread, by /proc; 0 where that cannot be read. Runs once, at start-up: opening
 * and reading files is what the loader has just done. */
uint32_t memsc_filters(void);

/* Whether another process traces the calling thread, of this PID namespace. Runs once, too. */
bool memsc_is_traced(void);

/* Whether the calling thread may read the time stamp counter. */
bool memsc_may_read_counter(void);

#endif
