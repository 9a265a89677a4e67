/* SPDX-License-Identifier: GPL-2.0 OR MIT */

/* A thread that executes a program has its leader's id by now; which of the two is tracked depends on
 * whether `tracking` was here before. */
int programs_on_exec(struct tracepoint__sched__sched_process_exec *args)
{
    struct programs_event *event;
    u32 before = args->old_pid;
    u32 after = args->pid;

    if (!is_recording() || !(find_task(before) || find_task(after)))
        return 0;
    event = programs_reserve(MEMSC_PROGRAMS_EXEC);
    if (!event)
        return 0;
    bpf_get_current_comm(event->name, sizeof(event->name));
    programs_submit(event);
    return 0;
}
