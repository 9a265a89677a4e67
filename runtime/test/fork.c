/* SPDX-License-Identifier: MIT
 * A forked child is unregistered, harms nothing of its parent's, and may start on its own. */
#include "check.h"

#include <errno.h>
#include <sys/wait.h>

static void body(const struct memsc_options *options)
{
    long result;
    CHECK_EQUAL(memsc_start(options), 0);
    CHECK_EQUAL(memsc_register(), 0);
    CHECK_EQUAL(call(SYS_getppid, NO_ARGS), getppid());
    for (int i = 0; i < 5; i++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            CHECK_EQUAL(memsc_call(SYS_getppid, NO_ARGS, &result), -ENOTCONN);
            CHECK_EQUAL(memsc_stop(), -ENOTCONN);
            CHECK_EQUAL(memsc_start(options), 0);
            CHECK_EQUAL(memsc_register(), 0);
            for (int k = 0; k < 50; k++)
                CHECK_EQUAL(call(SYS_getppid, NO_ARGS), getppid());
            CHECK_EQUAL(memsc_unregister(), 0);
            CHECK_EQUAL(memsc_stop(), 0);
            _exit(0);
        }
        CHECK_EQUAL(call(SYS_getppid, NO_ARGS), getppid());
        int status;
        CHECK_EQUAL(waitpid(child, &status, 0), child);
        CHECK(WIFEXITED(status));
        CHECK_EQUAL(WEXITSTATUS(status), 0);
        CHECK_EQUAL(call(SYS_getppid, NO_ARGS), getppid());
    }
    CHECK_EQUAL(memsc_unregister(), 0);
    CHECK_EQUAL(memsc_stop(), 0);
}

int main(void)
{
#ifdef ADDRESS_SANITIZER
    /* Its service threads are made by pthread_create, and its allocator's locks stay held in the
     * child when one of them allocates during the fork. */
    fprintf(stderr, "the address sanitizer cannot fork while another thread allocates\n");
    return 77;
#endif
    wiping_forks();
    each_transport(body);
    return 0;
}
