/* SPDX-License-Identifier: MIT
 *
 * Other processes that are registered on the same service CPU and call now and then.
 */
#ifndef MEMSC_WORK_NEIGHBOURS_H
#define MEMSC_WORK_NEIGHBOURS_H

#include <stdint.h>
#include <sys/types.h>

enum { MEMSC_WORK_NEIGHBOURS = 255 };

/* Starts `count` processes, each of which makes one call per millisecond, often enough to keep its
 * poller awake; returns when each has made one. */
void memsc_work_start_neighbours(pid_t *neighbours, uint32_t count);

void memsc_work_end_neighbours(const pid_t *neighbours, uint32_t count);

#endif
