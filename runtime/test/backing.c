/* SPDX-License-Identifier: MIT
 * A call ring takes memory as it is used. Where there is no more, calls are lost and counted, and recorded
 * again once there is some. */
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

enum {
    RECORDS = 1 << 14,
    FIRST = 1024,     /* that have memory from the first call on */
    TRY_AGAIN = 1024, /* lost ones between two tries */
};

static const struct memsc_region *region;
static int file;

static void begin(const struct memsc_options *given, const char *folder)
{
    struct memsc_options options = *given;
    strcpy(options.directory, folder);
    options.ring_records = RECORDS;
    options.recording = 1;
    CHECK_EQUAL(memsc_start(&options), 0);
    file = open(memsc_region_path(), O_RDONLY | O_CLOEXEC);
    CHECK(file >= 0);
    region = mmap(NULL, 1 << 20, PROT_READ, MAP_SHARED, file, 0);
    CHECK(region != MAP_FAILED);
    CHECK_EQUAL(memsc_register(), 0);
}

static const struct memsc_slot *slot(void)
{
    static struct memsc_slot now;
    CHECK_EQUAL(pread(file, &now, sizeof now, (off_t)region->slots_offset), sizeof now);
    return &now;
}

static void make(uint64_t calls)
{
    for (uint64_t i = 0; i < calls; i++)
        call(SYS_getppid, NO_ARGS);
}

/* Whether there is memory behind a record. */
static bool backed(uint64_t record)
{
    off_t at = (off_t)(region->rings_offset + record * sizeof(struct memsc_call));
    return lseek(file, at, SEEK_DATA) == at;
}

/* Whether memory can be had before it is touched: not on Linux before 5.14, nor under an emulator of programs. */
static bool ahead(void)
{
    enum { POPULATE_WRITE = 23 };
    int page = memfd_create("page", MFD_CLOEXEC);
    CHECK(page >= 0 && ftruncate(page, 4096) == 0);
    void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, page, 0);
    CHECK(at != MAP_FAILED);
    madvise(at, 4096, POPULATE_WRITE);
    bool had = lseek(page, 0, SEEK_DATA) == 0;
    munmap(at, 4096);
    close(page);
    return had;
}

static void grows(const struct memsc_options *given)
{
    char folder[] = "/dev/shm/memsc-test-XXXXXX";
    CHECK(mkdtemp(folder));
    begin(given, folder);
    make(1);
    CHECK(backed(0) && backed(FIRST - 1) == ahead() && !backed(FIRST));
    make(FIRST - 1);
    CHECK(!backed(FIRST));
    make(1);
    CHECK(backed(FIRST) && !backed(RECORDS - 1));
    make(RECORDS - FIRST - 1);
    CHECK(backed(RECORDS - 1));
    CHECK_EQUAL(slot()->written, RECORDS);
    CHECK_EQUAL(slot()->dropped, 0);
    make(3); /* nobody has drained any */
    CHECK_EQUAL(slot()->written, RECORDS);
    CHECK_EQUAL(slot()->dropped, 3);
    struct memsc_call last;
    off_t at = (off_t)(region->rings_offset + (RECORDS - 1) * sizeof last);
    CHECK_EQUAL(pread(file, &last, sizeof last, at), sizeof last);
    CHECK_EQUAL(last.number, SYS_getppid);
    CHECK(last.called && last.completed >= last.called);
    close(file);
    CHECK_EQUAL(memsc_unregister(), 0);
    CHECK_EQUAL(memsc_stop(), 0);
    CHECK_EQUAL(rmdir(folder), 0);
}

static void runs_short(const struct memsc_options *given)
{
    char folder[] = "/dev/shm/memsc-test-XXXXXX";
    CHECK(mkdtemp(folder));
    if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        mount("none", folder, "tmpfs", 0, "size=512k")) {
        fprintf(stderr, "a small file system cannot be had here: %s\n", strerror(errno));
        rmdir(folder);
        return;
    }
    begin(given, folder);
    make(RECORDS);
    uint64_t kept = slot()->written;
    CHECK(kept >= FIRST && kept < RECORDS);
    CHECK_EQUAL(kept + slot()->dropped, RECORDS);
    CHECK_EQUAL(mount("none", folder, "tmpfs", MS_REMOUNT, "size=64m"), 0);
    make(TRY_AGAIN + 1);
    CHECK(slot()->written > kept);
    CHECK_EQUAL(slot()->written + slot()->dropped, RECORDS + TRY_AGAIN + 1);
    close(file);
    CHECK_EQUAL(memsc_unregister(), 0);
    CHECK_EQUAL(memsc_stop(), 0);
    umount2(folder, MNT_DETACH);
    CHECK_EQUAL(rmdir(folder), 0);
}

static void both(const struct memsc_options *options)
{
    grows(options);
    if (ahead())
        runs_short(options);
}

int main(void)
{
    each_transport(both);
    return 0;
}
