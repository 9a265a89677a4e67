/* SPDX-License-Identifier: GPL-2.0 OR MIT
 *
 * One probe's ring buffer and exact loss count. `source.py` repeats this text for every probe with
 * `probe_` replaced by the probe's name.
 */

BPF_RINGBUF_OUTPUT(probe_events, probe_PAGES);
BPF_F_TABLE("array", u32, struct loss_line, probe_losses, POSSIBLE_CPUS, BPF_F_MMAPABLE);

static __always_inline struct probe_event *probe_reserve(u32 kind)
{
    u64 time = bpf_ktime_get_ns();
    u32 cpu = bpf_get_smp_processor_id();
    u64 task = bpf_get_current_pid_tgid();
    struct probe_event *event = probe_events.ringbuf_reserve(sizeof(struct probe_event));

    if (!event) {
        struct loss_line *line = probe_losses.lookup(&cpu);
        /* Atomic: an interrupt's program may count on the same CPU between load and store. */
        if (line)
            __sync_fetch_and_add(&line->lost, 1);
        return 0;
    }
    event->time = time;
    event->cpu = cpu;
    event->kind = kind;
    event->pid = task >> 32;
    event->tid = (u32)task;
    return event;
}

static __always_inline void probe_submit(struct probe_event *event)
{
    /* No wake-up: the session drains when it chooses, and a wake-up would interrupt this CPU. */
    probe_events.ringbuf_submit(event, BPF_RB_NO_WAKEUP);
}
