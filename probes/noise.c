/* SPDX-License-Identifier: GPL-2.0 OR MIT
 *
 * What takes a watched CPU away from the program. An interval is one event, written when it ends: its
 * begin waits in the CPU's state. That halves the events, and one that began before recording did is
 * left out. Raw tracepoints throughout: those of perf skip a hit inside an interrupt that struck while
 * another BPF program of the CPU ran, which is just what this probe looks for.
 */

struct noise_cpu {
    u64 vector;  /* begin of the interrupt by its vector, 0: in none */
    u64 irq;     /* … of the device's handler */
    u64 softirq; /* … of the soft interrupt */
    u64 task;    /* … of the running task's turn */
    u64 account; /* the kernel's last accounting of that task, 0: none in this turn */
    u64 flushed; /* pages + 1 that another CPU made this interrupt flush */
};

BPF_PERCPU_ARRAY(noise_cpus, struct noise_cpu, 1);

static __always_inline struct noise_cpu *noise_here(void)
{
    u32 zero = 0;

    if (!is_recording() || !is_watched_here())
        return 0;
    return noise_cpus.lookup(&zero);
}

static __always_inline void noise_interval(u32 kind, u64 begin, s64 number)
{
    struct noise_event *event;

    if (!begin)
        return;
    event = noise_reserve(kind);
    if (!event)
        return;
    event->duration = event->time - begin;
    event->time = begin;
    event->number = number;
    bpf_get_current_comm(event->name, sizeof(event->name));
    noise_submit(event);
}

static __always_inline int noise_enter(void)
{
    struct noise_cpu *cpu = noise_here();

    if (cpu) {
        cpu->flushed = 0;
        cpu->vector = bpf_ktime_get_ns();
    }
    return 0;
}

static __always_inline int noise_leave(u32 kind, struct bpf_raw_tracepoint_args *ctx)
{
    struct noise_cpu *cpu = noise_here();

    if (!cpu)
        return 0;
    noise_interval(kind, cpu->vector, (s32)ctx->args[0]);
    cpu->vector = 0;
    return 0;
}

/* Calls from other CPUs flush translations, or do anything else: the kernel says which. */
static __always_inline int noise_leave_call(u32 kind, struct bpf_raw_tracepoint_args *ctx)
{
    struct noise_cpu *cpu = noise_here();

    if (!cpu)
        return 0;
    if (cpu->flushed)
        noise_interval(MEMSC_NOISE_SHOOTDOWN, cpu->vector, (s64)cpu->flushed - 1);
    else
        noise_interval(kind, cpu->vector, (s32)ctx->args[0]);
    cpu->vector = 0;
    return 0;
}

int noise_on_timer_entry(struct bpf_raw_tracepoint_args *ctx)
{
    return noise_enter();
}

int noise_on_timer_exit(struct bpf_raw_tracepoint_args *ctx)
{
    return noise_leave(MEMSC_NOISE_TIMER, ctx);
}

int noise_on_reschedule_entry(struct bpf_raw_tracepoint_args *ctx)
{
    return noise_enter();
}

int noise_on_reschedule_exit(struct bpf_raw_tracepoint_args *ctx)
{
    return noise_leave(MEMSC_NOISE_RESCHEDULE, ctx);
}

int noise_on_call_function_single_entry(struct bpf_raw_tracepoint_args *ctx)
{
    return noise_enter();
}

int noise_on_call_function_single_exit(struct bpf_raw_tracepoint_args *ctx)
{
    return noise_leave_call(MEMSC_NOISE_CALL_FUNCTION_SINGLE, ctx);
}

int noise_on_call_function_entry(struct bpf_raw_tracepoint_args *ctx)
{
    return noise_enter();
}

int noise_on_call_function_exit(struct bpf_raw_tracepoint_args *ctx)
{
    return noise_leave_call(MEMSC_NOISE_CALL_FUNCTION, ctx);
}

int noise_on_irq_work_entry(struct bpf_raw_tracepoint_args *ctx)
{
    return noise_enter();
}

int noise_on_irq_work_exit(struct bpf_raw_tracepoint_args *ctx)
{
    return noise_leave(MEMSC_NOISE_IRQ_WORK, ctx);
}

int noise_on_platform_entry(struct bpf_raw_tracepoint_args *ctx)
{
    return noise_enter();
}

int noise_on_platform_exit(struct bpf_raw_tracepoint_args *ctx)
{
    return noise_leave(MEMSC_NOISE_PLATFORM, ctx);
}

int noise_on_thermal_entry(struct bpf_raw_tracepoint_args *ctx)
{
    return noise_enter();
}

int noise_on_thermal_exit(struct bpf_raw_tracepoint_args *ctx)
{
    return noise_leave(MEMSC_NOISE_THERMAL, ctx);
}

int noise_on_irq_entry(struct bpf_raw_tracepoint_args *ctx)
{
    struct noise_cpu *cpu = noise_here();

    if (cpu)
        cpu->irq = bpf_ktime_get_ns();
    return 0;
}

int noise_on_irq_exit(struct bpf_raw_tracepoint_args *ctx)
{
    struct noise_cpu *cpu = noise_here();

    if (!cpu)
        return 0;
    noise_interval(MEMSC_NOISE_IRQ, cpu->irq, (s32)ctx->args[0]);
    cpu->irq = 0;
    return 0;
}

int noise_on_softirq_entry(struct bpf_raw_tracepoint_args *ctx)
{
    struct noise_cpu *cpu = noise_here();

    if (cpu)
        cpu->softirq = bpf_ktime_get_ns();
    return 0;
}

int noise_on_softirq_exit(struct bpf_raw_tracepoint_args *ctx)
{
    struct noise_cpu *cpu = noise_here();

    if (!cpu)
        return 0;
    noise_interval(MEMSC_NOISE_SOFTIRQ, cpu->softirq, (u32)ctx->args[0]);
    cpu->softirq = 0;
    return 0;
}

/* At a switch the current task is still the one that leaves, so no structure has to be read. */
int noise_on_switch(struct bpf_raw_tracepoint_args *ctx)
{
    struct noise_cpu *cpu = noise_here();

    if (!cpu)
        return 0;
    if ((u32)bpf_get_current_pid_tgid())
        noise_interval(MEMSC_NOISE_TASK, cpu->task, 0);
    cpu->task = bpf_ktime_get_ns();
    cpu->account = 0;
    return 0;
}

/* The time the kernel charges a task is without what the hypervisor took: what is missing between two
 * accountings of one turn was stolen. */
int noise_on_account(struct bpf_raw_tracepoint_args *ctx)
{
    struct noise_cpu *cpu = noise_here();
    u64 now = bpf_ktime_get_ns();
    s64 stolen;

    if (!cpu)
        return 0;
    stolen = (s64)(now - cpu->account) - (s64)ctx->args[1];
    /* The two clocks are read up to some hundred nanoseconds apart. */
    if (cpu->account && stolen > 2000)
        noise_interval(MEMSC_NOISE_STOLEN, cpu->account, stolen);
    cpu->account = now;
    return 0;
}

static __always_inline int noise_instant(u32 kind, s64 number)
{
    struct noise_event *event;

    if (!is_recording() || !(is_watched_here() || current_task()))
        return 0;
    event = noise_reserve(kind);
    if (!event)
        return 0;
    event->duration = 0;
    event->number = number;
    bpf_get_current_comm(event->name, sizeof(event->name));
    noise_submit(event);
    return 0;
}

int noise_on_fault_user(struct bpf_raw_tracepoint_args *ctx)
{
    return noise_instant(MEMSC_NOISE_FAULT_USER, (s64)ctx->args[0]);
}

int noise_on_fault_kernel(struct bpf_raw_tracepoint_args *ctx)
{
    return noise_instant(MEMSC_NOISE_FAULT_KERNEL, (s64)ctx->args[0]);
}

int noise_on_flush(struct bpf_raw_tracepoint_args *ctx)
{
    struct noise_cpu *cpu = noise_here();

    /* enum tlb_flush_reason: 1 flushes for another CPU, 4 makes others flush. */
    if (cpu && (u32)ctx->args[0] == 1)
        cpu->flushed = ctx->args[1] + 1;
    else if ((u32)ctx->args[0] == 4)
        noise_instant(MEMSC_NOISE_FLUSH_OTHERS, (s64)ctx->args[1]);
    return 0;
}
