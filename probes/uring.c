/* SPDX-License-Identifier: GPL-2.0 OR MIT
 *
 * Requests to io_uring. The kernel's own threads that poll a ring or execute what would block are
 * threads of the process, but no fork shows them: they count as tracked if their process does. How
 * a request is named here is nobody's to see, it is an address of the kernel.
 */

/* Those that never complete are pushed out in time. */
BPF_TABLE("lru_hash", u64, u64, uring_since, 16384);

static __always_inline int is_uring_task(void)
{
    u64 task = bpf_get_current_pid_tgid();
    return find_task((u32)task) || find_task(task >> 32);
}

static __always_inline int is_ours(void)
{
    return is_recording() && is_uring_task();
}

static __always_inline s64 uring_age(u64 request)
{
    u64 *since = uring_since.lookup(&request);
    return since ? (s64)(bpf_ktime_get_ns() - *since) : -1;
}

static __always_inline int on_request(u32 kind, u64 user_data, s64 took, s32 opcode, s32 result,
                                      u32 flags, u32 polled)
{
    struct uring_event *event = uring_reserve(kind);

    if (!event)
        return 0;
    event->user_data = user_data;
    event->took = took;
    event->opcode = opcode;
    event->result = result;
    event->flags = flags;
    event->polled = polled;
    uring_submit(event);
    return 0;
}

static __always_inline int on_submit(u64 request, u64 user_data, s32 opcode, u32 flags, u32 polled)
{
    u64 now = bpf_ktime_get_ns();

    if (!is_ours())
        return 0;
    uring_since.update(&request, &now);
    return on_request(MEMSC_URING_SUBMIT, user_data, -1, opcode, 0, flags, polled);
}

int uring_on_submit(struct tracepoint__io_uring__io_uring_submit_req *args)
{
    return on_submit((u64)args->req, args->user_data, args->opcode, (u32)args->flags,
                     args->sq_thread);
}

int uring_on_submit_sqe(struct tracepoint__io_uring__io_uring_submit_sqe *args)
{
    return on_submit((u64)args->req, args->user_data, args->opcode, (u32)args->flags,
                     args->sq_thread);
}

int uring_on_async(struct tracepoint__io_uring__io_uring_queue_async_work *args)
{
    if (!is_ours())
        return 0;
    return on_request(MEMSC_URING_ASYNC, args->user_data, uring_age((u64)args->req), args->opcode,
                      0, (u32)args->flags, 0);
}

int uring_on_poll(struct tracepoint__io_uring__io_uring_poll_arm *args)
{
    if (!is_ours())
        return 0;
    return on_request(MEMSC_URING_POLL, args->user_data, uring_age((u64)args->req), args->opcode,
                      args->mask, args->events, 0);
}

/* Any thread may make it ready: the request tells whether it is ours. */
int uring_on_ready(struct tracepoint__io_uring__io_uring_task_add *args)
{
    s64 took;

    if (!is_recording())
        return 0;
    took = uring_age((u64)args->req);
    if (took < 0 && !is_uring_task())
        return 0;
    return on_request(MEMSC_URING_READY, args->user_data, took, args->opcode, args->mask, 0, 0);
}

int uring_on_defer(struct tracepoint__io_uring__io_uring_defer *args)
{
    if (!is_ours())
        return 0;
    return on_request(MEMSC_URING_DEFER, args->data, uring_age((u64)args->req), args->opcode, 0, 0,
                      0);
}

int uring_on_fail(struct tracepoint__io_uring__io_uring_req_failed *args)
{
    if (!is_ours())
        return 0;
    return on_request(MEMSC_URING_FAIL, args->user_data, uring_age((u64)args->req), args->opcode,
                      args->error, 0, 0);
}

int uring_on_complete(struct tracepoint__io_uring__io_uring_complete *args)
{
    u64 request = (u64)args->req;
    s64 took;

    if (!is_recording())
        return 0;
    took = uring_age(request);
    if (took < 0 && !is_uring_task())
        return 0;
    if (!(args->cflags & 2)) /* IORING_CQE_F_MORE: this request will complete again */
        uring_since.delete(&request);
    return on_request(MEMSC_URING_COMPLETE, args->user_data, took, -1, args->res, args->cflags, 0);
}

int uring_on_overflow(struct tracepoint__io_uring__io_uring_cqe_overflow *args)
{
    if (!is_ours())
        return 0;
    return on_request(MEMSC_URING_OVERFLOW, args->user_data, -1, -1, args->res, args->cflags, 0);
}

int uring_on_wait(struct tracepoint__io_uring__io_uring_cqring_wait *args)
{
    if (!is_ours())
        return 0;
    return on_request(MEMSC_URING_WAIT, 0, -1, -1, args->min_events, 0, 0);
}
