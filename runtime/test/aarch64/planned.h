/* SPDX-License-Identifier: MIT
 *
 * What holds for every site planned, and which bytes it changes (../layer_plan.c).
 */
#ifndef MEMSC_TEST_PLANNED_H
#define MEMSC_TEST_PLANNED_H

#include "check.h"
#include "plan.h"

enum { INSTRUCTION_BYTES = 4 };

static void check_site(const struct memsc_object *object, const struct memsc_site *site)
{
    static const uint8_t svc[INSTRUCTION_BYTES] = {0x01, 0, 0, 0xd4};
    CHECK(site->address >= object->text && site->address + sizeof svc <= object->text_end);
    CHECK(memcmp(site->address, svc, sizeof svc) == 0);
    CHECK(site->kind == MEMSC_SITE_IN_PLACE || site->kind == MEMSC_SITE_MISSED);
}

static void check_order(const struct memsc_site *a, const struct memsc_site *b)
{
    CHECK(a->address < b->address);
}

static bool changes(const struct memsc_site *site, const uint8_t *from, const uint8_t *to)
{
    return site->kind != MEMSC_SITE_MISSED && from < site->address + INSTRUCTION_BYTES &&
           site->address < to;
}

/* Of the instruction that a function begins with. */
static unsigned entry_bytes(const struct memsc_object *object, const uint8_t *entry)
{
    (void)object, (void)entry;
    return INSTRUCTION_BYTES;
}

#endif
