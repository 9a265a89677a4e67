/* SPDX-License-Identifier: MIT
 *
 * How a count of polls is packed into a call's flags (enum memsc_polls). Both sides count anyway, to
 * know when to look at the clock, so this costs next to nothing.
 */
#ifndef MEMSC_POLLS_H
#define MEMSC_POLLS_H

#include "layout.h"

static inline uint32_t memsc_pack_polls(uint32_t polls)
{
    if (polls < MEMSC_POLLS_EXACT)
        return polls;
    uint32_t steps = polls >> MEMSC_POLLS_STEP_SHIFT;
    return steps < MEMSC_POLLS_EXACT ? MEMSC_POLLS_EXACT + steps : MEMSC_POLLS_MOST;
}

#endif
