/* SPDX-License-Identifier: MIT */
/*
 * Counts of many calls, in one pass over their stamps: what analysis/data/sketch.py keeps of them.
 * A bin is the top of a value's float64 pattern, as analysis/data/histogram.py says.
 */
#pragma once

#include <stdint.h>

#define EXPORT __attribute__((visibility("default")))

enum {
    STAMPS = 5,
    STAGES = STAMPS - 1,
    QUANTITIES = STAGES + 1, /* the stages and their total */
    BINS = 63 * 256 + 2,     /* of any 64-bit number; what is not positive shares the first */
};

/* What is counted in, all zero between two uses. */
struct scratch {
    struct {
        uint64_t calls, stages[STAGES]; /* and what these calls' stages sum up to */
    } total[BINS];
    uint64_t stages[STAGES][BINS];
};

struct sums {
    int64_t mins[QUANTITIES], maxs[QUANTITIES], sums[QUANTITIES], negative[QUANTITIES];
    int64_t filled[QUANTITIES]; /* bins that are not empty */
    int64_t flags[256];         /* calls by the low byte of their flags */
};

/* Bins that are not empty, in order, one row per quantity, and the bands of the total. */
struct found {
    int64_t bins[QUANTITIES][BINS], counts[QUANTITIES][BINS], bands[STAGES][BINS];
};

/* How large these are, for who has to make room for them. */
EXPORT extern const uint64_t memsc_sketch_scratch, memsc_sketch_found;

/*
 * Sketches n calls, at least one: those at `rows`, or the first ones where it is null. Stamps may
 * be any numbers; their differences wrap around.
 */
EXPORT void memsc_sketch_calls(struct scratch *scratch, const int64_t *const stamps[STAMPS],
                               const int64_t *flags, const int64_t *rows, int64_t n,
                               struct sums *sums, struct found *found);

/*
 * Counts n times as they are per call, in parts of a cycle: `fine` of them to a cycle. `calls`, of
 * which none is below 1, may be null: one each. Returns how many bins are not empty: the first
 * rows of `found` have them.
 */
EXPORT int64_t memsc_sketch_times(struct scratch *scratch, const int64_t *cycles,
                                  const int64_t *calls, int64_t fine, int64_t n,
                                  struct found *found);
