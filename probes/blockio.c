/* SPDX-License-Identifier: GPL-2.0 OR MIT
 *
 * Requests to block devices. Any thread may issue or complete one: those that a tracked
 * thread queued are remembered by device and sector.
 */

struct blockio_key {
    u64 sector;
    u64 device;
};

/* Those that never complete are pushed out in time. */
BPF_TABLE("lru_hash", struct blockio_key, u64, blockio_since, 16384);

static __always_inline int on_block(u32 kind, u32 device, u64 sector, u32 bytes, u32 operation,
                                    s32 error, s64 took)
{
    struct blockio_event *event = blockio_reserve(kind);

    if (event) {
        event->sector = sector;
        event->took = took;
        event->device = device;
        event->bytes = bytes;
        event->operation = operation;
        event->error = error;
        blockio_submit(event);
    }
    return 0;
}

int blockio_on_queue(struct tracepoint__block__block_bio_queue *args)
{
    struct blockio_key key = {.sector = args->sector, .device = args->dev};
    u64 now = bpf_ktime_get_ns();

    if (!is_recording() || !current_task())
        return 0;
    blockio_since.update(&key, &now);
    return on_block(MEMSC_BLOCKIO_QUEUE, args->dev, args->sector, args->nr_sector * 512,
                    args->rwbs[0], 0, -1);
}

int blockio_on_issue(struct tracepoint__block__block_rq_issue *args)
{
    struct blockio_key key = {.sector = args->sector, .device = args->dev};
    u64 now = bpf_ktime_get_ns();
    u64 *since;

    if (!is_recording())
        return 0;
    since = blockio_since.lookup(&key);
    if (!since && !current_task())
        return 0;
    on_block(MEMSC_BLOCKIO_ISSUE, args->dev, args->sector, args->bytes, args->rwbs[0], 0,
             since ? (s64)(now - *since) : -1);
    blockio_since.update(&key, &now);
    return 0;
}

int blockio_on_complete(struct tracepoint__block__block_rq_complete *args)
{
    struct blockio_key key = {.sector = args->sector, .device = args->dev};
    u64 *since;
    s64 took;

    if (!is_recording())
        return 0;
    since = blockio_since.lookup(&key);
    if (!since)
        return 0;
    took = bpf_ktime_get_ns() - *since;
    blockio_since.delete(&key);
    return on_block(MEMSC_BLOCKIO_COMPLETE, args->dev, args->sector, args->nr_sector * 512,
                    args->rwbs[0], args->error, took);
}
