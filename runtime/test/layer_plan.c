/* SPDX-License-Identifier: MIT
 *
 * The plan for this machine's own C library and loader: whatever their version, sites must not
 * overlap, must be system calls, and hops must lie in padding. Prints the figures.
 */
#include "check.h"
#include "decode.h"
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
        bool returns = site->moved && site->address[1 + site->moved] == 0xc3;
        CHECK((site->moved >= 3 || returns) && site->moved <= MEMSC_MOVED_MAX);
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

/* What a site's change begins and ends with. */
static bool changes(const struct memsc_site *site, const uint8_t *from, const uint8_t *to)
{
    const uint8_t *begin = site->address - (site->kind == MEMSC_SITE_BEFORE ? site->moved : 0);
    const uint8_t *end = begin + (site->kind == MEMSC_SITE_HOP ? 2 : 2 + site->moved);
    if (site->kind == MEMSC_SITE_MISSED)
        return false;
    return (from < end && begin < to) ||
           (site->kind == MEMSC_SITE_HOP && from < site->hop + MEMSC_HOP_BYTES && site->hop < to);
}

/* Of every function that others can call, its first instruction is as in the file: probes are put there. */
static void check_entries(const struct memsc_object *object, uint32_t found)
{
    const ElfW(Sym) *symbols = object->symbols;
    uint32_t functions = 0;
    for (uint32_t i = 0; i < object->symbol_count; i++) {
        int type = ELF64_ST_TYPE(symbols[i].st_info);
        const uint8_t *entry = object->symbol_base + symbols[i].st_value;
        struct memsc_instruction first;
        if ((type != STT_FUNC && type != STT_GNU_IFUNC) || symbols[i].st_shndx == SHN_UNDEF)
            continue;
        functions++;
        CHECK(entry >= object->text && entry < object->text_end);
        CHECK(memsc_decode(entry, object->text_end, &first));
        for (uint32_t k = 0; k < found; k++)
            CHECK(!changes(&sites[k], entry, entry + first.length));
    }
    printf("  %u functions are entered as before\n", functions);
    CHECK(functions > 10);
}

int main(void)
{
    static const char *const kinds[] = {"missed", "hop", "after", "before"};
    struct memsc_object objects[MEMSC_MAX_OBJECTS];
    struct memsc_image images[MEMSC_MAX_OBJECTS];
    uint32_t count = memsc_objects(objects, images);
    uint32_t all = 0, missed = 0;
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
        check_entries(&objects[i], found);
        CHECK(images[i].address && objects[i].to_live);
        printf("object %u: %u sites:", i, found);
        for (int k = 0; k < 4; k++)
            printf(" %u %s", by_kind[k], kinds[k]);
        printf("\n");
        all += found;
        missed += by_kind[0];
    }
    /* A C library of which little can be reached is one this layer does not understand; a loader has few in all. */
    CHECK(missed * 20 <= all);
    return 0;
}
