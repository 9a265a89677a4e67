/* SPDX-License-Identifier: MIT
 *
 * Signal handlers of the program run through here.
 *
 * The kernel is told an address of ours for each handler that the program installs; when the signal
 * comes, the thread's call is settled (../src/recall.h) and then the program's handler gets what the
 * kernel gave us, as if we had not been there. What the program reads back is its own.
 */
#ifndef MEMSC_LAYER_HANDLERS_H
#define MEMSC_LAYER_HANDLERS_H

#include <stdbool.h>
#include <stdint.h>

/* Executes rt_sigaction; the result is the kernel's. */
long memsc_sigaction(const uint64_t args[6]);

/* Gives them all back to the program. with_recall: also the one that it has set for the signal which the
 * runtime keeps; then nothing may be under way. */
void memsc_handlers_end(bool with_recall);

/* Takes over the handlers that were there before the layer. */
void memsc_handlers_start(void);

/* Whether a call, by the arguments in its stub's frame, comes from a bridge. */
bool memsc_comes_from_bridge(const uint64_t *args);

#endif
