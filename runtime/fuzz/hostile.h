/* SPDX-License-Identifier: MIT
 *
 * Memory that somebody else writes: before each of its loads the service finds something new there.
 *
 * The compiler calls a hook before every load (trace-loads). If the load is of hostile memory, the hook
 * may write a value there, chosen by the input, so nothing that is read twice is the same twice, and
 * whatever two processors could do to each other at that place is done. That an entry's number and
 * arguments are read once for each time its status was read is checked as well.
 */
#ifndef MEMSC_FUZZ_HOSTILE_H
#define MEMSC_FUZZ_HOSTILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The choices: the input's bytes, then as many as are wanted, which follow from them. */
void memsc_choices_from(const uint8_t *data, size_t size);
uint64_t memsc_choose(uint64_t below);

/* Declares memory hostile. `writable` is where the hook writes: the same, or another mapping of it. */
void memsc_hostile(const void *start, size_t bytes, void *writable);

/* The one that holds entries, for the check of single reads. */
void memsc_hostile_entries(const void *entries, size_t count);

/* Called after so many loads of hostile memory since memsc_hostile_begin. */
void memsc_hostile_begin(uint64_t loads, void (*exhausted)(void));

/* Puts everything that the hook, or the service beside it, has written back to zero. */
void memsc_hostile_end(void);

#endif
