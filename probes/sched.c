/* SPDX-License-Identifier: GPL-2.0 OR MIT */

int sched_on_switch(struct tracepoint__sched__sched_switch *args)
{
    struct sched_event *event;
    u32 prev = args->prev_pid;
    u32 next = args->next_pid;

    if (!is_recording() || !(is_watched_here() || find_task(prev) || find_task(next)))
        return 0;
    event = sched_reserve(MEMSC_SCHED_SWITCH);
    if (!event)
        return 0;
    /* Not the helper's idea of the current task: the tracepoint's, which is the one that leaves. */
    event->tid = prev;
    event->target_tid = next;
    event->target_cpu = event->cpu;
    event->from_cpu = event->cpu;
    event->state = (s32)args->prev_state;
    sched_submit(event);
    return 0;
}

static __always_inline int on_wake(u32 kind, u32 tid, u32 cpu)
{
    struct sched_event *event;

    if (!is_recording() || !(is_watched(cpu) || find_task(tid) || current_task()))
        return 0;
    event = sched_reserve(kind);
    if (!event)
        return 0;
    event->target_tid = tid;
    event->target_cpu = cpu;
    event->from_cpu = -1;
    event->state = -1;
    sched_submit(event);
    return 0;
}

int sched_on_waking(struct tracepoint__sched__sched_waking *args)
{
    return on_wake(MEMSC_SCHED_WAKING, args->pid, args->target_cpu);
}

int sched_on_wakeup(struct tracepoint__sched__sched_wakeup *args)
{
    return on_wake(MEMSC_SCHED_WAKEUP, args->pid, args->target_cpu);
}

int sched_on_wakeup_new(struct tracepoint__sched__sched_wakeup_new *args)
{
    return on_wake(MEMSC_SCHED_WAKEUP_NEW, args->pid, args->target_cpu);
}

int sched_on_migrate(struct tracepoint__sched__sched_migrate_task *args)
{
    struct sched_event *event;
    u32 tid = args->pid;
    u32 from = args->orig_cpu;
    u32 to = args->dest_cpu;

    if (!is_recording() || !(is_watched(from) || is_watched(to) || find_task(tid)))
        return 0;
    event = sched_reserve(MEMSC_SCHED_MIGRATE);
    if (!event)
        return 0;
    event->target_tid = tid;
    event->target_cpu = to;
    event->from_cpu = from;
    event->state = -1;
    sched_submit(event);
    return 0;
}
