/* SPDX-License-Identifier: MIT
 *
 * What no hand-over between CPUs can be faster than: the way of a cache line, of an interrupt, and
 * what it costs to look at the clock.
 */
#ifndef MEMSC_WORK_LIMIT_H
#define MEMSC_WORK_LIMIT_H

#include <stddef.h>
#include <stdint.h>

/* Round trips of one cache line between the CPUs `here` and `there`; array gets the cycles of each. */
void memsc_work_line(int here, int there, uint64_t *array, size_t trips);

/* The median of as many for each ordered pair of the CPUs listed as in 0,1,2, as JSON
 * {"line-0-1": cycles, …}. */
void memsc_work_pairs(const char *cpus, size_t trips, const char *measures);

/* Reads the clock so often, in a row: mean cycles of a plain reading, and of one ordered behind
 * earlier loads, as JSON {"stamp": cycles, "stamp-ordered": cycles}. */
void memsc_work_stamps(size_t count, const char *measures);

/* Interrupts of CPU `there` by membarrier(2), from `here`: array gets the cycles from just before the
 * call until the other CPU stopped what it did; measures the medians of how long that took
 * ("ipi-taken") and of the whole call ("ipi-round-trip"). Returns how many were seen, at most count;
 * -ENOSYS where the kernel cannot. */
long memsc_work_interrupts(int here, int there, uint64_t *array, size_t count,
                           const char *measures);

#endif
