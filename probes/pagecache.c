/* SPDX-License-Identifier: GPL-2.0 OR MIT */

static __always_inline int on_page(u32 kind, u64 inode, u64 index, u32 device, u32 pages)
{
    struct pagecache_event *event;

    if (!is_recording() || !current_task())
        return 0;
    event = pagecache_reserve(kind);
    if (!event)
        return 0;
    event->inode = inode;
    event->index = index;
    event->device = device;
    event->pages = pages;
    pagecache_submit(event);
    return 0;
}

int pagecache_on_add(struct tracepoint__filemap__mm_filemap_add_to_page_cache *args)
{
    return on_page(MEMSC_PAGECACHE_ADD, args->i_ino, args->index, args->s_dev, 1u << args->order);
}

int pagecache_on_add_one(struct tracepoint__filemap__mm_filemap_add_to_page_cache *args)
{
    return on_page(MEMSC_PAGECACHE_ADD, args->i_ino, args->index, args->s_dev, 1);
}

int pagecache_on_remove(struct tracepoint__filemap__mm_filemap_delete_from_page_cache *args)
{
    return on_page(MEMSC_PAGECACHE_REMOVE, args->i_ino, args->index, args->s_dev,
                   1u << args->order);
}

int pagecache_on_remove_one(struct tracepoint__filemap__mm_filemap_delete_from_page_cache *args)
{
    return on_page(MEMSC_PAGECACHE_REMOVE, args->i_ino, args->index, args->s_dev, 1);
}
