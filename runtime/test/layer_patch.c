/* SPDX-License-Identifier: MIT
 *
 * Sites that are written at once, with what stands between, come to the same as each by itself, whatever others
 * have changed in the text; and theirs stays.
 */
#include "patch.h"

#include <fcntl.h>
#include <sys/resource.h>

#include "check.h"
#include "objects.h"
#include "stub.h"

enum { ROUNDS = 60, MOST_CHANGED = 400 };

static struct memsc_site planned[MEMSC_MAX_SITES], sites[2][MEMSC_MAX_SITES];
static struct memsc_object object;
static uint8_t *text;     /* a copy in the stubs' reach, to be patched */
static uint8_t *expected; /* what becomes of it */
static size_t size;
static uint32_t count;

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

static uint8_t *map_near(const uint8_t *place)
{
    enum { STEP = 4 << 20, STEPS = 24 };
    uintptr_t from = ((uintptr_t)place & -(uintptr_t)STEP) + STEP;
    for (int i = 0; i < STEPS; i++, from += STEP) {
        void *got = mmap((void *)from, size, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
        if (got == (void *)from)
            return got;
    }
    return NULL;
}

/* Writes that this process has asked for; 0: the kernel does not count them. */
static long writes(void)
{
    char line[64];
    long found = 0;
    FILE *file = fopen("/proc/self/io", "r");
    while (file && fgets(line, sizeof line, file))
        sscanf(line, "syscw: %ld", &found);
    if (file)
        fclose(file);
    return found;
}

/* A fresh copy in which others have changed some bytes, the same ones for the same seed. */
static void copy_text(unsigned seed)
{
    CHECK(mprotect(text, size, PROT_READ | PROT_WRITE) == 0);
    memcpy(text, object.text, size);
    srandom(seed);
    for (long changed = seed ? random() % MOST_CHANGED : 0; changed; changed--) {
        const struct memsc_site *site = &planned[(unsigned long)random() % count];
        ptrdiff_t at = site->address - object.text + random() % 200 - 100;
        if (at >= 0 && at < (ptrdiff_t)size)
            text[at] = (uint8_t)(random() % 2 ? 0xcc : random());
    }
    CHECK(mprotect(text, size, PROT_READ | PROT_EXEC) == 0);
}

static long patch(struct memsc_site *to, bool by_hand)
{
    struct rlimit before, none;
    long began = writes();
    CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
    none = (struct rlimit){by_hand ? 0 : before.rlim_cur, before.rlim_max};
    memcpy(to, planned, sizeof planned);
    CHECK_EQUAL(memsc_patch_open(), 0);
    memsc_patch_stubs(&object, to, count);
    CHECK_EQUAL(memsc_patch_close(), 0);
    CHECK_EQUAL(setrlimit(RLIMIT_NOFILE, &none), 0);
    CHECK_EQUAL(memsc_patch_sites(&object, to, count), 0);
    CHECK_EQUAL(setrlimit(RLIMIT_NOFILE, &before), 0);
    return writes() - began;
}

int main(void)
{
    struct memsc_object objects[MEMSC_MAX_OBJECTS], self;
    struct memsc_image images[MEMSC_MAX_OBJECTS];
    CHECK(memsc_objects(objects, images, &self) >= 2);
    object = objects[0];
    memsc_object_open(&object, &images[0]);
    CHECK(images[0].address);
    count = memsc_plan(&object, planned, MEMSC_MAX_SITES);
    memsc_patch_gaps(planned, count);
    size = (size_t)(object.text_end - object.text);
    text = map_near(memsc_stubs_end);
    expected = malloc(size);
    CHECK(text && expected);
    object.to_live = text - object.text;

    uint32_t all_changed = 0;
    for (unsigned seed = 0; seed < ROUNDS; seed++) {
        uint32_t changed = 0;
        copy_text(seed);
        patch(sites[0], true);
        memcpy(expected, text, size);
        copy_text(seed);
        long written = patch(sites[1], false);
        CHECK(memcmp(text, expected, size) == 0);
        for (uint32_t i = 0; i < count; i++) {
            CHECK_EQUAL(sites[0][i].kind, sites[1][i].kind);
            CHECK_EQUAL(sites[0][i].missed, sites[1][i].missed);
            changed +=
                sites[0][i].kind == MEMSC_SITE_MISSED && sites[0][i].missed == MEMSC_MISSED_CHANGED;
        }
        all_changed += changed;
        if (seed)
            continue;
        CHECK_EQUAL(changed, 0);
        printf("  %u sites by %ld writes\n", count, written);
        CHECK(written < count / 2);
    }
    printf("  %u sites that others had changed\n", all_changed);
    CHECK(all_changed > ROUNDS);
    return 0;
}
