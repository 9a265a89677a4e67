/* SPDX-License-Identifier: MIT
 *
 * A bare ring: what a hand-off costs at the least, when nothing is done but to hand over.
 *
 * A caller and a thread on another CPU, and memory between them: no registration, no sleeping, no
 * recording, no signals, one caller. The best variant of it is searched for on the machine at hand, in some
 * tenths of a second, and then does the work. What memsc takes beside it is memsc's own doing.
 */
#ifndef MEMSC_WORK_RING_H
#define MEMSC_WORK_RING_H

#include <stddef.h>
#include <stdint.h>

/* Starts the other thread, on CPU `there`, and moves the calling one to `here`. */
void memsc_ring_begin(int here, int there);

/* Searches for the variant that makes `calls` in a row the fastest; prints it, as JSON, to MEASURES. */
void memsc_ring_search(const char *measures);
/* The same for calls that are stamped five times and recorded, as memsc's are. */
void memsc_ring_search_recorded(const char *measures);
/* The same for batches of so many. */
void memsc_ring_search_batch(int size, const char *measures);

/* One call, waited for; the kernel's value or -errno. */
long memsc_ring_call(long number, const long args[6]);

/* A getppid, recorded in memory; no more than the caller's and the other side's stamps. */
void memsc_ring_recorded_call(void);

/* So many getppid, posted and waited for. */
void memsc_ring_batch(int size);

void memsc_ring_end(void);

#endif
