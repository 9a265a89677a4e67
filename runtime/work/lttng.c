/* SPDX-License-Identifier: MIT
 *
 * memsc-work-lttng sync CALLS FILE: as memsc-work does it, with an LTTng tracepoint before and after
 * each call: what a user would write to see every call with that tracer.
 */
#include <sys/syscall.h>

#include "common.h"
#include "cpu.h"
#include "memsc.h"

#define LTTNG_UST_TRACEPOINT_CREATE_PROBES
#define LTTNG_UST_TRACEPOINT_DEFINE
#include "lttng_events.h"

static const long NO_ARGS[6] = {0};

static void traced_call(void)
{
    long result = 0;
    lttng_ust_tracepoint(memsc_work, called, SYS_getppid);
    memsc_call(SYS_getppid, NO_ARGS, &result);
    lttng_ust_tracepoint(memsc_work, completed, result);
}

int main(int argc, char **argv)
{
    if (argc != 4 || strcmp(argv[1], "sync")) {
        fprintf(stderr, "usage: memsc-work-lttng sync CALLS FILE\n");
        return 2;
    }
    size_t calls = (size_t)positive(argv[2]);
    uint64_t *array = intervals(calls);
    int error = memsc_register();
    if (error)
        fail("register", -error);
    for (size_t i = 0; i < WARM_UP; i++)
        traced_call();
    for (size_t i = 0; i < calls; i++) {
        uint64_t since = memsc_cycles();
        traced_call();
        array[i] = memsc_cycles() - since;
    }
    memsc_unregister();
    memsc_stop();
    save(argv[3], array, calls);
    return 0;
}
