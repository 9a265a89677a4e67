/* SPDX-License-Identifier: GPL-2.0 OR MIT
 *
 * Where threads stand when they leave the CPU, until they are back.
 */

struct offcpu_leave {
    u64 since;
    u64 woken; /* 0: not yet, or not seen */
    s64 user_stack;
    s64 kernel_stack;
    u32 pid;
    u32 kind;
};

BPF_STACK_TRACE(offcpu_stacks, 16384);
/* Those that never come back are pushed out in time. */
BPF_TABLE("lru_hash", u32, struct offcpu_leave, offcpu_left, 16384);

static __always_inline void on_return(u32 tid, u32 kind, u64 now, struct offcpu_leave *left)
{
    struct offcpu_event *event = offcpu_reserve(kind);

    if (!event)
        return;
    event->pid = left->pid;
    event->tid = tid;
    event->duration = kind == MEMSC_OFFCPU_UNSEEN ? -1 : (s64)(now - left->since);
    event->waited = kind == MEMSC_OFFCPU_PREEMPTED                ? event->duration
                    : kind == MEMSC_OFFCPU_BLOCKED && left->woken ? (s64)(now - left->woken)
                                                                  : -1;
    event->user_stack = left->user_stack;
    event->kernel_stack = left->kernel_stack;
    offcpu_submit(event);
}

int offcpu_on_switch(struct tracepoint__sched__sched_switch *args)
{
    u32 prev = args->prev_pid;
    u32 next = args->next_pid, zero = 0;
    u64 now = bpf_ktime_get_ns();
    struct offcpu_leave *left;

    if (!is_recording())
        return 0;
    left = offcpu_left.lookup(&next);
    if (left && next) {
        on_return(next, left->kind, now, left);
        offcpu_left.delete(&next);
    }
    /* 0x10, 0x20 and 0x80: it is dead and will not return. */
    if (prev && find_task(prev) && !(args->prev_state & 0xb0)) {
        u64 state = args->prev_state;
        struct offcpu_leave leave = {.since = now, .pid = bpf_get_current_pid_tgid() >> 32};

        left = offcpu_left.lookup(&prev);
        if (left)
            on_return(prev, MEMSC_OFFCPU_UNSEEN, now, left);
        leave.user_stack = walk_user(offcpu_walk.lookup(&zero));
        leave.kernel_stack = KERNEL_STACKS ? offcpu_stacks.get_stackid(args, 0) : -1;
        leave.kind = state == 0 || state == 256 ? MEMSC_OFFCPU_PREEMPTED : MEMSC_OFFCPU_BLOCKED;
        offcpu_left.update(&prev, &leave);
    }
    return 0;
}

int offcpu_on_waking(struct tracepoint__sched__sched_waking *args)
{
    u32 tid = args->pid;
    struct offcpu_leave *left = offcpu_left.lookup(&tid);

    if (left && !left->woken)
        left->woken = bpf_ktime_get_ns();
    return 0;
}
