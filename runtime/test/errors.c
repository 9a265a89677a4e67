/* SPDX-License-Identifier: MIT
 * Wrong use gives the documented error, never a hang. */
#include "check.h"

#include <errno.h>
#include <fcntl.h>

static void body(const struct memsc_options *options)
{
    long result;
    CHECK_EQUAL(memsc_stop(), -ENOTCONN);
    CHECK_EQUAL(memsc_record(1), -ENOTCONN);
    CHECK_EQUAL(memsc_call(SYS_getppid, NO_ARGS, &result), -ENOTCONN);
    CHECK_EQUAL(memsc_add(SYS_getppid, NO_ARGS), -ENOTCONN);
    CHECK_EQUAL(memsc_ready(0), -ENOTCONN);
    CHECK_EQUAL(memsc_retval(0, &result), -ENOTCONN);
    CHECK_EQUAL(memsc_wait_any(), -ENOTCONN);
    CHECK_EQUAL(memsc_wait_all(), -ENOTCONN);
    CHECK_EQUAL(memsc_unregister(), -ENOTCONN);
    CHECK(strcmp(memsc_region_path(), "") == 0);

    CHECK_EQUAL(memsc_start(options), 0);
    CHECK_EQUAL(memsc_start(options), -EALREADY);
    CHECK_EQUAL(memsc_call(SYS_getppid, NO_ARGS, &result), -ENOTCONN);
    CHECK_EQUAL(memsc_register(), 0);
    CHECK_EQUAL(memsc_register(), -EALREADY);
    CHECK_EQUAL(memsc_stop(), -EBUSY);

    CHECK_EQUAL(memsc_ready(-1), -EINVAL);
    CHECK_EQUAL(memsc_ready(64), -EINVAL);
    CHECK_EQUAL(memsc_retval(1000, &result), -EINVAL);
    CHECK_EQUAL(memsc_ready(5), -ENOENT);
    CHECK_EQUAL(memsc_retval(5, &result), -ENOENT);
    CHECK_EQUAL(memsc_wait_any(), -ENOENT);
    CHECK_EQUAL(memsc_wait_all(), 0);
    CHECK_EQUAL(memsc_add(SYS_gettid, NO_ARGS), -EOPNOTSUPP);
    CHECK_EQUAL(memsc_add(-1, NO_ARGS), -EOPNOTSUPP);
    CHECK_EQUAL(memsc_add(100000, NO_ARGS), -EOPNOTSUPP);

    for (int i = 0; i < 64; i++)
        CHECK(memsc_add(SYS_getppid, NO_ARGS) >= 0);
    CHECK_EQUAL(memsc_add(SYS_getppid, NO_ARGS), -EAGAIN);
    CHECK_EQUAL(memsc_wait_all(), 64);
    CHECK_EQUAL(memsc_add(SYS_getppid, NO_ARGS), -EAGAIN);
    CHECK_EQUAL(memsc_retval(17, &result), 0);
    CHECK_EQUAL(memsc_retval(17, &result), -ENOENT);
    CHECK_EQUAL(memsc_add(SYS_getppid, NO_ARGS), 17);
    /* Calls in flight are waited for and dropped. */
    CHECK_EQUAL(memsc_unregister(), 0);
    CHECK_EQUAL(memsc_register(), 0);
    CHECK_EQUAL(memsc_wait_all(), 0);
    CHECK_EQUAL(memsc_call(SYS_getppid, NO_ARGS, &result), 0);
    CHECK_EQUAL(memsc_unregister(), 0);
    CHECK_EQUAL(memsc_stop(), 0);
}

static void bad_options(void)
{
    struct memsc_options options = options_for(MEMSC_MEMSC, MEMSC_INLINE);
    options.service_cpus[0] = 1000;
    CHECK_EQUAL(memsc_start(&options), -ENXIO);
    options = options_for(7, MEMSC_INLINE);
    CHECK_EQUAL(memsc_start(&options), -EINVAL);
    options = options_for(MEMSC_MEMSC, 9);
    CHECK_EQUAL(memsc_start(&options), -EINVAL);
    options = options_for(MEMSC_MEMSC, MEMSC_INLINE);
    options.services = 0;
    CHECK_EQUAL(memsc_start(&options), -EINVAL);
    options = options_for(MEMSC_MEMSC, MEMSC_INLINE);
    strcpy(options.directory, "/nonexistent");
    /* What it gives back is its own, and descriptor 0 never is. */
    int input = dup(0);
    CHECK_EQUAL(dup2(open("/dev/null", O_RDONLY), 0), 0);
    CHECK_EQUAL(memsc_start(&options), -ENOENT);
    CHECK_EQUAL(fcntl(0, F_GETFD), 0);
    CHECK_EQUAL(dup2(input, 0), 0);
    CHECK_EQUAL(memsc_stop(), -ENOTCONN);
}

int main(void)
{
    bad_options();
    each_transport(body);
    return 0;
}
