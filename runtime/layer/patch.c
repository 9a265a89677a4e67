/* SPDX-License-Identifier: MIT
 *
 * While the C library's text is not executable nothing in here may call it (rewrite.h).
 */
#include "patch.h"

#include <asm/signal.h>
#include <errno.h>
#include <linux/fcntl.h>
#include <linux/mman.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/auxv.h>
#include <sys/syscall.h>

#include "areas.h"
#include "cpu.h"
#include "rewrite.h"
#include "stub.h"

struct memsc_area memsc_areas[MEMSC_MAX_AREAS] = {{.slots = memsc_stubs}};

static uintptr_t page; /* bytes */

static int protect(const uint8_t *from, const uint8_t *to, int protection)
{
    uintptr_t begin = (uintptr_t)from & ~(page - 1);
    uintptr_t end = ((uintptr_t)to + page - 1) & ~(page - 1);
    return (int)MEMSC_SYS(SYS_mprotect, begin, end - begin, protection, 0, 0, 0);
}

static int open_area(struct memsc_area *area)
{
    uint8_t *end = area->slots + (memsc_stubs_end - memsc_stubs);
    int error = protect(area->slots, end, PROT_READ | PROT_WRITE);
    area->used = 0;
    if (!error)
        memsc_fill_area(area->slots);
    return error;
}

static int close_area(const struct memsc_area *area)
{
    uint8_t *end = area->slots + (memsc_stubs_end - memsc_stubs);
    memsc_see_text(area->slots, end);
    return protect(area->slots, end, PROT_READ | PROT_EXEC);
}

int memsc_patch_open(void)
{
    int error = 0;
    page = getauxval(AT_PAGESZ);
    for (int i = 0; i < MEMSC_MAX_AREAS && memsc_areas[i].slots && !error; i++)
        error = open_area(&memsc_areas[i]);
    return error;
}

int memsc_patch_close(void)
{
    int error = 0;
    for (int i = 0; i < MEMSC_MAX_AREAS && memsc_areas[i].slots && !error; i++)
        error = close_area(&memsc_areas[i]);
    return error;
}

static bool serves(const struct memsc_area *area, const uint8_t *text, const uint8_t *text_end)
{
    const uint8_t *last = area->slots + (size_t)(MEMSC_SLOTS - 1) * MEMSC_SLOT_BYTES;
    return area->used < MEMSC_SLOTS && memsc_reaches(text, area->slots) &&
           memsc_reaches(text, last) && memsc_reaches(text_end, area->slots) &&
           memsc_reaches(text_end, last);
}

/* An area that all of a text reaches, with a slot that is free; NULL: there is none. */
static struct memsc_area *area_for(const uint8_t *text, const uint8_t *text_end)
{
    struct memsc_area *area = memsc_areas;
    for (; area < &memsc_areas[MEMSC_MAX_AREAS] && area->slots; area++)
        if (serves(area, text, text_end))
            return area;
    if (area == &memsc_areas[MEMSC_MAX_AREAS])
        return NULL;
    area->slots = memsc_area_near(text, text_end);
    if (area->slots && open_area(area))
        area->slots = NULL;
    return area->slots ? area : NULL;
}

void memsc_patch_stubs(const struct memsc_object *object, struct memsc_site *sites, uint32_t count)
{
    const uint8_t *text = object->text + object->to_live;
    const uint8_t *end = object->text_end + object->to_live;
    struct memsc_area *area = area_for(text, end);
    for (uint32_t i = 0; i < count; i++) {
        struct memsc_site *site = &sites[i];
        if (site->kind == MEMSC_SITE_MISSED)
            continue;
        if (area && area->used == MEMSC_SLOTS)
            area = area_for(text, end);
        if (!area) {
            site->kind = MEMSC_SITE_MISSED;
            site->missed = MEMSC_MISSED_STUBS;
            continue;
        }
        site->slot = area->slots + (size_t)area->used++ * MEMSC_SLOT_BYTES;
        memsc_fill_slot(site, object->to_live);
    }
}

static bool is_as_planned(const struct memsc_change *change)
{
    for (uint32_t i = 0; i < change->size; i++)
        if (change->at[i] != change->before[i])
            return false;
    return true;
}

/* ---- what is written at once ---- */

enum { RUN_MAX = 4096, GAP_MAX = 512 };

static struct {
    uint8_t *at;
    uint32_t size; /* 0: there is none */
    uint8_t bytes[RUN_MAX];
} run;

/* By words: whatever one of them becomes changes it. */
static uint64_t copy_and_sum(uint8_t *to, const uint8_t *from, uint32_t bytes)
{
    const uint64_t prime = 0x100000001b3;
    uint64_t sum = bytes, word;
    for (; bytes >= sizeof word; bytes -= sizeof word, from += sizeof word, to += sizeof word) {
        __builtin_memcpy(&word, from, sizeof word);
        __builtin_memcpy(to, &word, sizeof word);
        sum = (sum ^ word) * prime;
    }
    for (; bytes; bytes--, from++, to++)
        sum = (sum ^ (*to = *from)) * prime;
    return sum;
}

void memsc_patch_gaps(struct memsc_site *sites, uint32_t count)
{
    const uint8_t *end = NULL; /* of the change before */
    for (uint32_t i = 0; i < count; i++) {
        struct memsc_change changes[2];
        struct memsc_site site = sites[i];
        if (site.kind == MEMSC_SITE_MISSED)
            continue;
        site.slot = site.address; /* it has none yet, and where it leads does not matter */
        bool alone = memsc_changes(&site, 0, changes) > 1;
        const uint8_t *at = changes[0].at;
        if (!alone && end && at > end && at - end <= GAP_MAX) {
            sites[i].gap = (uint16_t)(at - end);
            sites[i].gap_sum = copy_and_sum(run.bytes, end, sites[i].gap);
        }
        end = alone ? NULL : at + changes[0].size;
    }
}

/* Through a descriptor of the process's memory; -1: by itself. */
static int write_run(long memory)
{
    long written = run.size;
    if (!run.size)
        return 0;
    if (memory >= 0)
        written = MEMSC_SYS(SYS_pwrite64, memory, run.bytes, run.size, run.at, 0, 0);
    else
        memsc_copy_bytes(run.at, run.bytes, run.size);
    memsc_see_text(run.at, run.at + run.size);
    bool whole = written == run.size;
    run.size = 0;
    return whole ? 0 : written < 0 ? (int)written : -EIO;
}

/* Goes on to where the site's change begins, if nobody has changed anything on the way there. */
static bool go_on(const struct memsc_site *site, const struct memsc_change *change)
{
    const uint8_t *end = run.at + run.size;
    if (!run.size || !site->gap || site->gap > GAP_MAX || end + site->gap != change->at ||
        run.size + site->gap + change->size > RUN_MAX ||
        copy_and_sum(run.bytes + run.size, end, site->gap) != site->gap_sum)
        return false;
    run.size += site->gap;
    return true;
}

static void add_to_run(const struct memsc_change *change)
{
    if (!run.size)
        run.at = change->at;
    memsc_copy_bytes(run.bytes + run.size, change->bytes, change->size);
    run.size += change->size;
}

static int change_site(struct memsc_site *site, ptrdiff_t to_live, long memory)
{
    struct memsc_change changes[2];
    uint32_t needed = memsc_changes(site, to_live, changes);
    bool good = is_as_planned(&changes[0]);
    bool near = memory >= 0 && needed == 1 && good && go_on(site, &changes[0]);
    /* It must not be what a run is about to change. */
    int error = near ? 0 : write_run(memory);
    for (uint32_t i = 0; i < needed && !near; i++)
        good = good && is_as_planned(&changes[i]);
    for (uint32_t i = 0; i < needed && good && !error; i++) {
        if (i)
            error = write_run(memory);
        add_to_run(&changes[i]);
    }
    if (!good) {
        site->kind = MEMSC_SITE_MISSED;
        site->missed = MEMSC_MISSED_CHANGED;
    }
    return error;
}

static int change_sites(const struct memsc_object *object, struct memsc_site *sites, uint32_t count,
                        long memory)
{
    int error = 0;
    run.size = 0;
    for (uint32_t i = 0; i < count && !error; i++)
        if (sites[i].kind != MEMSC_SITE_MISSED)
            error = change_site(&sites[i], object->to_live, memory);
    return error ? error : write_run(memory);
}

/* Without the kernel's help. No handler may run on text that cannot be executed. */
static int change_by_hand(const struct memsc_object *object, struct memsc_site *sites,
                          uint32_t count)
{
    uint8_t *begin = object->text + object->to_live, *end = object->text_end + object->to_live;
    uint64_t all = ~0ull, before = 0;
    MEMSC_SYS(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof all, 0, 0);
    int error = protect(begin, end, PROT_READ | PROT_WRITE);
    if (!error) {
        change_sites(object, sites, count, -1);
        error = protect(begin, end, PROT_READ | PROT_EXEC);
    }
    MEMSC_SYS(SYS_rt_sigprocmask, SIG_SETMASK, &before, 0, sizeof all, 0, 0);
    return error;
}

int memsc_patch_sites(const struct memsc_object *object, struct memsc_site *sites, uint32_t count)
{
    long memory = MEMSC_SYS(SYS_openat, AT_FDCWD, "/proc/self/mem", O_RDWR | O_CLOEXEC, 0, 0, 0);
    int error = memory < 0 ? (int)memory : change_sites(object, sites, count, memory);
    if (memory >= 0)
        MEMSC_SYS(SYS_close, memory, 0, 0, 0, 0, 0);
    /* A kernel can be told to let nobody write what is only to be read: at the first site it says so. */
    if (error)
        error = change_by_hand(object, sites, count);
    for (uint32_t i = 0; i < count && error; i++)
        if (sites[i].kind != MEMSC_SITE_MISSED) {
            sites[i].kind = MEMSC_SITE_MISSED;
            sites[i].missed = MEMSC_MISSED_PROTECTED;
        }
    return error;
}
