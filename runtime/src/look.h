/* SPDX-License-Identifier: MIT
 *
 * When a caller looks for its result for the first time.
 *
 * Whoever looks too early takes the line away from the one who is about to write it, and both then wait
 * for it twice; whoever looks late is late. So a caller learns, for each kind of call that its thread
 * makes, how long after the post the result is there, and stays away until then.
 *
 * What it learns from: whether the first look came too early, which every call tells; and when the service
 * had executed it, which one call of some thirty is stamped for. The first look settles where a few nanoseconds
 * later would cost as much as looking too early now and then. It follows a call that takes longer or
 * shorter than before within tens of calls. Where the time scatters so that no first look is right, the
 * caller looks at once and goes on looking; and so it does, without learning from it, for a call that comes
 * long after the one before, finds everything cold, and takes a time of its own.
 *
 * All of it is done while the caller waits for another call, and costs nothing there.
 */
#ifndef MEMSC_LOOK_H
#define MEMSC_LOOK_H

#include <stdbool.h>
#include <stdint.h>

#include "cpu.h"

enum {
    MEMSC_LOOK_PART = 256,  /* parts of a cycle in which the first look is kept */
    MEMSC_LOOKS = 256,      /* kinds of calls of a thread, by a hash */
    MEMSC_TIMED_EVERY = 32, /* of so many calls one is stamped */
};

/* One kind of call. */
struct memsc_look {
    uint32_t after; /* 1/256 cycle behind the post; 0: look at once */
    uint16_t rest;  /* calls for which nothing is learnt, since it scatters */
    uint8_t early;  /* looks in a row that were too early */
    uint8_t calm;   /* that were in time */
    uint8_t late;   /* stamped results in a row that had been there for long */
    uint8_t jumps;  /* how restless it has been of late */
};

/* Its steps, on this processor's counter. */
struct memsc_look_pace {
    uint32_t
        step; /* 1/256 cycle: later by, after a look that was too early; an eighth of it sooner, else */
    uint32_t
        near; /* cycles: a result that comes so soon behind an early look has been held up by it */
    uint32_t most; /* cycles: beyond this a look matters little */
    uint32_t rare; /* cycles between two posts, beyond which the one tells nothing of the other */
};

/* How a call came out. */
struct memsc_seen {
    struct memsc_look *look; /* NULL: it tells nothing */
    uint32_t
        behind; /* cycles from the first look, which was too early, to the result; 0: it was there */
    int32_t there; /* cycles from the post to the end of its execution; INT32_MIN: not stamped */
};

void memsc_look_pace(struct memsc_look_pace *pace, uint64_t cycles_per_us);

/* Learns from a call. True: the next of its kind should be stamped. */
bool memsc_look_learn(const struct memsc_look_pace *pace, const struct memsc_seen *seen);

/* Stays away until then; returns how many polls would have fitted in. */
static inline uint32_t memsc_stay(uint64_t until)
{
    enum { ROOM = 128 /* cycles, more than a pause takes */ };
    uint32_t polls = 0;
    int64_t left;
    while ((left = (int64_t)(until - memsc_cycles())) > 0)
        if (left > ROOM) {
            memsc_pause();
            polls++;
        }
    return polls;
}

#endif
