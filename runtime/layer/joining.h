/* SPDX-License-Identifier: MIT
 *
 * How threads come to a page and leave it again.
 */
#ifndef MEMSC_LAYER_JOINING_H
#define MEMSC_LAYER_JOINING_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/syscall.h>

#include "../src/cpu.h"
#include "../src/process.h"

static inline bool memsc_has_page(void)
{
    return memsc_self && memsc_self->slot;
}

/* The region; NULL: there is none. A handler may fork at any place here, and the child finds it wiped. */
static inline struct memsc_region *memsc_region_now(void)
{
    return memsc_running() ? *(struct memsc_region *volatile *)&memsc_process()->region : NULL;
}

/* Whether there is a region and it is this process's, not that of one whose memory it shares. */
bool memsc_has_region(void);

enum memsc_join { MEMSC_JOINED, MEMSC_JOIN_LATER, MEMSC_JOIN_FOREIGN, MEMSC_JOIN_CHANGED };

/* Gives the thread a page, starting the service if this process has none yet. LATER: not now.
 * FOREIGN: the task belongs to another process that lives in this one's memory.
 * CHANGED: its maker may have been a thread that had left the process's credentials, and then so has it. */
enum memsc_join memsc_join(void);

/* Gives the page back, if the thread has one. */
void memsc_leave(void);

/* Ends the service if that can be done; the next call starts it again. */
bool memsc_leave_and_stop(void);

/* The program looks at its own threads: if it has but this one, the service ends, and stays away for some
 * calls. False: it has more, or the service cannot be ended, or none is needed. */
bool memsc_hide_threads(void);

#endif
