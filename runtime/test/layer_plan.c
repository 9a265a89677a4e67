/* SPDX-License-Identifier: MIT
 *
 * The plan for this machine's own C library and loader: whatever their version, sites must not
 * overlap, must be system calls, and hops must lie in padding. Prints the figures.
 */
#include "check.h"
#include "objects.h"
#include "planned.h"

static struct memsc_site sites[MEMSC_MAX_SITES];

/* Of every function that others can call, its first instruction is as in the file: probes are put there. */
static void check_entries(const struct memsc_object *object, uint32_t found)
{
    const ElfW(Sym) *symbols = object->symbols;
    uint32_t functions = 0;
    for (uint32_t i = 0; i < object->symbol_count; i++) {
        int type = ELF64_ST_TYPE(symbols[i].st_info);
        const uint8_t *entry = object->symbol_base + symbols[i].st_value;
        if ((type != STT_FUNC && type != STT_GNU_IFUNC) || symbols[i].st_shndx == SHN_UNDEF)
            continue;
        functions++;
        CHECK(entry >= object->text && entry < object->text_end);
        for (uint32_t k = 0; k < found; k++)
            CHECK(!changes(&sites[k], entry, entry + entry_bytes(object, entry)));
    }
    printf("  %u functions are entered as before\n", functions);
    CHECK(functions > 10);
}

int main(void)
{
    static const char *const kinds[] = {"missed", "hop", "after", "before", "in place"};
    struct memsc_object objects[MEMSC_MAX_OBJECTS];
    struct memsc_image images[MEMSC_MAX_OBJECTS];
    uint32_t all = 0, missed = 0;
    struct memsc_object own;
    uint32_t count = memsc_objects(objects, images, &own);
    CHECK(count >= 2);
    for (uint32_t i = 0; i < count; i++) {
        memsc_object_open(&objects[i], &images[i]);
        uint32_t found = memsc_plan(&objects[i], sites, MEMSC_MAX_SITES),
                 by_kind[MEMSC_SITE_KINDS] = {0};
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
        for (int k = 0; k < MEMSC_SITE_KINDS; k++)
            printf(" %u %s", by_kind[k], kinds[k]);
        printf("\n");
        all += found;
        missed += by_kind[0];
    }
    /* A C library of which little can be reached is one this layer does not understand; a loader has few in all. */
    CHECK(missed * 20 <= all);
    return 0;
}
