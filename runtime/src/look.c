/* SPDX-License-Identifier: MIT */
#include "look.h"

enum {
    STEP_PS = 7000,   /* about a twentieth of what an early look costs */
    NEAR_PS = 220000, /* what it costs, and as much again */
    MOST_PS = 4000000,
    RARE_PS = 8000000,
    SOONER = 8, /* looks that came in time, to bring the next one forward by a step */
    CALM = 32,  /* looks in time in a row that are more than chance */
    LEVEL = 8,  /* early looks in a row that are no accident */
    JUMP = 100, /* what a jump adds to `jumps`, from which each call takes one */
    RESTLESS = 200,
    REST = 1024, /* calls */
};

static uint32_t cycles_of(uint64_t picoseconds, uint64_t cycles_per_us, uint32_t parts)
{
    uint64_t cycles = picoseconds * cycles_per_us * parts / 1000000;
    return cycles ? (uint32_t)cycles : 1;
}

void memsc_look_pace(struct memsc_look_pace *pace, uint64_t cycles_per_us)
{
    pace->step = cycles_of(STEP_PS, cycles_per_us, MEMSC_LOOK_PART);
    pace->near = cycles_of(NEAR_PS, cycles_per_us, 1);
    pace->most = cycles_of(MOST_PS, cycles_per_us, 1);
    pace->rare = cycles_of(RARE_PS, cycles_per_us, 1);
}

static uint32_t sooner(uint32_t after, uint32_t by)
{
    return after > by ? after - by : 0;
}

static void jump(const struct memsc_look_pace *pace, struct memsc_look *look, int32_t there)
{
    uint32_t cycles = there > 0 ? (uint32_t)there : 0;
    look->after = (cycles < pace->most ? cycles : pace->most) * MEMSC_LOOK_PART;
    look->after += 2 * pace->step; /* a little late is better than a little early */
    look->early = look->late = look->calm = 0;
    if (look->jumps + JUMP < RESTLESS) {
        look->jumps += JUMP;
        return;
    }
    look->after = 0;
    look->jumps = 0;
    look->rest = REST;
}

/* Of a stamped call that was there: how long it had been, is known. By a little is what is wanted. */
static void learn_late(const struct memsc_look_pace *pace, struct memsc_look *look, int32_t there)
{
    int64_t late = (int64_t)(look->after / MEMSC_LOOK_PART) - there;
    if (late <= (int64_t)pace->near / 2)
        look->late = 0;
    else if (++look->late > 1)
        jump(pace, look, there);
}

static void learn_early(const struct memsc_look_pace *pace, struct memsc_look *look,
                        const struct memsc_seen *seen)
{
    look->late = look->calm = 0;
    if (look->early < LEVEL)
        look->early++;
    if (look->early == LEVEL && seen->there != INT32_MIN) {
        jump(pace, look, seen->there);
    } else if (seen->behind < pace->near) {
        /* A result that comes later than that has not been held up: it is another kind of call. */
        look->after += pace->step * look->early;
    }
}

bool memsc_look_learn(const struct memsc_look_pace *pace, const struct memsc_seen *seen)
{
    struct memsc_look *look = seen->look;
    if (look->rest) {
        look->rest--;
        return false;
    }
    if (look->jumps)
        look->jumps--;
    if (seen->behind) {
        learn_early(pace, look, seen);
    } else {
        look->early = 0;
        if (look->calm < UINT8_MAX)
            look->calm++;
        /* In time again and again: it has become quicker. */
        look->after = sooner(look->after, (pace->step + SOONER - 1) / SOONER << look->calm / CALM);
        if (seen->there != INT32_MIN)
            learn_late(pace, look, seen->there);
    }
    return look->late || look->early == LEVEL;
}
