/* SPDX-License-Identifier: MIT
 *
 * Makes calls in known places, without frame pointers: of each four one in `seldom`, the others in `often`; and some that
 * fail.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static volatile int sink;

__attribute__((noinline)) static void often(void)
{
    sink = getppid();
}

__attribute__((noinline)) static void seldom(void)
{
    sink = getppid() + 1;
}

__attribute__((noinline)) static void failing(void)
{
    sink = access("/nonexistent", F_OK);
}

int main(int argc, char **argv)
{
    int calls = argc > 1 ? atoi(argv[1]) : 1000;
    usleep(300000); /* until it is known what is mapped here */
    for (int i = 0; i < calls; i++) {
        if (i % 4)
            often();
        else
            seldom();
        if (i % 8 == 0)
            failing();
    }
    return 0;
}
