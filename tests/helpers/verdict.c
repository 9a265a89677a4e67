// SPDX-License-Identifier: MIT
// Makes calls and spins a known time between them: verdict CALLS SPIN_NS.

#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t); // in the vDSO: no system call
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    long calls = atol(argv[1]);
    uint64_t spin = strtoull(argv[2], NULL, 10);
    for (long i = 0; i < calls; i++) {
        (void)getppid();
        for (uint64_t until = now() + spin; now() < until;)
            ;
    }
    return 0;
}
