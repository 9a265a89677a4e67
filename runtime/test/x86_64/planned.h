/* SPDX-License-Identifier: MIT
 *
 * What holds for every site planned, and which bytes it changes (../layer_plan.c).
 */
#ifndef MEMSC_TEST_PLANNED_H
#define MEMSC_TEST_PLANNED_H

#include "check.h"
#include "decode.h"
#include "plan.h"

static inline void check_site(const struct memsc_object *object, const struct memsc_site *site)
{
    CHECK(site->address >= object->text && site->address + 2 <= object->text_end);
    CHECK(site->address[0] == 0x0f && site->address[1] == 0x05);
    if (site->kind == MEMSC_SITE_HOP) {
        long distance = site->hop - (site->address + 2);
        CHECK(distance >= -128 && distance <= 127);
    } else if (site->kind != MEMSC_SITE_MISSED) {
        bool returns = site->moved && site->address[1 + site->moved] == 0xc3;
        CHECK((site->moved >= 3 || returns) && site->moved <= MEMSC_MOVED_MAX);
    }
}

static inline const uint8_t *last_changed(const struct memsc_site *site)
{
    return site->address + 2 + (site->kind == MEMSC_SITE_AFTER ? site->moved : 0);
}

static inline void check_order(const struct memsc_site *a, const struct memsc_site *b)
{
    CHECK(last_changed(a) <= b->address - (b->kind == MEMSC_SITE_BEFORE ? b->moved : 0));
    if (a->kind == MEMSC_SITE_HOP && b->kind == MEMSC_SITE_HOP)
        CHECK(a->hop + MEMSC_HOP_BYTES <= b->hop);
}

/* Of a site that was kept: it is a call in the text, behind the one before. Returns where it ends. */
static inline const uint8_t *check_kept(const struct memsc_object *object,
                                        const struct memsc_site *site, const uint8_t *before)
{
    bool behind = site->kind == MEMSC_SITE_BEFORE;
    const uint8_t *call = site->bytes + (behind ? site->moved : 0);
    CHECK(site->kind < MEMSC_SITE_IN_PLACE && site->moved <= MEMSC_MOVED_MAX);
    CHECK(site->address - (behind ? site->moved : 0) >= before);
    CHECK(last_changed(site) <= object->text_end);
    CHECK(call[0] == 0x0f && call[1] == 0x05);
    return site->address + 2;
}

/* What a site's change begins and ends with. */
static inline bool changes(const struct memsc_site *site, const uint8_t *from, const uint8_t *to)
{
    const uint8_t *begin = site->address - (site->kind == MEMSC_SITE_BEFORE ? site->moved : 0);
    const uint8_t *end = begin + (site->kind == MEMSC_SITE_HOP ? 2 : 2 + site->moved);
    if (site->kind == MEMSC_SITE_MISSED)
        return false;
    return (from < end && begin < to) ||
           (site->kind == MEMSC_SITE_HOP && from < site->hop + MEMSC_HOP_BYTES && site->hop < to);
}

/* Of the instruction that a function begins with. */
static inline unsigned entry_bytes(const struct memsc_object *object, const uint8_t *entry)
{
    struct memsc_instruction first;
    CHECK(memsc_decode(entry, object->text_end, &first));
    return first.length;
}

#endif
