/* SPDX-License-Identifier: GPL-2.0 OR MIT */

struct bpf_perf_event_data; /* its header brings names of the kernel that are ours, too */

BPF_STACK_TRACE(profile_stacks, 16384);

int profile_on_sample(struct bpf_perf_event_data *ctx)
{
    struct profile_event *event;
    struct task_state *task = current_task();
    u32 tid = (u32)bpf_get_current_pid_tgid(), zero = 0;

    /* Of a watched CPU's other threads it says that they ran, and where in the kernel. */
    if (!is_recording() || !(task || (tid && is_watched_here())))
        return 0;
    event = profile_reserve(MEMSC_PROFILE_SAMPLE);
    if (!event)
        return 0;
    event->user_stack = task ? walk_user(profile_walk.lookup(&zero)) : -1;
    event->kernel_stack = KERNEL_STACKS ? profile_stacks.get_stackid(ctx, 0) : -1;
    bpf_get_current_comm(event->comm, sizeof(event->comm));
    profile_submit(event);
    return 0;
}
