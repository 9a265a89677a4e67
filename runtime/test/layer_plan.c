/* SPDX-License-Identifier: MIT
 *
 * The plan for this machine's own C library and loader: whatever their version, sites must not
 * overlap, must be system calls, and hops must lie in padding. Prints the figures.
 */
#include "check.h"
#include "objects.h"

static struct memsc_site sites[MEMSC_MAX_SITES];

static void check_site(const struct memsc_object *object, const struct memsc_site *site)
{
    CHECK(site->address >= object->text && site->address + 2 <= object->text_end);
    CHECK(site->address[0] == 0x0f && site->address[1] == 0x05);
    if (site->kind == MEMSC_SITE_HOP) {
        long distance = site->hop - (site->address + 2);
        CHECK(distance >= -128 && distance <= 127);
    } else if (site->kind != MEMSC_SITE_MISSED) {
        CHECK(site->moved >= 3 && site->moved <= MEMSC_MOVED_MAX);
    }
}

static const uint8_t *last_changed(const struct memsc_site *site)
{
    return site->address + 2 + (site->kind == MEMSC_SITE_AFTER ? site->moved : 0);
}

static void check_order(const struct memsc_site *a, const struct memsc_site *b)
{
    CHECK(last_changed(a) <= b->address - (b->kind == MEMSC_SITE_BEFORE ? b->moved : 0));
    if (a->kind == MEMSC_SITE_HOP && b->kind == MEMSC_SITE_HOP)
        CHECK(a->hop + MEMSC_HOP_BYTES <= b->hop);
}

int main(void)
{
    static const char *const kinds[] = {"missed", "hop", "after", "before"};
    struct memsc_object objects[MEMSC_MAX_OBJECTS];
    uint32_t count = memsc_objects(objects);
    CHECK(count >= 2);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t found = memsc_plan(&objects[i], sites, MEMSC_MAX_SITES), by_kind[4] = {0};
        CHECK(found > 0);
        for (uint32_t k = 0; k < found; k++) {
            check_site(&objects[i], &sites[k]);
            if (k)
                check_order(&sites[k - 1], &sites[k]);
            by_kind[sites[k].kind]++;
            if (sites[k].kind == MEMSC_SITE_MISSED)
                printf("  missed at +%#tx: reason %d\n", sites[k].address - objects[i].text,
                       sites[k].missed);
        }
        printf("object %u: %u sites:", i, found);
        for (int k = 0; k < 4; k++)
            printf(" %u %s", by_kind[k], kinds[k]);
        printf("\n");
        /* A C library of which little can be reached is one this layer does not understand. */
        CHECK(by_kind[0] * 20 <= found);
    }
    return 0;
}
