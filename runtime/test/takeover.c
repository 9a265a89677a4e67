/* SPDX-License-Identifier: MIT
 * A call that the table takes for short but that waits for ever (opening a FIFO) does not stall
 * the calls behind it: a stand-by takes over. */
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

static void body(const struct memsc_options *options)
{
    if (options->transport == MEMSC_DIRECT)
        return;
    char folder[] = "takeover-XXXXXX";
    CHECK(mkdtemp(folder));
    char path[6][64];
    int index[6];
    CHECK_EQUAL(memsc_start(options), 0);
    CHECK_EQUAL(memsc_register(), 0);
    for (int i = 0; i < 6; i++) {
        snprintf(path[i], sizeof path[i], "%s/fifo%d", folder, i);
        CHECK_EQUAL(mkfifo(path[i], 0600), 0);
        index[i] = memsc_add(SYS_openat, (const long[6]){AT_FDCWD, (long)path[i], O_RDONLY});
        CHECK(index[i] >= 0);
        for (int k = 0; k < 200; k++)
            CHECK_EQUAL(call(SYS_getppid, NO_ARGS), getppid());
        CHECK_EQUAL(memsc_ready(index[i]), 0);
    }
    for (int i = 5; i >= 0; i--) {
        long result;
        int writer = open(path[i], O_WRONLY);
        CHECK(writer >= 0);
        CHECK_EQUAL(memsc_wait_any(), index[i]);
        CHECK_EQUAL(memsc_retval(index[i], &result), 0);
        CHECK(result >= 0);
        close((int)result);
        close(writer);
        unlink(path[i]);
        for (int k = 0; k < 50; k++)
            CHECK_EQUAL(call(SYS_getppid, NO_ARGS), getppid());
    }
    rmdir(folder);
    CHECK_EQUAL(memsc_unregister(), 0);
    CHECK_EQUAL(memsc_stop(), 0);
}

int main(void)
{
    each_transport(body);
    return 0;
}
