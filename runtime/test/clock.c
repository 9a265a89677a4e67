/* SPDX-License-Identifier: MIT
 * The counter runs at one rate, which is the one that the processor tells, where it does. */
#include "check.h"

#include <inttypes.h>
#include <time.h>

#include "cpu.h"

int main(void)
{
    struct memsc_clock_sample sample[2];
    CHECK_EQUAL(memsc_clock_sample(&sample[0]), 0);
    const struct timespec a_while = {.tv_nsec = 200000000};
    nanosleep(&a_while, NULL);
    CHECK_EQUAL(memsc_clock_sample(&sample[1]), 0);
    uint64_t cycles = sample[1].cycles - sample[0].cycles;
    int64_t ns = sample[1].ns - sample[0].ns;
    CHECK(ns > 0 && cycles > 0);
    double hz = (double)cycles * 1e9 / (double)ns;
    /* Each reading lies somewhere in its bracket; the kernel may slew its clock by 500 ppm. */
    double width = (double)(sample[0].width + sample[1].width + 2);
    double unsure = hz * (width / (double)cycles + 0.001);
    fprintf(stderr, "%.0f Hz measured, %" PRIu64 " Hz told\n", hz, memsc_cycles_hz());
    if (memsc_cycles_hz())
        CHECK(hz - unsure < (double)memsc_cycles_hz() && (double)memsc_cycles_hz() < hz + unsure);
    return 0;
}
