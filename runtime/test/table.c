/* SPDX-License-Identifier: MIT
 * The table: what is local has a reason, what it does not know is local. */
#include "check.h"
#include "table.h"

static int blocks(uint64_t descriptor)
{
    return descriptor == 9;
}

static enum memsc_class class_of(long number, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    return memsc_class_of(number, (const uint64_t[6]){a, b, c, d}, blocks);
}

int main(void)
{
    for (long number = -5; number < 2000; number++) {
        bool local = memsc_class(number) == MEMSC_LOCAL;
        CHECK_EQUAL(memsc_local_reason(number) != NULL, local);
    }
    /* Every number of which some calls stay says why, and no other. */
    for (long number = 0; number < MEMSC_KNOWN; number++) {
        bool stays = false;
        for (int i = 0; i < 6; i++) {
            uint64_t args[6] = {0, 0, 0, 0, 0, 0}, all[6] = {1, 1, 1, 1, 1, 1};
            args[i] = all[i] = ~0ull;
            stays |= memsc_class_of(number, args, blocks) == MEMSC_LOCAL;
            stays |= memsc_class_of(number, all, blocks) == MEMSC_LOCAL;
        }
        bool local = memsc_class(number) == MEMSC_LOCAL;
        CHECK_EQUAL(memsc_exception(number) != NULL, stays && !local);
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
    CHECK_EQUAL(memsc_fd_effect(SYS_close), MEMSC_FD_CLOSE);
    return 0;
}
