/* SPDX-License-Identifier: MIT
 *
 * What the session is told by each program (session.h), a message of JSON each:
 *
 *   {"pid": 7, "starts": "dd", "text": [begin, end]}   the layer carries what has been executed; from there it
 *                                                      makes calls, as the runtime does
 *   {"pid": 7, "leaves": "dd", "why": "…"}   it does not, or from here on it does not
 *   {"pid": 7, "executes": "/bin/true"}      it executes this next; with "why" if that cannot be carried
 *   {"pid": 7, "program": "dd", "end": "exit"}   it exits, executes another, or goes on without memsc
 *                                                (retire.h): "exit", "exec", "filter", "traced"; then none follows
 *   {"region": true, "text": [begin, end]}             with its descriptor (region.c)
 *
 * A program that a signal ends says nothing more. If the last of a process is that it executes something,
 * that was not carried. Calls that were missed while there was no region, since it last had one, stand in the line of
 * its end: "unrecorded": {"program has looked at its own threads": n, …}. With MEMSC_STATS=1 the line of its end has what was counted, but for zeros:
 *
 *   "sites": {"hop": n, "after": n, "before": n}, "unpatched": {"jump": n, …}, "forwarded": {"read": n, …},
 *   "local": {"futex": n, …}, "missed": {"vfork child, in its parent's memory": {"close": n, …}, …}
 */
#ifndef MEMSC_LAYER_STATS_H
#define MEMSC_LAYER_STATS_H

#include <stdbool.h>
#include <stdint.h>

#include "dispatch.h"
#include "plan.h"

/* To be called first. count: calls, too. */
void memsc_stats_open(bool count);

void memsc_stats_sites(const struct memsc_site *sites, uint32_t count);

/* Say that it has started, and that it will not be carried or is not any more. */
void memsc_stats_start(void);
void memsc_stats_leave(const char *why);

/* Count a call that stays on the caller on purpose and has no slot where that is counted, and one
 * that could have been forwarded. */
void memsc_stats_local(long number);
void memsc_stats_missed(long number, enum memsc_unforwarded reason);

/* There is a region now: it counts those of before, too. */
void memsc_stats_catch_up(void);

/* Adds what the slots have counted, so many times: 1 before their region ends, -1 if it did not. */
void memsc_stats_keep(int64_t times);

/* Tells of its end and starts over: an exec may fail. */
void memsc_stats_write(const char *end);

/* Tells of an exec, and of what is in the way of carrying it or NULL; the path must be readable. A child that
 * borrows its parent's memory may call it. */
void memsc_stats_execute(const char *path, const char *obstacle);

#endif
