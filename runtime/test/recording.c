/* SPDX-License-Identifier: MIT
 * Every call leaves one record with its stamps in order; a full ring drops and counts exactly; of one in so
 * many each is as likely as any other. */
#include "check.h"
#include "polls.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

static struct memsc_region *region;
static size_t region_size;

static void map_region(void)
{
    int fd = open(memsc_region_path(), O_RDWR);
    CHECK(fd >= 0);
    struct stat status;
    CHECK_EQUAL(fstat(fd, &status), 0);
    CHECK_EQUAL(status.st_mode & 0777, 0600);
    region_size = (size_t)status.st_size;
    region = mmap(NULL, region_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(region != MAP_FAILED);
    close(fd);
    CHECK(region->magic == MEMSC_MAGIC);
    CHECK_EQUAL(region->version, MEMSC_LAYOUT_VERSION);
    CHECK_EQUAL(region->pid, getpid());
}

static struct memsc_slot *slot(void)
{
    return (struct memsc_slot *)((char *)region + region->slots_offset);
}

static struct memsc_call *record(uint64_t position)
{
    struct memsc_call *ring = (struct memsc_call *)((char *)region + region->rings_offset);
    return &ring[position % region->ring_records];
}

static void check_order(uint64_t from, uint64_t to)
{
    for (uint64_t i = from; i < to; i++) {
        const struct memsc_call *call = record(i);
        CHECK(call->called && call->called <= call->posted);
        CHECK(call->executed >= call->picked);
        CHECK(call->completed >= call->called);
        CHECK_EQUAL(call->tid, gettid());
    }
}

/* Where both sides poll, one that waits looks, and says so. */
static void check_polls(const struct memsc_options *options, uint64_t first, uint64_t end)
{
    uint64_t service = 0, app = 0;
    for (uint64_t i = first; i < end; i++) {
        service += record(i)->flags >> MEMSC_POLLS_SERVICE_SHIFT & MEMSC_POLLS_MOST;
        app += record(i)->flags >> MEMSC_POLLS_APP_SHIFT & MEMSC_POLLS_MOST;
    }
    if (options->transport == MEMSC_MEMSC && options->service_mode == MEMSC_INLINE)
        CHECK(service > 0 && app > 0);
    if (options->transport == MEMSC_DIRECT)
        CHECK_EQUAL(service + app, 0);
    CHECK_EQUAL(memsc_pack_polls(2047), 2047);
    CHECK_EQUAL(memsc_pack_polls(2048), 2048 + 16);
    CHECK_EQUAL(memsc_pack_polls(262143), 4095);
    CHECK_EQUAL(memsc_pack_polls(UINT32_MAX), MEMSC_POLLS_MOST);
}

static void body(const struct memsc_options *given)
{
    struct memsc_options options = *given;
    char folder[] = "recording-XXXXXX";
    CHECK(mkdtemp(folder));
    strcpy(options.directory, folder);
    options.ring_records = 100; /* becomes 128 */
    options.recording = 1;
    CHECK_EQUAL(memsc_start(&options), 0);
    map_region();
    CHECK_EQUAL(region->ring_records, 128);
    CHECK_EQUAL(memsc_register(), 0);
    for (int i = 0; i < 100; i++)
        call(SYS_getppid, NO_ARGS);
    CHECK_EQUAL(slot()->written, 100);
    CHECK_EQUAL(slot()->dropped, 0);
    check_order(0, 100);
    CHECK_EQUAL(record(99)->number, SYS_getppid);
    CHECK_EQUAL(record(99)->result, getppid());
    CHECK_EQUAL(record(99)->flags & MEMSC_CALL_ASYNC, 0);
    check_polls(&options, 0, 100);

    /* Full: 28 fit, the rest is dropped and counted. */
    for (int i = 0; i < 59; i++)
        call(SYS_getppid, NO_ARGS);
    CHECK_EQUAL(slot()->written, 128);
    CHECK_EQUAL(slot()->dropped, 31);
    atomic_store(&slot()->drained, 128);
    for (int i = 0; i < 64; i++)
        CHECK(memsc_add(SYS_getuid, NO_ARGS) >= 0);
    CHECK_EQUAL(memsc_wait_all(), 64);
    CHECK_EQUAL(slot()->written, 192);
    check_order(128, 192);
    if (options.transport != MEMSC_DIRECT)
        CHECK_EQUAL(record(130)->flags & MEMSC_CALL_ASYNC, MEMSC_CALL_ASYNC);
    for (int i = 0; i < 64; i++) {
        long result;
        CHECK_EQUAL(memsc_retval(i, &result), 0);
    }
    CHECK_EQUAL(slot()->written, 192);

    /* Off costs no record, and on again goes on. */
    CHECK_EQUAL(memsc_record(0), 0);
    for (int i = 0; i < 10; i++)
        call(SYS_getppid, NO_ARGS);
    CHECK_EQUAL(slot()->written, 192);
    CHECK_EQUAL(memsc_record(1), 0);
    call(SYS_getppid, NO_ARGS);
    CHECK_EQUAL(slot()->written, 193);

    /* A blocking call's stages are stamped as well; one that finds what it wants is no such call. */
    int ends[2];
    char byte;
    CHECK_EQUAL(pipe(ends), 0);
    CHECK_EQUAL(CALL(SYS_write, ends[1], (long)"z", 1), 1);
    CHECK_EQUAL(CALL(SYS_read, ends[0], (long)&byte, 1), 1);
    check_order(193, 195);
    if (options.transport != MEMSC_DIRECT) {
        CHECK(memsc_add(SYS_read, (const long[6]){ends[0], (long)&byte, 1}) >= 0);
        call(SYS_getpid, NO_ARGS);
        CHECK_EQUAL(CALL(SYS_write, ends[1], (long)"y", 1), 1);
        CHECK_EQUAL(memsc_wait_all(), 1);
        check_order(195, 198);
        CHECK_EQUAL(record(194)->flags & MEMSC_CALL_POOLED, 0);
        CHECK_EQUAL(record(197)->flags & MEMSC_CALL_POOLED, MEMSC_CALL_POOLED);
    }
    close(ends[0]);
    close(ends[1]);

    /* Calls made are counted whether recorded or not. */
    CHECK_EQUAL(slot()->forwarded[SYS_getuid], 64);
    CHECK_EQUAL(slot()->forwarded[SYS_getppid], 100 + 59 + 10 + 1);
    CALL(SYS_gettid);
    CHECK_EQUAL(slot()->local[SYS_gettid], 1);

    CHECK_EQUAL(memsc_unregister(), 0);
    CHECK_EQUAL(memsc_stop(), 0);
    CHECK_EQUAL(region->finished, 1);
    munmap(region, region_size);
    CHECK_EQUAL(rmdir(folder), 0); /* the region's file is gone */
}

/* One of so many: each as likely as any other, whatever the rhythm, and none uncounted. */
static void sparse(const struct memsc_options *given)
{
    enum { EVERY = 4, PAIRS = 4000, BATCH = 64, DEVIATION = 28 /* of half of what is drawn */ };
    struct memsc_options options = *given;
    char folder[] = "recording-XXXXXX";
    CHECK(mkdtemp(folder));
    strcpy(options.directory, folder);
    options.ring_records = 1 << 14;
    options.recording = EVERY;
    CHECK_EQUAL(memsc_start(&options), 0);
    map_region();
    CHECK_EQUAL(memsc_register(), 0);
    for (int i = 0; i < PAIRS; i++) {
        call(SYS_getppid, NO_ARGS);
        call(SYS_getuid, NO_ARGS);
    }
    uint64_t drawn = slot()->written, even = 0;
    CHECK_EQUAL(drawn + slot()->skipped, 2 * PAIRS);
    for (uint64_t i = 0; i < drawn; i++)
        even += record(i)->number == SYS_getppid;
    CHECK(even > PAIRS / EVERY - 6 * DEVIATION && even < PAIRS / EVERY + 6 * DEVIATION);
    CHECK(drawn - even > PAIRS / EVERY - 6 * DEVIATION &&
          drawn - even < PAIRS / EVERY + 6 * DEVIATION);
    check_order(0, drawn);

    for (int i = 0; i < BATCH; i++)
        CHECK(memsc_add(SYS_getppid, NO_ARGS) >= 0);
    CHECK_EQUAL(memsc_wait_all(), BATCH);
    for (int i = 0; i < BATCH; i++) {
        long result;
        CHECK_EQUAL(memsc_retval(i, &result), 0);
        CHECK_EQUAL(result, getppid());
    }
    CHECK_EQUAL(slot()->written + slot()->skipped, 2 * PAIRS + BATCH);
    CHECK_EQUAL(slot()->forwarded[SYS_getppid], PAIRS + BATCH);
    CHECK_EQUAL(slot()->dropped, 0);

    /* Unrecorded calls were not skipped. */
    uint64_t skipped = slot()->skipped;
    CHECK_EQUAL(memsc_record(0), 0);
    for (int i = 0; i < 10; i++)
        call(SYS_getppid, NO_ARGS);
    CHECK_EQUAL(slot()->skipped, skipped);
    CHECK_EQUAL(memsc_record(-1), -EINVAL);
    CHECK_EQUAL(memsc_unregister(), 0);
    CHECK_EQUAL(memsc_stop(), 0);
    munmap(region, region_size);
    CHECK_EQUAL(rmdir(folder), 0);
}

static void all(const struct memsc_options *options)
{
    body(options);
    sparse(options);
}

int main(void)
{
    each_transport(all);
    each_handoff(all);
    return 0;
}
