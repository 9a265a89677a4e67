/* SPDX-License-Identifier: GPL-2.0 OR MIT
 *
 * Shared by all probes: whom they look at. `source.py` puts this text once at the head of the one
 * program that BCC compiles, with POSSIBLE_CPUS defined; all probes of a helper so share these maps.
 *
 * The kernel headers may belong to another kernel than the one that runs. So nothing here or in a
 * probe dereferences a kernel structure: fields of tracepoints, numbers and BPF helpers only.
 */

/* BCC rewrites the text of calls to maps; it cannot do so twice within one macro. Hence functions. */

struct loss_line { /* a cache line: interrupts nest on a CPU, but two CPUs never write one line */
    u64 lost;
    u64 unused[7];
};

struct task_state {
    s64 number; /* system call the task is in, -1: entered before the probe was attached */
    s64 maker;  /* process that made it, in the numbers of the machine; -1: it was there before */
};

BPF_HASH(tracked, u32, struct task_state, 65536); /* by thread id */
BPF_ARRAY(watched, u64, POSSIBLE_CPUS);           /* 1: events of this CPU are of interest */
BPF_F_TABLE("array", u32, u64, recording, 1, BPF_F_MMAPABLE); /* 1: probes write events */

static __always_inline int is_recording(void)
{
    u32 zero = 0;
    u64 *on = recording.lookup(&zero);
    return on && *on;
}

static __always_inline struct task_state *find_task(u32 tid)
{
    return tracked.lookup(&tid);
}

static __always_inline struct task_state *current_task(void)
{
    return find_task((u32)bpf_get_current_pid_tgid());
}

static __always_inline int is_watched(u32 cpu)
{
    u64 *on = watched.lookup(&cpu);
    return on && *on;
}

static __always_inline int is_watched_here(void)
{
    return is_watched(bpf_get_smp_processor_id());
}
