/* SPDX-License-Identifier: MIT
 * A call that waits never stalls another, and its own result still comes. */
#include "check.h"

#include <errno.h>

static void body(const struct memsc_options *options)
{
    if (options->transport == MEMSC_DIRECT)
        return;
    CHECK_EQUAL(memsc_start(options), 0);
    CHECK_EQUAL(memsc_register(), 0);
    int pipes[64][2];
    int index[64];
    char bytes[64] = {0};
    for (int count = 1; count <= 63; count = count * 4 - 1) {
        for (int i = 0; i < count; i++) {
            CHECK_EQUAL(pipe(pipes[i]), 0);
            index[i] = memsc_add(SYS_read, (const long[6]){pipes[i][0], (long)&bytes[i], 1});
            CHECK(index[i] >= 0);
        }
        for (int i = 0; i < 500; i++)
            CHECK_EQUAL(call(SYS_getppid, NO_ARGS), getppid());
        for (int i = 0; i < count; i++)
            CHECK_EQUAL(memsc_ready(index[i]), 0);
        for (int i = count - 1; i >= 0; i--) {
            long result;
            CHECK_EQUAL(CALL(SYS_write, pipes[i][1], (long)"abcdefgh" + i % 8, 1), 1);
            CHECK_EQUAL(memsc_wait_any(), index[i]);
            CHECK_EQUAL(memsc_retval(index[i], &result), 0);
            CHECK_EQUAL(result, 1);
            CHECK_EQUAL(bytes[i], "abcdefgh"[i % 8]);
            close(pipes[i][0]);
            close(pipes[i][1]);
        }
        CHECK_EQUAL(memsc_wait_any(), -ENOENT);
    }
    /* The page fills up behind a call that waits, and still moves. */
    CHECK_EQUAL(pipe(pipes[0]), 0);
    index[0] = memsc_add(SYS_read, (const long[6]){pipes[0][0], (long)bytes, 1});
    for (int round = 0; round < 10; round++) {
        long result;
        while (memsc_add(SYS_getppid, NO_ARGS) != -EAGAIN)
            ;
        for (int i = 0; i < 64; i++) {
            if (i == index[0])
                continue;
            while (memsc_retval(i, &result) == -EAGAIN)
                ;
            CHECK_EQUAL(result, getppid());
        }
    }
    /* The last entry of a full page waits; the others go on around it. */
    for (int i = 0; i < 62; i++)
        CHECK(memsc_add(SYS_getppid, NO_ARGS) >= 0);
    CHECK_EQUAL(pipe(pipes[1]), 0);
    index[1] = memsc_add(SYS_read, (const long[6]){pipes[1][0], (long)bytes + 1, 1});
    CHECK(index[1] >= 0);
    CHECK_EQUAL(memsc_add(SYS_getppid, NO_ARGS), -EAGAIN);
    for (int i = 0; i < 64; i++) {
        long result;
        if (i == index[0] || i == index[1])
            continue;
        while (memsc_retval(i, &result) == -EAGAIN)
            ;
    }
    for (int i = 0; i < 500; i++)
        CHECK_EQUAL(call(SYS_getppid, NO_ARGS), getppid());
    CHECK_EQUAL(write(pipes[0][1], "x", 1), 1);
    CHECK_EQUAL(write(pipes[1][1], "y", 1), 1);
    CHECK_EQUAL(memsc_wait_all(), 2);
    CHECK_EQUAL(bytes[0], 'x');
    CHECK_EQUAL(bytes[1], 'y');
    for (int i = 0; i < 2; i++) {
        close(pipes[i][0]);
        close(pipes[i][1]);
    }
    CHECK_EQUAL(memsc_unregister(), 0);
    CHECK_EQUAL(memsc_stop(), 0);
}

int main(void)
{
    each_transport(body);
    each_handoff(body);
    return 0;
}
