/* SPDX-License-Identifier: MIT
 *
 * What holds for every site planned, and which bytes it changes (../layer_plan.c).
 */
#ifndef MEMSC_TEST_PLANNED_H
#define MEMSC_TEST_PLANNED_H

#include "check.h"
#include "plan.h"

enum { INSTRUCTION_BYTES = 4 };

static const uint8_t svc[INSTRUCTION_BYTES] = {0x01, 0, 0, 0xd4};

static inline void check_site(const struct memsc_object *object, const struct memsc_site *site)
{
    CHECK(site->address >= object->text && site->address + sizeof svc <= object->text_end);
    CHECK(memcmp(site->address, svc, sizeof svc) == 0);
    CHECK(site->kind == MEMSC_SITE_IN_PLACE || site->kind == MEMSC_SITE_MISSED);
}

static inline void check_order(const struct memsc_site *a, const struct memsc_site *b)
{
    CHECK(a->address < b->address);
}

/* Of a site that was kept: it is a call in the text, behind the one before. Returns where it ends. */
static inline const uint8_t *check_kept(const struct memsc_object *object,
                                        const struct memsc_site *site, const uint8_t *before)
{
    CHECK(site->kind == MEMSC_SITE_IN_PLACE && site->address >= before);
    CHECK(site->address + sizeof svc <= object->text_end);
    CHECK(site->moved == (site->bridge ? INSTRUCTION_BYTES : 0));
    uint32_t word;
    memcpy(&word, site->bytes, sizeof word);
    /* Where a thread may be cancelled the copy of a register before it is changed in its place. */
    CHECK(site->bridge ? (word & 0x7fe0ffe0) == 0x2a0003e0 : memcmp(&word, svc, sizeof svc) == 0);
    return site->address + sizeof svc;
}

static inline bool changes(const struct memsc_site *site, const uint8_t *from, const uint8_t *to)
{
    const uint8_t *changed = site->address - site->moved;
    return site->kind != MEMSC_SITE_MISSED && from < changed + INSTRUCTION_BYTES && changed < to;
}

/* Of the instruction that a function begins with. */
static inline unsigned entry_bytes(const struct memsc_object *object, const uint8_t *entry)
{
    (void)object, (void)entry;
    return INSTRUCTION_BYTES;
}

#endif
