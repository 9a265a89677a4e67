/* SPDX-License-Identifier: MIT
 * The service parks and is woken without losing a call, whenever the call comes. */
#include "check.h"

static void body(const struct memsc_options *given)
{
    if (given->transport == MEMSC_DIRECT)
        return;
    struct memsc_options options = *given;
    /* Parking time and pauses between calls around each other: calls fall into every window. */
    for (uint32_t idle = 0; idle <= 100; idle += 20) {
        options.idle_us = idle;
        options.spin_us = idle / 2;
        CHECK_EQUAL(memsc_start(&options), 0);
        CHECK_EQUAL(memsc_register(), 0);
        unsigned random = idle + 1;
        for (int i = 0; i < 1500; i++) {
            random = random * 1103515245 + 12345;
            for (volatile unsigned pause = 0; pause < (random >> 16) % (idle * 200 + 100); pause++)
                ;
            CHECK_EQUAL(call(SYS_getppid, NO_ARGS), getppid());
        }
        CHECK_EQUAL(memsc_unregister(), 0);
        CHECK_EQUAL(memsc_stop(), 0);
    }
    /* Never parking, never sleeping. */
    options.idle_us = options.spin_us = UINT32_MAX;
    CHECK_EQUAL(memsc_start(&options), 0);
    CHECK_EQUAL(memsc_register(), 0);
    for (int i = 0; i < 300; i++)
        CHECK_EQUAL(call(SYS_getppid, NO_ARGS), getppid());
    CHECK_EQUAL(memsc_unregister(), 0);
    CHECK_EQUAL(memsc_stop(), 0);
}

int main(void)
{
    each_transport(body);
    each_handoff(body);
    return 0;
}
