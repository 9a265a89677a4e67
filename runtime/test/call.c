/* SPDX-License-Identifier: MIT
 * Synchronous calls give what the kernel gives, values and errors. */
#include "check.h"

#include <errno.h>
#include <fcntl.h>

static void body(const struct memsc_options *options)
{
    CHECK_EQUAL(memsc_start(options), 0);
    CHECK_EQUAL(memsc_register(), 0);
    for (int i = 0; i < 20000 / (options->transport == MEMSC_IPI ? 20 : 1); i++)
        CHECK_EQUAL(call(SYS_getppid, NO_ARGS), getppid());
    char path[] = "call-XXXXXX";
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    for (int i = 0; i < 100; i++)
        CHECK_EQUAL(CALL(SYS_pwrite64, fd, (long)"0123456789", 10, i * 10), 10);
    char text[2000];
    CHECK_EQUAL(CALL(SYS_pread64, fd, (long)text, sizeof text, 0), 1000);
    CHECK(memcmp(text, "01234567890123", 14) == 0);
    CHECK_EQUAL(CALL(SYS_lseek, fd, 7, SEEK_SET), 7);
    CHECK_EQUAL(CALL(SYS_read, fd, (long)text, 5), 5);
    CHECK(memcmp(text, "78901", 5) == 0);
    CHECK_EQUAL(CALL(SYS_close, fd), 0);
    CHECK_EQUAL(CALL(SYS_close, fd), -EBADF);
    CHECK_EQUAL(CALL(SYS_openat, AT_FDCWD, (long)"/nonexistent", O_RDONLY), -ENOENT);
    /* A local call runs here: the thread's own number, not the service's. */
    CHECK_EQUAL(CALL(SYS_gettid), gettid());
    CHECK_EQUAL(CALL(511), -ENOSYS);
    unlink(path);
    CHECK_EQUAL(memsc_unregister(), 0);
    CHECK_EQUAL(memsc_stop(), 0);
}

int main(void)
{
    each_transport(body);
    each_handoff(body);
    return 0;
}
