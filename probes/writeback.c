/* SPDX-License-Identifier: GPL-2.0 OR MIT
 *
 * Pages that tracked threads change, and their way to storage. What writes them out is mostly a
 * thread of the kernel: files that a tracked thread changed are remembered.
 */

struct writeback_file {
    u64 inode;
    u64 device[2]; /* "major:minor" of what is written to, as far as it fits */
};

BPF_TABLE("lru_hash", struct writeback_file, u64, writeback_dirty, 16384);

/* The kernel pads the name with zeros; what does not fit would be a file system's own long one. */
static __always_inline struct writeback_file file_of(const char *name, u64 inode)
{
    struct writeback_file file = {
        .inode = inode,
        .device = {((const u64 *)name)[0], ((const u64 *)name)[1] & 0x00ffffffffffffff},
    };
    return file;
}

static __always_inline int on_file(u32 kind, const struct writeback_file *file, u64 index,
                                   u64 pages, s64 took)
{
    struct writeback_event *event = writeback_reserve(kind);

    if (!event)
        return 0;
    event->inode = file->inode;
    event->index = index;
    event->pages = pages;
    event->took = took;
    ((u64 *)event->device)[0] = file->device[0];
    ((u64 *)event->device)[1] = file->device[1];
    writeback_submit(event);
    return 0;
}

static __always_inline int on_dirty(const char *name, u64 inode, u64 index)
{
    struct writeback_file file = file_of(name, inode);
    u64 now = bpf_ktime_get_ns();

    if (!is_recording() || !current_task())
        return 0;
    writeback_dirty.update(&file, &now);
    return on_file(MEMSC_WRITEBACK_DIRTY, &file, index, 1, -1);
}

int writeback_on_dirty(struct tracepoint__writeback__writeback_dirty_folio *args)
{
    return on_dirty(args->name, args->ino, args->index);
}

int writeback_on_dirty_page(struct tracepoint__writeback__writeback_dirty_page *args)
{
    return on_dirty(args->name, args->ino, args->index);
}

static __always_inline int on_wait(const char *name, u64 inode, u64 index)
{
    struct writeback_file file = file_of(name, inode);

    if (!is_recording() || !current_task())
        return 0;
    return on_file(MEMSC_WRITEBACK_WAIT, &file, index, 1, -1);
}

int writeback_on_wait(struct tracepoint__writeback__folio_wait_writeback *args)
{
    return on_wait(args->name, args->ino, args->index);
}

int writeback_on_wait_page(struct tracepoint__writeback__wait_on_page_writeback *args)
{
    return on_wait(args->name, args->ino, args->index);
}

int writeback_on_write(struct tracepoint__writeback__writeback_single_inode *args)
{
    struct writeback_file file = file_of(args->name, args->ino);
    u64 *since;
    s64 took;

    if (!is_recording())
        return 0;
    since = writeback_dirty.lookup(&file);
    if (!since)
        return 0;
    took = bpf_ktime_get_ns() - *since;
    return on_file(MEMSC_WRITEBACK_WRITE, &file, args->writeback_index, args->wrote, took);
}

int writeback_on_throttle(struct tracepoint__writeback__balance_dirty_pages *args)
{
    struct writeback_file file = file_of(args->bdi, 0);

    /* It says so of those that may go on at once, too. */
    if (!is_recording() || !current_task() || args->pause <= 0)
        return 0;
    return on_file(MEMSC_WRITEBACK_THROTTLE, &file, 0, args->dirtied, args->pause * 1000000ll);
}
