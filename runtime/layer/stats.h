/* SPDX-License-Identifier: MIT
 *
 * What MEMSC_STATS asks for: one line of JSON per program that ran, when it exits or execs.
 *
 *   {"pid": 7, "program": "dd", "end": "exit", "sites": {"hop": n, "after": n, "before": n},
 *    "unpatched": {"jump": n, …}, "forwarded": {"read": n, …}, "local": {"futex": n, …},
 *    "missed": {"vfork": n, …}}
 *
 * Only counts other than 0 are written. A program that a signal ends writes none. Another line
 *
 *   {"pid": 7, "executes": "/bin/true"}
 *
 * comes before each exec. If it is the last of its process, the program that was executed did not load
 * the layer, or was ended by a signal.
 */
#ifndef MEMSC_LAYER_STATS_H
#define MEMSC_LAYER_STATS_H

#include <stdint.h>

#include "plan.h"

/* where: a file to append to, or the number of a descriptor; NULL: no statistics. */
void memsc_stats_open(const char *where);

void memsc_stats_sites(const struct memsc_site *sites, uint32_t count);

/* Writes the line and starts over: an exec may fail. */
void memsc_stats_write(const char *end);

/* Writes the line of an exec; the path must be readable. A child that borrows its parent's memory may
 * call it. */
void memsc_stats_execute(const char *path);

#endif
