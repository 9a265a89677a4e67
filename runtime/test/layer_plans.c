/* SPDX-License-Identifier: MIT
 *
 * A kept plan is read as it was made, and by nobody who cannot be sure of it: of another build, of another
 * user's, that others may write, cut short, damaged, or with sites that no planner makes. It has nothing of others'
 * breakpoints; it is kept whole or not at all; and plans do not pile up.
 */
#include "plans.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "check.h"
#include "objects.h"
#include "planned.h"

static struct memsc_site planned[MEMSC_MAX_SITES], made[MEMSC_MAX_SITES], got[MEMSC_MAX_SITES];
static struct memsc_object own = {.build = (const uint8_t *)"the layer", .build_size = 9};
static struct memsc_object object, image; /* where it runs; as its file has it */
static int folder;
static char top[64], path[200];

static uint32_t read_again(void)
{
    return memsc_plans_read(folder, &own, &object, got, MEMSC_MAX_SITES);
}

static void check_same(uint32_t count)
{
    CHECK_EQUAL(read_again(), count);
    for (uint32_t i = 0; i < count; i++) {
        CHECK(got[i].address == made[i].address);
        CHECK(got[i].hop == made[i].hop);
        CHECK_EQUAL(got[i].kind, made[i].kind);
        CHECK_EQUAL(got[i].moved, made[i].moved);
        CHECK_EQUAL(got[i].missed, made[i].missed);
        CHECK_EQUAL(got[i].bridge, made[i].bridge);
        CHECK_EQUAL(got[i].gap, made[i].gap);
        CHECK_EQUAL(got[i].gap_sum, made[i].gap_sum);
        CHECK(memcmp(got[i].bytes, made[i].bytes, sizeof got[i].bytes) == 0);
    }
}

static uint32_t files(char *name)
{
    char command[200], other[96] = "";
    snprintf(command, sizeof command, "ls %s", top);
    FILE *list = popen(command, "r");
    uint32_t count = 0;
    CHECK(list);
    for (; fscanf(list, "%95s", other) == 1; count++)
        if (name)
            strcpy(name, other);
    pclose(list);
    return count;
}

static void find_file(void)
{
    char name[96];
    CHECK_EQUAL(files(name), 1);
    CHECK_EQUAL(strlen(name), strlen("plan-") + 16); /* finished */
    snprintf(path, sizeof path, "%s/%s", top, name);
}

static void keep(uint32_t count)
{
    memsc_plans_keep(folder, &own, &image, planned, count);
}

/* In a process of its own, for what cannot be undone. */
static void apart(bool (*holds)(uint32_t), uint32_t count)
{
    int status;
    pid_t child = fork();
    if (child == 0)
        _exit(holds(count) ? 0 : 1);
    CHECK(waitpid(child, &status, 0) == child);
    CHECK_EQUAL(status, 0);
}

/* Another one's word for it. */
static void check_others(uint32_t count)
{
    struct memsc_object right = own;
    own.build = (const uint8_t *)"The layer";
    CHECK_EQUAL(read_again(), 0);
    own.build_size = 0;
    CHECK_EQUAL(read_again(), 0);
    own = right;
    right = object;
    object.build = (const uint8_t *)"another C library";
    CHECK_EQUAL(read_again(), 0);
    object = right;
    object.text_end--;
    CHECK_EQUAL(read_again(), 0);
    object = right;
    CHECK_EQUAL(memsc_plans_read(folder, &own, &object, got, count - 1), 0);
    CHECK_EQUAL(memsc_plans_read(-1, &own, &object, got, MEMSC_MAX_SITES), 0);

    CHECK(chmod(path, 0620) == 0);
    CHECK_EQUAL(read_again(), 0);
    CHECK(chmod(path, 0600) == 0);
    check_same(count);
    if (geteuid() == 0) {
        CHECK(chown(path, 4711, 4711) == 0);
        CHECK_EQUAL(read_again(), 0);
        CHECK(chown(path, 0, 0) == 0);
    }
    char aside[220];
    snprintf(aside, sizeof aside, "%s.aside", path);
    CHECK(rename(path, aside) == 0 && symlink(aside, path) == 0);
    CHECK_EQUAL(read_again(), 0);
    keep(count); /* in the link's place, not where it leads */
    check_same(count);
    CHECK(unlink(path) == 0 && mkfifo(path, 0600) == 0);
    CHECK_EQUAL(read_again(), 0);
    CHECK(unlink(path) == 0 && mkdir(path, 0700) == 0);
    CHECK_EQUAL(read_again(), 0);
    keep(count);
    CHECK_EQUAL(files(NULL), 2);
    CHECK(rmdir(path) == 0 && rename(aside, path) == 0);
    check_same(count);
}

/* FNV-1a by words, with 0 where it stands, which is behind build-ids, text and count. */
static void sum_again(uint64_t *words, size_t size)
{
    enum { AT = (8 + 32 + 32 + 8 + 8) / 8 };
    uint64_t sum = 0xcbf29ce484222325;
    words[AT] = 0;
    for (size_t i = 0; i < size / 8; i++)
        sum = (sum ^ words[i]) * 0x100000001b3;
    words[AT] = sum;
}

/* Whatever a byte of it becomes: it is refused. Where whoever spoilt it has made the sum right again, it is refused,
 * or its sites are in order, within the text, and are calls. */
static void check_spoilt(uint32_t count)
{
    enum { HEAD = 128 };
    struct stat status;
    uint32_t refused = 0, tried = 0;
    int file = open(path, O_RDWR);
    CHECK(file >= 0 && fstat(file, &status) == 0);
    size_t size = (size_t)status.st_size;
    uint8_t *bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    CHECK(bytes != MAP_FAILED);
    for (size_t at = 0; at < size;
         at += at < HEAD ? 1 : 13) { /* each of its columns, not each row */
        uint8_t right = bytes[at];
        bytes[at] ^= (uint8_t)(1 + at % 255);
        CHECK_EQUAL(read_again(), 0);
        sum_again((uint64_t *)(void *)bytes, size);
        uint32_t found = read_again();
        const uint8_t *before = object.text;
        for (uint32_t i = 0; i < found; i++)
            if (got[i].kind != MEMSC_SITE_MISSED)
                before = check_kept(&object, &got[i], before);
        refused += !found;
        tried++;
        bytes[at] = right;
        sum_again((uint64_t *)(void *)bytes, size);
    }
    printf("  %u of %u spoilt plans with right sums refused\n", refused, tried);
    CHECK(refused > tried / 16);
    check_same(count);
    munmap(bytes, size);
    for (off_t cut = status.st_size + 4096; cut >= 0; cut -= cut < 128 ? 1 : 61) {
        CHECK(ftruncate(file, cut) == 0);
        CHECK_EQUAL(read_again(), 0);
    }
    CHECK(ftruncate(file, 1 << 20) == 0);
    CHECK_EQUAL(read_again(), 0);
    close(file);
    keep(count);
    check_same(count);
}

static bool none_for_privileged(uint32_t count)
{
    (void)count;
    return setresuid(4711, 0, 0) == 0 && memsc_plans_open() == -1;
}

/* In a user namespace where nobody has a number, all users' files look like one's own. */
static bool none_without_number(uint32_t count)
{
    return unshare(CLONE_NEWUSER) != 0 || (read_again() == 0 && memsc_plans_open() == -1 && count);
}

/* A file may not be that large: none, and no signal. */
static bool none_beyond_limit(uint32_t count)
{
    struct rlimit small = {4096, 4096};
    unlink(path);
    CHECK(setrlimit(RLIMIT_FSIZE, &small) == 0);
    keep(count);
    return files(NULL) == 0;
}

/* A mask that takes all from the user himself, too. */
static bool kept_under_any_mask(uint32_t count)
{
    umask(0777);
    keep(count);
    return read_again() == count && umask(0) == 0777;
}

/* No room for it, or none to write to: none, and nothing unfinished. */
static bool none_without_room(uint32_t count)
{
    static const char *const options[] = {"size=8k", "nr_inodes=1"};
    if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
        return true;
    for (int i = 0; i < 3; i++) {
        CHECK(mount("none", top, "tmpfs", i < 2 ? 0 : MS_RDONLY, i < 2 ? options[i] : "") == 0);
        int small = open(top, O_RDONLY | O_DIRECTORY);
        CHECK(small >= 0);
        memsc_plans_keep(small, &own, &image, planned, count);
        CHECK_EQUAL(files(NULL), 0);
        CHECK_EQUAL(memsc_plans_read(small, &own, &object, got, MEMSC_MAX_SITES), 0);
        close(small);
    }
    return true;
}

/* Many write at once, one is killed now and then: whoever reads has a whole one. */
static void check_at_once(uint32_t count)
{
    enum { WRITERS = 4 };
    pid_t writers[WRITERS];
    for (int i = 0; i < WRITERS; i++) {
        writers[i] = fork();
        while (writers[i] == 0)
            keep(count);
    }
    for (int i = 0; i < 200; i++)
        check_same(count);
    for (int i = 0; i < WRITERS; i++) {
        CHECK(kill(writers[i], SIGKILL) == 0);
        CHECK(waitpid(writers[i], NULL, 0) == writers[i]);
    }
    check_same(count);
}

/* What others have in memory just now is nothing of the plan. */
static void check_breakpoints(uint32_t count)
{
    enum { FUNCTION = 16 };
    static const char *const names[] = {"acct", "swapoff", "sethostname", "vhangup"};
    static const uint8_t stop[FUNCTION] = {0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc,
                                           0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc};
    uint8_t before[4][FUNCTION];
    int memory = open("/proc/self/mem", O_RDWR);
    if (memory < 0)
        return; /* emulated */
    for (int i = 0; i < 4; i++) {
        uint8_t *function = dlsym(RTLD_DEFAULT, names[i]);
        CHECK(object.text <= function && function < object.text_end);
        memcpy(before[i], function, FUNCTION);
        CHECK(pwrite(memory, stop, FUNCTION, (off_t)(uintptr_t)function) == FUNCTION);
    }
    static struct memsc_site beside[MEMSC_MAX_SITES];
    CHECK_EQUAL(memsc_plan(&image, beside, MEMSC_MAX_SITES), count);
    for (uint32_t i = 0; i < count; i++)
        beside[i].gap = planned[i].gap, beside[i].gap_sum = planned[i].gap_sum;
    memsc_plans_keep(folder, &own, &image, beside, count);
    check_same(count);
    for (int i = 0; i < 4; i++)
        CHECK(pwrite(memory, before[i], FUNCTION,
                     (off_t)(uintptr_t)dlsym(RTLD_DEFAULT, names[i])) == FUNCTION);
    close(memory);
}

/* Builds come and go. */
static void check_bound(uint32_t count)
{
    struct memsc_object right = own;
    char build[16];
    own.build = (const uint8_t *)build;
    uint32_t most = 0;
    for (int i = 0; i < 200; i++) {
        snprintf(build, sizeof build, "build %03d", i);
        keep(count);
        CHECK_EQUAL(read_again(), count);
        uint32_t there = files(NULL);
        most = there > most ? there : most;
    }
    CHECK_EQUAL(most, 64);
    own = right;
    keep(count);
    check_same(count);
}

int main(void)
{
    struct memsc_object objects[MEMSC_MAX_OBJECTS], self;
    struct memsc_image images[MEMSC_MAX_OBJECTS];
    CHECK(memsc_objects(objects, images, &self) >= 2);
    object = objects[0];
    if (!object.build)
        return 77; /* a system without build-ids keeps no plans */
    memsc_object_open(&objects[0], &images[0]);
    CHECK(images[0].address);
    image = objects[0];
    uint32_t count = memsc_plan(&image, planned, MEMSC_MAX_SITES);
    for (uint32_t i = 0; i < count; i++) {
        planned[i].gap = (uint16_t)i;
        planned[i].gap_sum = i * 0x123456789abcdef;
    }
    snprintf(top, sizeof top, "/tmp/memsc-plans-XXXXXX");
    CHECK(mkdtemp(top));
    folder = open(top, O_RDONLY | O_DIRECTORY);
    CHECK(folder >= 0);
    CHECK_EQUAL(read_again(), 0);
    keep(count);
    memcpy(made, planned, sizeof made);
    for (uint32_t i = 0; i < count; i++) { /* where it runs */
        made[i].address += image.to_live;
        made[i].hop += made[i].hop ? image.to_live : 0;
    }
    find_file();
    check_same(count);
    check_others(count);
    check_spoilt(count);
    check_breakpoints(count);
    apart(none_without_number, count);
    apart(kept_under_any_mask, count);
    apart(none_beyond_limit, count);
    keep(count);
    if (geteuid() == 0) {
        apart(none_for_privileged, count);
        apart(none_without_room, count);
    }
    check_at_once(count);
    check_bound(count);
    char command[100];
    snprintf(command, sizeof command, "rm -r %s", top);
    CHECK_EQUAL(system(command), 0);
    return 0;
}
