/* SPDX-License-Identifier: GPL-2.0 OR MIT
 *
 * Counters of this CPU at the static probes of the runtime. The session opens them, those of a CPU side
 * by side, and puts them into the array before it attaches.
 */
#include <uapi/linux/bpf.h>

BPF_PERF_ARRAY(stage_counters_array, POSSIBLE_CPUS *STAGE_COUNTERS_READ);

struct stage_reading {
    s64 value;
    s64 waited;
};

static __always_inline int stage_counters_on(u32 kind, struct pt_regs *ctx)
{
    struct stage_counters_event *event = stage_counters_reserve_call(kind, ctx);
    struct stage_reading *readings;
    u32 first;

    if (!event)
        return 0;
    /* They are the last of the event's columns, in pairs. */
    readings = (void *)(event + 1) - STAGE_COUNTERS_READ * sizeof(*readings);
    first = event->cpu * STAGE_COUNTERS_READ;
#pragma unroll
    for (u32 i = 0; i < STAGE_COUNTERS_READ; i++) {
        struct bpf_perf_event_value now = {};
        int error = stage_counters_array.perf_counter_value(first + i, &now, sizeof(now));

        readings[i].value = error ? -1 : (s64)now.counter;
        readings[i].waited = error ? 0 : (s64)(now.enabled - now.running);
    }
    stage_counters_submit(event);
    return 0;
}
