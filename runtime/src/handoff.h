/* SPDX-License-Identifier: MIT
 *
 * How the two sides pass a line to and fro: what differs by processor, and is no part of the protocol.
 *
 * docs/experiments.md has the figures that the rules were chosen by; `memsc bench limit` searches for what
 * is best on the machine at hand, in a bare ring, and so shows whether they still are.
 */
#ifndef MEMSC_HANDOFF_H
#define MEMSC_HANDOFF_H

#include <stdbool.h>
#include <stdint.h>

struct memsc_handoff_rules {
    uint32_t kind;   /* enum memsc_handoff, never MACHINE */
    uint32_t pauses; /* of the caller between two looks: a power of two */
    bool learns;     /* both sides stay away until the other can have answered (look.h) */
    bool owns;       /* the service asks for the line's ownership before it executes */
};

/* The rules of an enum memsc_handoff; MACHINE: of this processor. */
void memsc_handoff_choose(struct memsc_handoff_rules *rules, uint32_t handoff);

#endif
