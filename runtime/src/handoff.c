/* SPDX-License-Identifier: MIT */
#include "handoff.h"

#include "cpu.h"
#include "layout.h"

static const struct memsc_handoff_rules known[] = {
    [MEMSC_HANDOFF_AT_ONCE] = {MEMSC_HANDOFF_AT_ONCE, 1, false, false},
    [MEMSC_HANDOFF_INTEL] = {MEMSC_HANDOFF_INTEL, 2, true, true},
    [MEMSC_HANDOFF_AMD] = {MEMSC_HANDOFF_AMD, 1, true, false},
};

void memsc_handoff_choose(struct memsc_handoff_rules *rules, uint32_t handoff)
{
    if (handoff == MEMSC_HANDOFF_MACHINE)
        handoff = memsc_is_intel() ? MEMSC_HANDOFF_INTEL : MEMSC_HANDOFF_AMD;
    *rules = known[handoff];
}
