/* SPDX-License-Identifier: MIT */
#include "sketch.h"

#include <string.h>

const uint64_t memsc_sketch_scratch = sizeof(struct scratch);
const uint64_t memsc_sketch_found = sizeof(struct found);

enum { TOTAL = QUANTITIES - 1, SHIFT = 52 - 8, BIAS = (1023 << 8) - 1 };

static inline uint32_t bin_of(int64_t value)
{
    double number = (double)value;
    int64_t pattern;
    memcpy(&pattern, &number, sizeof pattern);
    pattern = (pattern >> SHIFT) - BIAS;
    return pattern > 0 ? (uint32_t)pattern : 0;
}

static inline int64_t minus(int64_t later, int64_t earlier)
{
    return (int64_t)((uint64_t)later - (uint64_t)earlier);
}

static inline void count(struct scratch *scratch, const int64_t *const stamps[STAMPS],
                         const int64_t *flags, const int64_t *rows, int64_t n, struct sums *sums)
{
    int64_t mins[QUANTITIES], maxs[QUANTITIES];
    for (int i = 0; i < QUANTITIES; i++) {
        mins[i] = INT64_MAX;
        maxs[i] = INT64_MIN;
    }
    for (int64_t i = 0; i < n; i++) {
        int64_t row = rows ? rows[i] : i, spent[QUANTITIES];
        for (int s = 0; s < STAGES; s++)
            spent[s] = minus(stamps[s + 1][row], stamps[s][row]);
        spent[TOTAL] = minus(stamps[STAGES][row], stamps[0][row]);
        for (int q = 0; q < QUANTITIES; q++) {
            mins[q] = spent[q] < mins[q] ? spent[q] : mins[q];
            maxs[q] = spent[q] > maxs[q] ? spent[q] : maxs[q];
        }
        uint32_t bin = bin_of(spent[TOTAL]);
        scratch->total[bin].calls++;
        for (int s = 0; s < STAGES; s++) {
            scratch->stages[s][bin_of(spent[s])]++;
            scratch->total[bin].stages[s] += (uint64_t)spent[s];
        }
        sums->flags[flags[row] & 0xff]++;
    }
    memcpy(sums->mins, mins, sizeof mins);
    memcpy(sums->maxs, maxs, sizeof maxs);
}

/* Those below zero, which are rare: looked for only where there is one. */
static void count_negative(const int64_t *const stamps[STAMPS], const int64_t *rows, int64_t n,
                           struct sums *sums)
{
    for (int q = 0; q < QUANTITIES; q++) {
        const int64_t *from = stamps[q == TOTAL ? 0 : q], *to = stamps[q == TOTAL ? STAGES : q + 1];
        for (int64_t i = 0; sums->mins[q] < 0 && i < n; i++) {
            int64_t row = rows ? rows[i] : i;
            sums->negative[q] += minus(to[row], from[row]) < 0;
        }
    }
}

/* Takes what is counted out of the scratch, which is zero again. */
static int64_t take(uint64_t *counts, uint32_t first, uint32_t last, int64_t *bins, int64_t *out)
{
    int64_t filled = 0;
    for (uint32_t bin = first; bin <= last; bin++) {
        if (!counts[bin])
            continue;
        bins[filled] = bin;
        out[filled++] = (int64_t)counts[bin];
        counts[bin] = 0;
    }
    return filled;
}

static int64_t take_total(struct scratch *scratch, uint32_t first, uint32_t last,
                          struct found *found, struct sums *sums)
{
    int64_t filled = 0;
    uint64_t whole[QUANTITIES] = {0};
    for (uint32_t bin = first; bin <= last; bin++) {
        if (!scratch->total[bin].calls)
            continue;
        found->bins[TOTAL][filled] = bin;
        found->counts[TOTAL][filled] = (int64_t)scratch->total[bin].calls;
        for (int s = 0; s < STAGES; s++) {
            uint64_t spent = scratch->total[bin].stages[s];
            found->bands[s][filled] = (int64_t)spent;
            whole[s] += spent;
            whole[TOTAL] += spent;
        }
        memset(&scratch->total[bin], 0, sizeof scratch->total[bin]);
        filled++;
    }
    memcpy(sums->sums, whole, sizeof whole);
    return filled;
}

void memsc_sketch_calls(struct scratch *scratch, const int64_t *const stamps[STAMPS],
                        const int64_t *flags, const int64_t *rows, int64_t n, struct sums *sums,
                        struct found *found)
{
    memset(sums, 0, sizeof *sums);
    if (rows)
        count(scratch, stamps, flags, rows, n, sums);
    else
        count(scratch, stamps, flags, NULL, n, sums);
    count_negative(stamps, rows, n, sums);
    for (int q = 0; q < QUANTITIES; q++) {
        uint32_t first = bin_of(sums->mins[q]), last = bin_of(sums->maxs[q]);
        sums->filled[q] =
            q == TOTAL ? take_total(scratch, first, last, found, sums)
                       : take(scratch->stages[q], first, last, found->bins[q], found->counts[q]);
    }
}

int64_t memsc_sketch_times(struct scratch *scratch, const int64_t *cycles, const int64_t *calls,
                           int64_t fine, int64_t n, struct found *found)
{
    uint64_t *counts = scratch->stages[0];
    uint32_t first = BINS - 1, last = 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t time = (int64_t)((uint64_t)cycles[i] * (uint64_t)fine);
        /* Rounded down, as Python divides. */
        if (calls)
            time = time / calls[i] - (time % calls[i] < 0);
        uint32_t bin = bin_of(time);
        first = bin < first ? bin : first;
        last = bin > last ? bin : last;
        counts[bin]++;
    }
    return take(counts, first, last, found->bins[0], found->counts[0]);
}
