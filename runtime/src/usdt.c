/* SPDX-License-Identifier: MIT
 *
 * The probes' semaphore, and a probe to measure with what one hit costs.
 */
#include "usdt.h"

#include <linux/time.h>
#include <sys/syscall.h>

#include "cpu.h"
#include "memsc.h"

/* Where tools look for it, and in the file, not zero-filled memory: the kernel finds it by its place
 * in the file. */
volatile uint16_t memsc_probes_semaphore __attribute__((section(".probes"))) = 0;

void memsc_clock_probe(uint64_t hits)
{
    uint64_t caller = (uint64_t)MEMSC_SYS(SYS_gettid, 0, 0, 0, 0, 0, 0);
    uint64_t took = 0;
    for (uint64_t i = 0; i < hits; i++) {
        /* Back to back the kernel's way to the probe is in the caches; between calls it is not. */
        struct timespec pause = {.tv_nsec = 20000};
        if (i % 2)
            MEMSC_SYS(SYS_nanosleep, &pause, 0, 0, 0, 0, 0);
        uint64_t since = memsc_cycles();
        if (memsc_probes_semaphore)
            MEMSC_PROBE(calibrate, 0, i, since, took, caller);
        took = memsc_cycles() - since;
    }
}
