/* SPDX-License-Identifier: GPL-2.0 OR MIT */

static __always_inline int on_ipi(u32 kind, s32 target, s32 vector)
{
    struct ipi_event *event = ipi_reserve(kind);

    if (event) {
        event->target_cpu = target;
        event->vector = vector;
        ipi_submit(event);
    }
    return 0;
}

static __always_inline int on_sent(u32 kind, s32 target)
{
    if (!is_recording() || !(is_watched(target) || is_watched_here() || current_task()))
        return 0;
    return on_ipi(kind, target, -1);
}

static __always_inline int on_sent_many(void)
{
    return is_recording() ? on_ipi(MEMSC_IPI_SEND_MANY, -1, -1) : 0;
}

static __always_inline int on_received(u32 kind, struct bpf_raw_tracepoint_args *ctx)
{
    if (!is_recording() || !is_watched_here())
        return 0;
    return on_ipi(kind, bpf_get_smp_processor_id(), (s32)ctx->args[0]);
}

int ipi_on_send(struct bpf_raw_tracepoint_args *ctx)
{
    return on_sent(MEMSC_IPI_SEND, (u32)ctx->args[0]);
}

int ipi_on_send_many(struct bpf_raw_tracepoint_args *ctx)
{
    return on_sent_many();
}

/* Entries of the functions that send. */

int ipi_on_send_fentry(u64 *ctx)
{
    return on_sent(MEMSC_IPI_SEND, (u32)ctx[0]);
}

int ipi_on_send_many_fentry(u64 *ctx)
{
    return on_sent_many();
}

/* The head of x86's struct pt_regs, whose own header brings names of the kernel that are ours, too. */
struct ipi_registers {
    u64 others[14];
    u64 first_argument;
};

int ipi_on_send_kprobe(struct ipi_registers *ctx)
{
    return on_sent(MEMSC_IPI_SEND, (u32)ctx->first_argument);
}

int ipi_on_send_many_kprobe(struct ipi_registers *ctx)
{
    return on_sent_many();
}

/* Of Arm's, the first comes first. */
int ipi_on_send_kprobe_arm(u64 *registers)
{
    return on_sent(MEMSC_IPI_SEND, (u32)registers[0]);
}

int ipi_on_send_many_kprobe_arm(u64 *registers)
{
    return on_sent_many();
}

int ipi_on_wake_idle(struct bpf_raw_tracepoint_args *ctx)
{
    return on_sent(MEMSC_IPI_WAKE_IDLE, (u32)ctx->args[0]);
}

int ipi_on_reschedule_entry(struct bpf_raw_tracepoint_args *ctx)
{
    return on_received(MEMSC_IPI_RESCHEDULE_ENTRY, ctx);
}

int ipi_on_reschedule_exit(struct bpf_raw_tracepoint_args *ctx)
{
    return on_received(MEMSC_IPI_RESCHEDULE_EXIT, ctx);
}

int ipi_on_call_function_single_entry(struct bpf_raw_tracepoint_args *ctx)
{
    return on_received(MEMSC_IPI_CALL_FUNCTION_SINGLE_ENTRY, ctx);
}

int ipi_on_call_function_single_exit(struct bpf_raw_tracepoint_args *ctx)
{
    return on_received(MEMSC_IPI_CALL_FUNCTION_SINGLE_EXIT, ctx);
}

int ipi_on_call_function_entry(struct bpf_raw_tracepoint_args *ctx)
{
    return on_received(MEMSC_IPI_CALL_FUNCTION_ENTRY, ctx);
}

int ipi_on_call_function_exit(struct bpf_raw_tracepoint_args *ctx)
{
    return on_received(MEMSC_IPI_CALL_FUNCTION_EXIT, ctx);
}

int ipi_on_irq_work_entry(struct bpf_raw_tracepoint_args *ctx)
{
    return on_received(MEMSC_IPI_IRQ_WORK_ENTRY, ctx);
}

int ipi_on_irq_work_exit(struct bpf_raw_tracepoint_args *ctx)
{
    return on_received(MEMSC_IPI_IRQ_WORK_EXIT, ctx);
}
