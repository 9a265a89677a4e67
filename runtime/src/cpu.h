/* SPDX-License-Identifier: MIT
 *
 * What differs between processors: raw system calls, the cycle counter, the polite poll.
 *
 * What differs stands in ../arch, a folder for each, which the build puts on the include path. Its
 * processor.h has
 *
 *   memsc_raw(number, args)      a system call
 *   memsc_cycles()               cycles of the invariant counter; not ordered against neighbouring
 *                                instructions on purpose: that would cost as much as a stage
 *   memsc_cycles_ordered()       the same, after the loads before it have their values, on which the
 *                                caller has branched
 *   memsc_cycles_hz()            its rate, 0 where the processor does not say it
 *   memsc_event_counter(number)  a counter of events that user space may read
 *   memsc_own(line)              asks for a line that is going to be written
 *   memsc_is_intel()             whose hand-off is another than everybody else's (handoff.h)
 *   memsc_pause()                between two polls of a line: fewer polls mean fewer times that the
 *                                writer must fetch it back
 *
 * System calls are made here without the C library: the runtime lives inside programs whose C
 * library is itself carried by the runtime, may hold the C library's locks when it is entered, and
 * must not touch errno.
 */
#ifndef MEMSC_CPU_H
#define MEMSC_CPU_H

#include <stdint.h>

#include "processor.h"

#define MEMSC_SYS(number, a, b, c, d, e, f)                                                        \
    memsc_raw((number), (const uint64_t[6]){(uint64_t)(a), (uint64_t)(b), (uint64_t)(c),           \
                                            (uint64_t)(d), (uint64_t)(e), (uint64_t)(f)})

#endif
