/* SPDX-License-Identifier: MIT
 * The table: what is local has a reason, what it does not know is local. */
#include "check.h"
#include "table.h"

static enum memsc_kind blocks(long number, uint64_t descriptor)
{
    (void)number;
    return descriptor == 9   ? MEMSC_KIND_WAITS
           : descriptor == 1 ? MEMSC_KIND_OWN
                             : MEMSC_KIND_STORAGE;
}

static enum memsc_class class_of(long number, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    return memsc_class_of(number, (const uint64_t[6]){a, b, c, d}, blocks);
}

static const uint64_t PROBES[] = {0, 1, 7, 0x541b, 1u << 17, 1u << 29, 0x7fffffff, ~0ull};
enum { PROBED = sizeof PROBES / sizeof *PROBES };

/* Whether some call of this number stays, by its arguments: each has every value beside others that are all
 * alike. */
static bool some_stay(long number)
{
    bool stays = false;
    for (int i = 0; i < 6; i++)
        for (int one = 0; one < PROBED; one++)
            for (int rest = 0; rest < PROBED; rest++) {
                uint64_t args[6];
                for (int k = 0; k < 6; k++)
                    args[k] = PROBES[k == i ? one : rest];
                stays |= memsc_class_of(number, args, blocks) == MEMSC_LOCAL;
            }
    return stays;
}

/* Every number of which some calls stay says why, and no other. */
static void reasons_are_told(void)
{
    memsc_signals_are_watched();
    for (long number = 0; number < MEMSC_KNOWN; number++) {
        bool stays = some_stay(number) && memsc_class(number) != MEMSC_LOCAL;
        if ((memsc_exception(number) != NULL) != stays)
            fprintf(stderr, "%s\n", memsc_call_name(number));
        CHECK_EQUAL(memsc_exception(number) != NULL, stays);
    }
}

/* With a bit that is not known a call stays, whatever else it asks for. */
static void flags_are_known(void)
{
    int rows = 0;
    for (long number = 0; number < MEMSC_KNOWN; number++) {
        const struct memsc_row *row = memsc_row_of(number);
        if (!row->flags)
            continue;
        rows++;
        CHECK(row->flags <= 6 && row->class != MEMSC_LOCAL);
        for (int bit = 0; bit < 32; bit++) {
            uint64_t args[6] = {0, 0, 0, 0, 0, 0};
            args[row->flags - 1] = 1ull << bit;
            bool local = memsc_is_local(number, args);
            CHECK_EQUAL(local, !(row->known >> bit & 1));
        }
    }
    CHECK(rows > 40);
}

int main(void)
{
    for (long number = -5; number < 2000; number++) {
        bool local = memsc_class(number) == MEMSC_LOCAL;
        CHECK_EQUAL(memsc_local_reason(number) != NULL, local);
    }
    CHECK_EQUAL(memsc_class(-1), MEMSC_LOCAL);
    CHECK_EQUAL(memsc_class(1L << 40), MEMSC_LOCAL);
    CHECK_EQUAL(memsc_class(SYS_clone), MEMSC_LOCAL);
    CHECK_EQUAL(memsc_class(SYS_getppid), MEMSC_FAST);
    CHECK(strcmp(memsc_call_name(SYS_getppid), "getppid") == 0);
    CHECK(memsc_call_name(100000) == NULL);

    CHECK_EQUAL(class_of(SYS_read, 3, 0, 0, 0), MEMSC_PLAIN);
    CHECK_EQUAL(class_of(SYS_read, 9, 0, 0, 0), MEMSC_POOL);
    CHECK_EQUAL(class_of(SYS_sendfile, 3, 9, 0, 0), MEMSC_POOL);
    CHECK_EQUAL(class_of(SYS_clock_gettime, 1, 0, 0, 0), MEMSC_FAST);
    CHECK_EQUAL(class_of(SYS_clock_gettime, 3, 0, 0, 0), MEMSC_LOCAL);
    CHECK_EQUAL(class_of(SYS_clock_gettime, (uint64_t)-6, 0, 0, 0), MEMSC_LOCAL);
    CHECK_EQUAL(class_of(SYS_getrusage, 1, 0, 0, 0), MEMSC_LOCAL);
#ifdef SYS_poll /* 64-bit Arm has the newer one alone */
    CHECK_EQUAL(class_of(SYS_poll, 0, 1, 0, 0), MEMSC_PLAIN);
    CHECK_EQUAL(class_of(SYS_poll, 0, 1, 100, 0), MEMSC_POOL);
#endif
    CHECK_EQUAL(class_of(SYS_ppoll, 0, 1, 0, 1), MEMSC_LOCAL);
    CHECK_EQUAL(class_of(SYS_wait4, 0, 0, 1, 0), MEMSC_PLAIN);
    CHECK_EQUAL(class_of(SYS_wait4, 0, 0, 0, 0), MEMSC_POOL);
    CHECK_EQUAL(class_of(SYS_fcntl, 3, 7, 0, 0), MEMSC_POOL);
    CHECK_EQUAL(class_of(SYS_fcntl, 3, 4, 04000, 0), MEMSC_PLAIN);
    CHECK_EQUAL(class_of(SYS_fcntl, 3, 4, 020000, 0), MEMSC_LOCAL); /* O_ASYNC */
    CHECK_EQUAL(class_of(SYS_fcntl, 3, 1024, 0, 0), MEMSC_LOCAL);   /* F_SETLEASE */
    CHECK_EQUAL(class_of(SYS_fcntl, 3, 5000, 0, 0), MEMSC_LOCAL);
    CHECK_EQUAL(class_of(SYS_ioctl, 3, 0x541b, 0, 0), MEMSC_PLAIN);
    CHECK_EQUAL(class_of(SYS_ioctl, 9, 0x541b, 0, 0), MEMSC_POOL);
    CHECK_EQUAL(class_of(SYS_ioctl, 3, 0x5410, 0, 0), MEMSC_LOCAL); /* TIOCSPGRP */
    CHECK_EQUAL(class_of(SYS_write, 1, 0, 0, 0), MEMSC_LOCAL);
    CHECK_EQUAL(class_of(SYS_close_range, 3, 9, 4, 0), MEMSC_PLAIN);
    CHECK_EQUAL(class_of(SYS_close_range, 3, 9, 2, 0), MEMSC_LOCAL); /* CLOSE_RANGE_UNSHARE */
    CHECK_EQUAL(class_of(SYS_clock_nanosleep, 1, 0, 0, 0), MEMSC_POOL);
    CHECK_EQUAL(class_of(SYS_clock_nanosleep, 2, 0, 0, 0), MEMSC_LOCAL);
    CHECK_EQUAL(class_of(SYS_clock_nanosleep, (uint64_t)-6, 0, 0, 0), MEMSC_LOCAL);
    CHECK_EQUAL(memsc_fd_effect(SYS_close), MEMSC_FD_CLOSE);
    flags_are_known();
    reasons_are_told(); /* last: signals are watched from then on */
    return 0;
}
