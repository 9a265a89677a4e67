/* SPDX-License-Identifier: MIT
 *
 * Paths that mean something else to another thread, or show the threads that the runtime has made.
 *
 *   thread-self           in /proc, by whatever way it is reached: it is the thread that looks
 *   self/task, self/stat, self/status, self/sched   likewise, or the process's number: they count its threads
 */
#ifndef MEMSC_LAYER_OWN_PATHS_H
#define MEMSC_LAYER_OWN_PATHS_H

#include <stdbool.h>
#include <stdint.h>

/* True if a call that was forwarded, with this result, has met a service thread instead of the caller, or a
 * process with more threads than the program has. It has been undone and must be made again here; in the
 * second case without a service, if the program has but this thread. */
bool memsc_met_wrong_thread(long number, const uint64_t args[6], long result);

/* Before a call that could be forwarded and is made here: hides the service's threads if its path shows them, or
 * keeps them hidden for as long as after the first such look. */
void memsc_hide_before(long number, const uint64_t args[6]);

/* True if a chdir would change the caller's place by such a path, which cannot be undone: it is made here. */
bool memsc_leads_to_thread(const uint64_t args[6]);

#endif
