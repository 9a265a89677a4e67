/* SPDX-License-Identifier: MIT
 *
 * What MEMSC_STATS asks for: one line of JSON per program that ran, when it exits or execs, or puts itself
 * under a seccomp filter or the like (retire.h): then none follows.
 *
 *   {"pid": 7, "program": "dd", "end": "exit", "sites": {"hop": n, "after": n, "before": n},
 *    "unpatched": {"jump": n, …}, "forwarded": {"read": n, …}, "local": {"futex": n, …},
 *    "missed": {"vfork child, in its parent's memory": {"close": n, …}, …}}
 *
 * Only counts other than 0 are written. A program that a signal ends writes none. Other lines
 *
 *   {"pid": 7, "executes": "/bin/true"}
 *   {"pid": 7, "starts": "true"}
 *
 * come before each exec, and when the layer has started in what was executed. If the first is the last of
 * its process, that program did not load the layer; if the second is, a signal ended it.
 */
#ifndef MEMSC_LAYER_STATS_H
#define MEMSC_LAYER_STATS_H

#include <stdint.h>

#include "dispatch.h"
#include "plan.h"

/* where: a file to append to, or the number of a descriptor; NULL: no statistics. */
void memsc_stats_open(const char *where);

void memsc_stats_sites(const struct memsc_site *sites, uint32_t count);

/* Writes the line that says it has started. */
void memsc_stats_start(void);

/* Count a call that stays on the caller on purpose and has no slot where that is counted, and one
 * that could have been forwarded. */
void memsc_stats_local(long number);
void memsc_stats_missed(long number, enum memsc_unforwarded reason);

/* Adds what the slots have counted, so many times: 1 before their region ends, -1 if it did not. */
void memsc_stats_keep(int64_t times);

/* Writes the line and starts over: an exec may fail. */
void memsc_stats_write(const char *end);

/* Writes the line of an exec; the path must be readable. A child that borrows its parent's memory may
 * call it. */
void memsc_stats_execute(const char *path);

#endif
