/* SPDX-License-Identifier: MIT
 *
 * Sends an exact number of interrupts from CPU 0 to CPU 1: each membarrier interrupts the CPU on which
 * another thread of this process spins. Says r, waits for a byte, sends them, says d, waits again.
 */
#define _GNU_SOURCE
#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static atomic_int spinning;

static void pin(int cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof(set), &set))
        _exit(1);
}

static void *spin(void *unused)
{
    pin(1);
    for (;;)
        atomic_store(&spinning, 1);
    return unused;
}

int main(int count, char **words)
{
    pthread_t other;
    char byte;

    pin(0);
    if (count != 2 || syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) ||
        pthread_create(&other, NULL, spin, NULL))
        return 1;
    while (!atomic_load(&spinning))
        sched_yield();
    if (write(1, "r", 1) != 1 || read(0, &byte, 1) != 1)
        return 1;
    for (long n = atol(words[1]); n > 0; n--)
        if (syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0))
            return 1;
    return write(1, "d", 1) != 1 || read(0, &byte, 1) != 1;
}
