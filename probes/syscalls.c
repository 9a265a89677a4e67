/* SPDX-License-Identifier: GPL-2.0 OR MIT
 *
 * Raw tracepoints hand over (registers, number) and (registers, result). The number of a call that
 * returns would have to be read from the registers' structure; it is kept per task instead.
 */

int syscalls_on_enter(struct bpf_raw_tracepoint_args *ctx)
{
    u64 address = 0;
    struct syscalls_event *event;
    struct task_state *task = current_task();

    if (!task)
        return 0;
    task->number = (s64)ctx->args[1];
    if (!is_recording())
        return 0;
    event = syscalls_reserve(MEMSC_SYSCALLS_ENTER);
    if (!event)
        return 0;
    /* The innermost frame alone: where the task goes on. */
    if (bpf_get_stack(ctx, &address, sizeof address, BPF_F_USER_STACK) < 0)
        address = 0;
    event->number = (s64)ctx->args[1];
    event->result = task->maker > 0 ? task->maker : 0;
    event->address = address;
    syscalls_submit(event);
    return 0;
}

int syscalls_on_exit(struct bpf_raw_tracepoint_args *ctx)
{
    struct syscalls_event *event;
    struct task_state *task = current_task();
    s64 number;

    if (!task)
        return 0;
    number = task->number;
    task->number = -1;
    if (!is_recording())
        return 0;
    event = syscalls_reserve(MEMSC_SYSCALLS_EXIT);
    if (!event)
        return 0;
    event->number = number;
    event->result = (s64)ctx->args[1];
    event->address = 0;
    syscalls_submit(event);
    return 0;
}
