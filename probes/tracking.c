/* SPDX-License-Identifier: GPL-2.0 OR MIT
 *
 * Keeps the set of tracked tasks: children inherit, the dead are forgotten.
 */

BPF_F_TABLE("array", u32, struct loss_line, tracking_losses, POSSIBLE_CPUS, BPF_F_MMAPABLE);

static __always_inline void add_task(u32 tid, struct task_state state)
{
    if (tracked.update(&tid, &state)) {
        u32 cpu = bpf_get_smp_processor_id();
        struct loss_line *line = tracking_losses.lookup(&cpu);
        if (line)
            __sync_fetch_and_add(&line->lost, 1);
    }
}

int tracking_on_fork(struct tracepoint__sched__sched_process_fork *args)
{
    struct task_state *parent = find_task(args->parent_pid);

    /* The child leaves the parent's system call too, so it inherits its number. */
    if (parent) {
        struct task_state state = {.number = parent->number,
                                   .maker = bpf_get_current_pid_tgid() >> 32};
        add_task(args->child_pid, state);
    }
    return 0;
}

/* A thread that executes a program takes over its leader's id. */
int tracking_on_exec(struct tracepoint__sched__sched_process_exec *args)
{
    u32 before = args->old_pid;
    u32 after = args->pid;

#if WALKS
    walk_executed(after);
#endif
    if (before != after) {
        struct task_state *task = find_task(before);
        if (task) {
            struct task_state state = {.number = task->number, .maker = task->maker};
            add_task(after, state);
            tracked.delete(&before);
        }
    }
    return 0;
}

int tracking_on_exit(struct tracepoint__sched__sched_process_exit *args)
{
    u32 tid = args->pid;

    tracked.delete(&tid);
    return 0;
}
