/* SPDX-License-Identifier: MIT */
#include "plans.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/resource.h>

#include "../src/own_file.h"
#include "raw.h"

enum {
    BUILD_MAX = 32,
    NAME = 32,
    MOST = 64, /* files: two of each pair of builds, 23 KB each; beyond, all are forgotten */
};

static const char format[8] = "memsc-1";
static const char prefix[] = "plan-";

struct head {
    char format[sizeof format];
    uint8_t own[BUILD_MAX], object[BUILD_MAX]; /* build-ids, zeros behind them */
    uint64_t text;                             /* bytes of the object's text */
    uint64_t sites;
    uint64_t sum; /* of the file, with 0 here */
};

struct kept {
    _Alignas(uint64_t) uint32_t at; /* in the text */
    int8_t hop;                     /* from behind the `syscall` to the padding */
    uint8_t kind, moved, missed, bridge;
    uint8_t bytes[MEMSC_CHANGE_MAX];
    uint16_t gap;
    uint64_t gap_sum;
};

struct plan {
    struct head head;
    struct kept sites[MEMSC_MAX_SITES];
};

static struct plan plan;

/* ---- where ---- */

int memsc_plans_open(void)
{
    bool trusted = !getauxval(AT_SECURE) && getuid() == geteuid() && geteuid() != MEMSC_NO_USER;
    return trusted ? memsc_open_starts() : -1;
}

/* False: they have no names to know them by. */
static bool put_head(struct head *head, const struct memsc_object *own,
                     const struct memsc_object *object)
{
    memset(head, 0, sizeof *head);
    if (!own->build_size || own->build_size > BUILD_MAX || !object->build_size ||
        object->build_size > BUILD_MAX)
        return false;
    memcpy(head->format, format, sizeof format);
    memcpy(head->own, own->build, own->build_size);
    memcpy(head->object, object->build, object->build_size);
    head->text = (uint64_t)(object->text_end - object->text);
    return true;
}

/* FNV-1a, by words: whatever one word becomes changes it. */
static uint64_t hash(const void *words, size_t size)
{
    uint64_t sum = 0xcbf29ce484222325;
    for (size_t i = 0; i < size / sizeof sum; i++)
        sum = (sum ^ ((const uint64_t *)words)[i]) * 0x100000001b3;
    return sum;
}

/* A mistaken name does no harm, for all that it is made of stands in the file. */
static void put_name(char name[NAME], const struct head *head)
{
    unsigned long long which = hash(head, offsetof(struct head, sites));
    snprintf(name, NAME, "%s%016llx", prefix, which);
}

static uint64_t sum_of(size_t size)
{
    uint64_t said = plan.head.sum;
    plan.head.sum = 0;
    uint64_t sum = hash(&plan, size);
    plan.head.sum = said;
    return sum;
}

/* ---- what ---- */

static void take(struct memsc_site *site, const struct kept *kept, uint8_t *text)
{
    *site = (struct memsc_site){.address = text + kept->at,
                                .kind = kept->kind,
                                .moved = kept->moved,
                                .missed = kept->missed,
                                .bridge = kept->bridge,
                                .gap = kept->gap,
                                .gap_sum = kept->gap_sum};
    memcpy(site->bytes, kept->bytes, sizeof site->bytes);
    if (site->kind == MEMSC_SITE_HOP)
        site->hop = site->address + MEMSC_SYSCALL_BYTES + kept->hop;
}

static void put(struct kept *kept, const struct memsc_site *site, const uint8_t *text)
{
    memset(kept, 0, sizeof *kept);
    kept->at = (uint32_t)(site->address - text);
    kept->kind = site->kind;
    kept->moved = site->moved;
    kept->missed = site->missed;
    kept->bridge = site->bridge;
    kept->gap = site->gap;
    kept->gap_sum = site->gap_sum;
    memcpy(kept->bytes, site->bytes, sizeof kept->bytes);
    if (site->kind == MEMSC_SITE_HOP)
        kept->hop = (int8_t)(site->hop - site->address - MEMSC_SYSCALL_BYTES);
}

uint32_t memsc_plans_read(int folder, const struct memsc_object *own,
                          const struct memsc_object *object, struct memsc_site *sites,
                          uint32_t room)
{
    char name[NAME];
    struct head head;
    uintptr_t covered = (uintptr_t)object->text;
    if (folder < 0 || !put_head(&head, own, object))
        return 0;
    put_name(name, &head);
    int file = memsc_open_own(folder, name, O_NONBLOCK, S_IFREG);
    if (file < 0)
        return 0;
    ssize_t size = read(file, &plan, sizeof plan);
    close(file);
    if (size < (ssize_t)sizeof head || memcmp(&plan.head, &head, offsetof(struct head, sites)) != 0)
        return 0;
    uint64_t count = plan.head.sites;
    if (count > room || count > MEMSC_MAX_SITES ||
        (size_t)size != sizeof head + count * sizeof *plan.sites ||
        plan.head.sum != sum_of((size_t)size))
        return 0;
    for (uint32_t i = 0; i < count; i++) {
        take(&sites[i], &plan.sites[i], object->text);
        if (!memsc_is_sound(&sites[i], object, &covered))
            return 0;
    }
    return (uint32_t)count;
}

/* Returns how many there are. */
static uint32_t list(DIR *files, int folder, bool remove)
{
    uint32_t count = 0;
    const struct dirent *file;
    for (rewinddir(files); (file = readdir(files));)
        if (strncmp(file->d_name, prefix, sizeof prefix - 1) == 0) {
            count++;
            if (remove)
                unlinkat(folder, file->d_name, 0);
        }
    return count;
}

/* Takes away those of builds that are no more, and what writers left that were killed. */
static void make_room(int folder)
{
    int again = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *files = again < 0 ? NULL : fdopendir(again);
    if (!files)
        return;
    if (list(files, folder, false) >= MOST)
        list(files, folder, true);
    closedir(files);
}

/* More than the program may write to a file would end it. */
static bool may_write(size_t size)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur >= size;
}

void memsc_plans_keep(int folder, const struct memsc_object *own, const struct memsc_object *object,
                      const struct memsc_site *sites, uint32_t count)
{
    char name[NAME], unfinished[NAME + 16];
    size_t size = sizeof plan.head + count * sizeof *plan.sites;
    if (folder < 0 || !count || !may_write(size) || !put_head(&plan.head, own, object))
        return;
    put_name(name, &plan.head);
    plan.head.sites = count;
    for (uint32_t i = 0; i < count; i++)
        put(&plan.sites[i], &sites[i], object->text);
    plan.head.sum = sum_of(size);
    make_room(folder);
    /* Another reads it whole or not at all, also if two write at once, or one is killed. */
    snprintf(unfinished, sizeof unfinished, "%s.%d", name, getpid());
    mode_t mask = umask(S_IRWXG | S_IRWXO);
    int flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC;
    int file = openat(folder, unfinished, flags, S_IRUSR | S_IWUSR);
    umask(mask);
    if (file < 0)
        return;
    bool whole = write(file, &plan, size) == (ssize_t)size;
    close(file);
    if (!whole || renameat(folder, unfinished, folder, name))
        unlinkat(folder, unfinished, 0);
}
