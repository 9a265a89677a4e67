/* SPDX-License-Identifier: MIT
 *
 * Programs that put themselves under a seccomp filter.
 *
 * A filter may forbid what the runtime does for itself, and end whoever does it; and what a thread's
 * filter forbids must not be done for it by a service thread that has none. Threads that it makes inherit
 * it and cannot be told from others. So with its first filter a process goes on without memsc: the
 * service is ended if no other thread has calls there, handlers are the program's own again, and from then
 * on the layer makes no system call of its own. A program that is executed under it is not rewritten.
 */
#ifndef MEMSC_LAYER_FILTERS_H
#define MEMSC_LAYER_FILTERS_H

#include <stdbool.h>
#include <stdint.h>

/* Whether the call puts a filter in place, unless the kernel refuses it. */
bool memsc_installs_filter(long number, const uint64_t args[6]);

/* Before it. whole: the calling task is a thread of the process that the layer began in. */
void memsc_before_filter(bool whole);

/* Filters on the calling thread, by /proc; 0 where that is not to be had. Runs once, at start-up: opening
 * and reading files is what the loader has just done. */
uint32_t memsc_filters(void);

#endif
