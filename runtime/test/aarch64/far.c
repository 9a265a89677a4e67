/* SPDX-License-Identifier: MIT
 *
 * A text that a branch does not reach from the layer's slots gets slots near it, which are described to unwinders and
 * never writable and executable at once; where no addresses are left near it, its sites stay as they are.
 */
#include "areas.h"
#include "check.h"
#include "objects.h"
#include "patch.h"
#include "stub.h"

enum { REACH = 128 << 20, STEP = 64 << 10 };

static struct memsc_site planned[MEMSC_MAX_SITES], sites[MEMSC_MAX_SITES];
static uint32_t count;
static size_t size;

/* Nothing is executed here. */
struct memsc_answer memsc_dispatch(long number, const uint64_t args[6])
{
    (void)number, (void)args;
    abort();
}

struct memsc_answer memsc_after_settled(long number, const uint64_t args[6], long result)
{
    (void)number, (void)args, (void)result;
    abort();
}

_Thread_local volatile uint32_t memsc_cancel_came;
uint32_t memsc_cancels_came;

const void *_Unwind_Find_FDE(void *address, void *bases[3]);

static uint8_t *take(uint8_t *at, size_t bytes)
{
    void *got = mmap(at, bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    return got == at ? at : NULL;
}

/* A copy of the C library's text, at least so far from the slots, patched. */
static uint8_t *patch_at(struct memsc_object object, size_t distance, bool crowded)
{
    uint8_t *at = (uint8_t *)(((uintptr_t)memsc_stubs + distance) & -(uintptr_t)STEP), *text = NULL;
    for (int i = 0; i < 1000 && !text; i++, at += STEP)
        text = take(at, size);
    CHECK(text);
    for (uint8_t *near = text - REACH; crowded && near < text + size + REACH; near += STEP)
        take(near, STEP);
    memcpy(text, object.text, (size_t)(object.text_end - object.text));
    object.to_live = text - object.text;
    memcpy(sites, planned, sizeof sites);
    CHECK_EQUAL(memsc_patch_open(), 0);
    memsc_patch_stubs(&object, sites, count);
    CHECK_EQUAL(memsc_patch_close(), 0);
    CHECK_EQUAL(memsc_patch_sites(&object, sites, count), 0);
    return text;
}

/* What may be done with an address, as /proc/self/maps says it. */
static void rights_of(const uint8_t *address, char rights[8])
{
    char line[512];
    unsigned long begin, end;
    FILE *maps = fopen("/proc/self/maps", "r");
    CHECK(maps);
    rights[0] = 0;
    while (!rights[0] && fgets(line, sizeof line, maps))
        if (sscanf(line, "%lx-%lx %7s", &begin, &end, rights) != 3 || (uintptr_t)address < begin ||
            (uintptr_t)address >= end)
            rights[0] = 0;
    fclose(maps);
}

static void check_near(const struct memsc_object *object, const uint8_t *text)
{
    char rights[8];
    void *bases[3];
    uint32_t changed = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct memsc_site *site = &sites[i];
        CHECK_EQUAL(site->kind, planned[i].kind);
        if (site->kind == MEMSC_SITE_MISSED)
            continue;
        changed++;
        CHECK(memsc_is_in_slots(site->slot));
        CHECK(site->slot < memsc_stubs || site->slot >= memsc_stubs_end);
        const uint8_t *live = text + (site->address - object->text), *resume;
        memcpy(&resume, site->slot + MEMSC_SLOT_RESUME, sizeof resume);
        CHECK(resume == live + 4);
        uint32_t word;
        memcpy(&word, live - site->moved, sizeof word);
        CHECK_EQUAL(word >> 26, 5); /* a branch */
        const uint8_t *target = live - site->moved + ((int32_t)(word << 6) >> 4);
        CHECK(target == site->slot + (site->bridge ? MEMSC_SLOT_ENTRY : 0));
        CHECK(_Unwind_Find_FDE(site->slot + MEMSC_SLOT_LOCAL, bases));
    }
    CHECK(changed > 100);
    rights_of(memsc_areas[1].slots, rights);
    CHECK(strcmp(rights, "r-xp") == 0);
    const uint8_t *common;
    memcpy(&common, memsc_areas[1].slots + MEMSC_AREA_COMMON, sizeof common);
    rights_of(common, rights);
    CHECK(rights[2] == 'x');
}

int main(void)
{
    struct memsc_object objects[MEMSC_MAX_OBJECTS], self;
    struct memsc_image images[MEMSC_MAX_OBJECTS];
    CHECK(memsc_objects(objects, images, &self) >= 2);
    memsc_object_open(&objects[0], &images[0]);
    CHECK(images[0].address);
    count = memsc_plan(&objects[0], planned, MEMSC_MAX_SITES);
    memsc_patch_gaps(planned, count);
    size = (size_t)(objects[0].text_end - objects[0].text + STEP) & -(size_t)STEP;

    patch_at(objects[0], (size_t)8 * REACH, true);
    for (uint32_t i = 0; i < count; i++)
        CHECK(sites[i].kind == MEMSC_SITE_MISSED);
    CHECK(!memsc_areas[1].slots);

    const uint8_t *text = patch_at(objects[0], (size_t)4 * REACH, false);
    check_near(&objects[0], text);
    printf("  %u sites\n", count);
    return 0;
}
