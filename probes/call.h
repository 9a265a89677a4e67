/* SPDX-License-Identifier: GPL-2.0 OR MIT
 *
 * One of the runtime's static probes, hit. `source.py` puts this text into each probe that sits there,
 * with its name for `probe`, and behind the probe's own text a program for each of its hooks, which calls
 * probe_on with the hook's kind.
 *
 * The arguments stand where a function's parameters do; the registers of a user's thread have one layout
 * in every kernel.
 */
#include <uapi/linux/ptrace.h>

/* An event with what all have; 0: none. */
static __always_inline struct probe_event *probe_reserve_call(u32 kind, struct pt_regs *ctx)
{
    struct probe_event *event;

    if (!is_recording() || !current_task())
        return 0;
    event = probe_reserve(kind);
    if (!event)
        return 0;
    event->slot = (u32)PT_REGS_PARM1(ctx);
    event->entry = (u32)PT_REGS_PARM2(ctx);
    event->number = (s64)PT_REGS_PARM3(ctx);
    event->result = (s64)PT_REGS_PARM4(ctx);
    event->caller = (u32)PT_REGS_PARM5(ctx);
    event->service = event->caller != event->tid;
    return event;
}
