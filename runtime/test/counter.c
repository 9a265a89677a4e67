/* SPDX-License-Identifier: MIT
 *
 * Reading perf events from user space: from pages as the kernel writes them for a PMU, and from the real
 * page of a software event, which is on no counter.
 */
#include <sys/mman.h>

#include "check.h"
#include "counter.h"

struct recorded {
    struct perf_event_mmap_page page;
    uint64_t counter, cycles;
    uint32_t number; /* of the counter that was asked for */
    int changes;     /* readings during which the kernel changes the page */
    int readings;
};

static uint64_t counter_of(void *context, uint32_t number)
{
    struct recorded *recorded = context;
    recorded->number = number;
    recorded->readings++;
    if (recorded->changes) {
        recorded->changes--;
        recorded->page.lock += 2;
        recorded->page.offset += 1000;
    }
    return recorded->counter;
}

static uint64_t cycles_of(void *context)
{
    return ((struct recorded *)context)->cycles;
}

static struct recorded page_of(uint16_t width, int64_t offset, uint64_t counter)
{
    struct recorded recorded = {.counter = counter};
    recorded.page.lock = 4;
    recorded.page.index = 3;
    recorded.page.offset = offset;
    recorded.page.time_enabled = 500;
    recorded.page.time_running = 250;
    recorded.page.cap_user_rdpmc = 1;
    recorded.page.pmc_width = width;
    return recorded;
}

static int take(struct recorded *recorded, struct memsc_reading *reading)
{
    struct memsc_registers registers = {counter_of, cycles_of, recorded};
    return memsc_counter_read(&recorded->page, &registers, reading);
}

static void widths(void)
{
    /* The kernel starts a counter below zero, so that it overflows in time: -5 of 40 and 48 bits. */
    static const uint16_t bits[] = {40, 48, 64};
    for (int i = 0; i < 3; i++) {
        uint64_t all = bits[i] == 64 ? ~0ull : (1ull << bits[i]) - 1;
        struct memsc_reading reading;
        struct recorded below = page_of(bits[i], 1005, all - 4);
        CHECK_EQUAL(take(&below, &reading), 0);
        CHECK_EQUAL(reading.value, 1000);
        CHECK_EQUAL(below.number, 2);
        struct recorded above = page_of(bits[i], 1ll << 50, 77);
        CHECK_EQUAL(take(&above, &reading), 0);
        CHECK_EQUAL(reading.value, (1ll << 50) + 77);
        /* Bits that the counter has not are not looked at. */
        struct recorded dirty = page_of(bits[i], 0, bits[i] == 64 ? 77 : 77 | 1ull << bits[i]);
        CHECK_EQUAL(take(&dirty, &reading), 0);
        CHECK_EQUAL(reading.value, 77);
    }
}

static void changes_meanwhile(void)
{
    struct memsc_reading reading;
    struct recorded recorded = page_of(48, 0, 10);
    recorded.changes = 2;
    CHECK_EQUAL(take(&recorded, &reading), 0);
    CHECK_EQUAL(recorded.readings, 3);
    CHECK_EQUAL(reading.value, 2010);
}

static void on_no_counter(void)
{
    struct memsc_reading reading = {.value = 9};
    struct recorded waits = page_of(48, 0, 10), forbidden = page_of(48, 0, 10);
    waits.page.index = 0;
    CHECK_EQUAL(take(&waits, &reading), -EAGAIN);
    forbidden.page.cap_user_rdpmc = 0;
    CHECK_EQUAL(take(&forbidden, &reading), -EAGAIN);
    CHECK_EQUAL(waits.readings + forbidden.readings, 0);
    CHECK_EQUAL(reading.value, 9);
}

static void times(void)
{
    struct memsc_reading reading;
    struct recorded recorded = page_of(48, 0, 10);
    recorded.page.cap_user_time = 1;
    recorded.page.time_shift = 10;
    recorded.page.time_mult = 512; /* half a nanosecond to the cycle */
    recorded.page.time_offset = (uint64_t)-1000;
    recorded.cycles = 2600;
    CHECK_EQUAL(take(&recorded, &reading), 0);
    CHECK_EQUAL(reading.enabled, 500 + 300);
    CHECK_EQUAL(reading.running, 250 + 300);
    recorded.page.index = 0; /* waits for its turn: that time is enabled, and not running */
    CHECK_EQUAL(take(&recorded, &reading), -EAGAIN);
    CHECK_EQUAL(reading.enabled, 500 + 300);
    CHECK_EQUAL(reading.running, 250);
    /* A short counter that has wrapped. */
    recorded.page.cap_user_time_short = 1;
    recorded.page.time_mask = 0xfff;
    recorded.page.time_cycles = 0x10ff0;
    recorded.page.time_offset = -(0x10ff0ull / 2);
    recorded.cycles = 0x010;
    CHECK_EQUAL(take(&recorded, &reading), -EAGAIN);
    CHECK_EQUAL(reading.enabled, 500 + 0x20 / 2);
}

static void scaling(void)
{
    struct memsc_reading half = {.value = 1000, .enabled = 600, .running = 300};
    CHECK_EQUAL(memsc_counter_scale(&half), 2000);
    struct memsc_reading whole = {
        .value = ~0ull >> 1, .enabled = 1ull << 50, .running = 1ull << 50};
    CHECK_EQUAL(memsc_counter_scale(&whole), ~0ull >> 1);
    struct memsc_reading never = {.value = 0, .enabled = 600, .running = 0};
    CHECK_EQUAL(memsc_counter_scale(&never), 0);
}

/* The kernel's own page, of an event that no PMU counts: it says so, and read() tells. */
static void a_real_page(void)
{
    struct perf_event_attr attributes = {.type = PERF_TYPE_SOFTWARE,
                                         .size = sizeof attributes,
                                         .config = PERF_COUNT_SW_TASK_CLOCK,
                                         .exclude_kernel = 1,
                                         .read_format = PERF_FORMAT_TOTAL_TIME_ENABLED |
                                                        PERF_FORMAT_TOTAL_TIME_RUNNING};
    int fd = (int)syscall(SYS_perf_event_open, &attributes, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
    if (fd < 0) {
        fprintf(stderr, "no perf events here: %s\n", strerror(errno));
        return;
    }
    struct perf_event_mmap_page *page =
        mmap(NULL, (size_t)sysconf(_SC_PAGESIZE), PROT_READ, MAP_SHARED, fd, 0);
    CHECK(page != MAP_FAILED);
    struct memsc_registers registers = {memsc_pmc, memsc_tsc, NULL};
    struct memsc_reading reading = {0};
    uint64_t before[3], after[3];
    CHECK_EQUAL(read(fd, before, sizeof before), sizeof before);
    CHECK_EQUAL(memsc_counter_read(page, &registers, &reading), -EAGAIN);
    CHECK_EQUAL(read(fd, after, sizeof after), sizeof after);
    CHECK(after[0] >= before[0] && after[1] >= before[1]);
    /* The page is no newer than what read() says afterwards, but for the rounding of its clock. */
    CHECK(reading.enabled <= after[1] + 1000);
    CHECK(reading.running <= after[2] + 1000);
    munmap(page, (size_t)sysconf(_SC_PAGESIZE));
    close(fd);
}

int main(void)
{
    widths();
    changes_meanwhile();
    on_no_counter();
    times();
    scaling();
    a_real_page();
    return 0;
}
