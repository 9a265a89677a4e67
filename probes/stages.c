/* SPDX-License-Identifier: GPL-2.0 OR MIT
 *
 * Static probes of the runtime. Their arguments stand where a function's parameters do; the registers
 * of a user's thread have one layout in every kernel.
 */
#include <uapi/linux/ptrace.h>

static __always_inline int on_stage(u32 kind, struct pt_regs *ctx)
{
    struct stages_event *event;

    if (!is_recording() || !current_task())
        return 0;
    event = stages_reserve(kind);
    if (!event)
        return 0;
    event->slot = (u32)PT_REGS_PARM1(ctx);
    event->entry = (u32)PT_REGS_PARM2(ctx);
    event->number = (s64)PT_REGS_PARM3(ctx);
    event->result = (s64)PT_REGS_PARM4(ctx);
    event->caller = (u32)PT_REGS_PARM5(ctx);
    event->service = event->caller != event->tid;
    stages_submit(event);
    return 0;
}

int stages_on_calibrate(struct pt_regs *ctx)
{
    return on_stage(MEMSC_STAGES_CALIBRATE, ctx);
}

int stages_on_posted(struct pt_regs *ctx)
{
    return on_stage(MEMSC_STAGES_POSTED, ctx);
}

int stages_on_picked(struct pt_regs *ctx)
{
    return on_stage(MEMSC_STAGES_PICKED, ctx);
}

int stages_on_executed(struct pt_regs *ctx)
{
    return on_stage(MEMSC_STAGES_EXECUTED, ctx);
}

int stages_on_completed(struct pt_regs *ctx)
{
    return on_stage(MEMSC_STAGES_COMPLETED, ctx);
}
