/* SPDX-License-Identifier: MIT
 *
 * What an unmodified program's call costs more than one of the direct API.
 */
#ifndef MEMSC_WORK_INTERPOSED_H
#define MEMSC_WORK_INTERPOSED_H

#include <stddef.h>

/* Makes blocks of getppid by turns through memsc_call and by the C library, which the layer must have
 * been loaded to forward: the same thread, page and service, a few microseconds apart, so that all they
 * differ in is the way there. A block is one interval: a reading of the clock, whose step may be tens of
 * cycles, is shared by its calls. Measures, cycles per call as JSON: medians of the blocks ("layer-without",
 * "layer-with") and of the differences between neighbours ("layer-added"); and all three once more, called
 * "…-apart", of calls with work between them: back to back, what comes before a call is posted hides
 * behind the cache line that the last one left with the service. */
void memsc_work_interposed(size_t pairs, const char *measures);

#endif
