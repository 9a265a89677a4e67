/* SPDX-License-Identifier: GPL-2.0 OR MIT
 *
 * Where calls are made from. A program at a static probe may be preempted, and another thread come by on its CPU:
 * so what it walks with is lent from the ring, and given back unread.
 */

struct paths_loan {
    struct memsc_walk walk;
};

static __always_inline int paths_on(u32 kind, struct pt_regs *ctx)
{
    struct paths_event *event = paths_reserve_call(kind, ctx);
    struct paths_loan *loan;

    if (!event)
        return 0;
    event->user_stack = WALK_NO_ROOM;
    loan = walk_records.ringbuf_reserve(sizeof(struct paths_loan));
    if (loan) {
        event->user_stack = walk_user(&loan->walk);
        walk_records.ringbuf_discard(loan, BPF_RB_NO_WAKEUP);
    }
    paths_submit(event);
    return 0;
}
