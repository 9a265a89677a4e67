/* SPDX-License-Identifier: GPL-2.0 OR MIT
 *
 * Static probes of the runtime: that a call has come so far, and which (call.h).
 */
static __always_inline int stages_on(u32 kind, struct pt_regs *ctx)
{
    struct stages_event *event = stages_reserve_call(kind, ctx);

    if (event)
        stages_submit(event);
    return 0;
}
