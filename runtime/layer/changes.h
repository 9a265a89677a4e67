/* SPDX-License-Identifier: MIT
 *
 * Calls that change something of the calling thread which forwarded calls would not have: its credentials,
 * its files, its name spaces, its personality, …
 */
#ifndef MEMSC_LAYER_CHANGES_H
#define MEMSC_LAYER_CHANGES_H

#include <stdbool.h>
#include <stdint.h>

/* Service threads keep what they were started with. A program of one thread gets new ones, which inherit the
 * change; in others the thread is on its own from then on. */
bool memsc_changes_thread(long number, const uint64_t args[6]);

#endif
