/* SPDX-License-Identifier: MIT
 *
 * Many callers at once: how many calls they get through, and how late they are under a given load.
 */
#ifndef MEMSC_WORK_LOAD_H
#define MEMSC_WORK_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MEMSC_WORK_CALLERS = 512 }; /* threads of all processes together */

struct memsc_work_load {
    uint32_t processes; /* each registered for itself */
    uint32_t threads;   /* of each process, each registered */
    uint32_t batch;     /* calls posted at once; 1: synchronous */
    uint32_t rate; /* calls that all threads together are to begin per second; 0: closed loop */
    size_t calls;  /* of all threads together; rounded up to whole batches of each */
    bool forward;  /* by the runtime, or as plain system calls */
};

struct memsc_work_done {
    size_t calls;    /* made */
    size_t wanted;   /* to be made; more than `calls` if the callers fell too far behind */
    uint64_t cycles; /* from the first thread's beginning to the last one's end */
    uint64_t
        *late; /* open loop: cycles from each call's intended start to its end; calls of them */
};

/* Runs the load. In the open loop calls are meant to begin at random, independently of each other
 * (exponential gaps) and of how long those before them took: what waits behind a slow call counts as
 * late. Callers more than a tenth of a second behind give up. Does not return on failure. */
void memsc_work_load(const struct memsc_work_load *load, struct memsc_work_done *done);

#endif
