/* SPDX-License-Identifier: MIT
 * The first look is learnt: where it settles, how fast it follows, and where it is given up. Times are made
 * up here, in cycles of a 2 GHz counter; nothing is measured. */
#include "look.h"

#include "check.h"

enum { MHZ = 2000, HELD_UP = 220 /* cycles, by a look that came too early */ };
static uint32_t held_up = HELD_UP;

static struct memsc_look_pace pace;
static struct memsc_look look;
static unsigned seed, until_stamped;
static int32_t skew;

static void begin(void)
{
    memsc_look_pace(&pace, MHZ);
    memset(&look, 0, sizeof look);
    seed = 1;
    until_stamped = 1;
}

static unsigned chance(unsigned most)
{
    seed = seed * 1103515245 + 12345;
    return (seed >> 8) % most;
}

static uint32_t first_look(void)
{
    return look.after / MEMSC_LOOK_PART;
}

/* A call whose result is there after so many cycles; returns how long its caller waited. */
static uint32_t one(uint32_t takes)
{
    bool stamped = --until_stamped == 0;
    bool early = first_look() < takes;
    uint32_t waited = early ? takes + held_up : first_look();
    const struct memsc_seen seen = {
        .look = &look,
        .behind = early ? waited - first_look() : 0,
        .there = stamped ? (int32_t)takes + skew : INT32_MIN,
    };
    if (stamped)
        until_stamped = MEMSC_TIMED_EVERY;
    if (memsc_look_learn(&pace, &seen))
        until_stamped = 1;
    return waited;
}

static void many(int calls, uint32_t least, uint32_t spread)
{
    for (int i = 0; i < calls; i++)
        one(least + chance(spread));
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static uint32_t median_of(int calls, uint32_t least, uint32_t spread)
{
    static uint32_t waited[4096];
    for (int i = 0; i < calls; i++)
        waited[i] = one(least + chance(spread));
    qsort(waited, (size_t)calls, sizeof *waited, by_size);
    return waited[calls / 2];
}

/* In time, and not late by more than the time scatters and a few steps. */
static void settles(void)
{
    for (uint32_t least = 100; least < 4000; least *= 2)
        for (uint32_t spread = 1; spread <= 64; spread *= 4) {
            begin();
            many(400, least, spread);
            uint32_t median = median_of(1000, least, spread);
            CHECK(median >= least && median <= least + spread + 16);
        }
}

/* Within tens of calls, up and down, by a little and by much. */
static void follows(void)
{
    static const uint32_t levels[] = {300, 360, 300, 700, 300, 3000, 300, 450, 2500, 600};
    begin();
    many(400, levels[0], 16);
    for (size_t i = 1; i < sizeof levels / sizeof *levels; i++) {
        /* As long as a level lasts in a program that changes its ways now and then. */
        many(80, levels[i], 16);
        uint32_t median = median_of(40, levels[i], 16);
        fprintf(stderr, "level %u: %u\n", levels[i], median);
        CHECK(median <= levels[i] + 16 + 64);
        many(400, levels[i], 16);
    }
}

/* Two kinds of calls under one name. What comes early does not wait for what comes late. */
static void mixed(void)
{
    enum { CALLS = 20000, SOON = 300, LATE = 3000 };
    for (unsigned late = 1; late <= 5; late++) {
        uint64_t waited = 0, soon = 0;
        begin();
        for (int i = 0; i < CALLS; i++) {
            bool is_late = chance(10) < late;
            uint32_t one_waited = one(is_late ? LATE : SOON);
            if (!is_late)
                waited += one_waited, soon++;
        }
        fprintf(stderr, "%u of 10 late: the others wait %u\n", late, (unsigned)(waited / soon));
        CHECK(waited / soon < SOON + 2 * HELD_UP);
    }
}

/* So wide that no first look is right: as good as looking at once. */
static void scattered(void)
{
    begin();
    uint64_t waited = 0, needed = 0;
    for (int i = 0; i < 20000; i++) {
        uint32_t takes = 300 + chance(6000);
        waited += one(takes);
        needed += takes + HELD_UP;
    }
    fprintf(stderr, "scattered: %u, looking at once %u\n", (unsigned)(waited / 20000),
            (unsigned)(needed / 20000));
    CHECK(waited < needed + needed / 20);
}

/* The two CPUs' counters disagree by so much: no worse than looking at once. */
static void skewed(int32_t by)
{
    enum { CALLS = 20000, TAKES = 400 };
    uint64_t waited = 0;
    begin();
    skew = by;
    for (int i = 0; i < CALLS; i++)
        waited += one(TAKES);
    skew = 0;
    fprintf(stderr, "skewed by %d: %u\n", by, (unsigned)(waited / CALLS));
    CHECK(waited / CALLS < TAKES + HELD_UP + HELD_UP / 10);
}

/* A counter of 25 MHz, as on some Arm processors: a cycle is longer than a step. */
static void coarse(void)
{
    begin();
    memsc_look_pace(&pace, 25);
    held_up = 3;
    for (int i = 0; i < 4000; i++)
        one(6);
    CHECK(first_look() >= 4 && first_look() <= 8);
}

int main(void)
{
    settles();
    follows();
    mixed();
    scattered();
    for (int32_t by = -2000; by <= 2000; by += 100)
        skewed(by);
    coarse();
    return 0;
}
