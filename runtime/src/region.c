/* SPDX-License-Identifier: MIT
 *
 * The region: its file, its mappings.
 */
#include <errno.h>
#include <linux/fcntl.h>
#include <linux/mman.h>
#include <stddef.h>
#include <sys/syscall.h>

#include "cpu.h"
#include "process.h"
#include "text.h"

enum {
    MAP_POPULATE_WRITE = 23, /* MADV_POPULATE_WRITE, Linux 5.14 */
    PROGRAMS = 10000,        /* programs that one process may execute in turn */
};

static uint64_t page_up(uint64_t bytes)
{
    return (bytes + 4095) & ~4095ull;
}

static uint64_t ring_bytes(uint64_t records)
{
    return page_up(records * sizeof(struct memsc_call));
}

static long map(uint64_t size, int fd, uint64_t offset)
{
    int flags = MAP_SHARED | (fd < 0 ? MAP_ANONYMOUS : 0);
    long address = MEMSC_SYS(SYS_mmap, 0, size, PROT_READ | PROT_WRITE, flags, fd, offset);
    if (address >= 0)
        /* A forked child must not write its parent's entries. */
        MEMSC_SYS(SYS_madvise, address, size, MADV_DONTFORK, 0, 0, 0);
    return address;
}

/* Makes sure of memory for a part of the file: a write that finds its file system full would kill the
 * program (SIGBUS). File systems that cannot promise it are not in memory; let them try. */
static int reserve(int fd, uint64_t offset, uint64_t bytes)
{
    long error = MEMSC_SYS(SYS_fallocate, fd, 0, offset, bytes, 0, 0);
    return error == -EOPNOTSUPP ? 0 : (int)error;
}

/* Field 22 of /proc/self/stat, 0 if it cannot be read. The second field may hold anything, so
 * counting starts behind its closing parenthesis. */
static uint64_t start_time(void)
{
    char text[1024];
    int length = memsc_read_file("/proc/self/stat", text, sizeof text);
    int at = length - 1;
    while (at > 0 && text[at] != ')')
        at--;
    for (int field = 2; at < length; at++)
        if (text[at] == ' ' && ++field == 22)
            return memsc_number(text + at + 1);
    return 0;
}

static int open_file(struct memsc_process *process, const char *directory, uint32_t pid,
                     uint64_t started)
{
    char *end = process->path + sizeof process->path;
    char *at = memsc_put(process->path, end, directory);
    at = memsc_put(at, end, "/");
    at = memsc_put_number(at, end, pid);
    at = memsc_put(at, end, "-");
    at = memsc_put_number(at, end, started);
    /* A process that executes one program after another makes a region for each. */
    for (uint32_t program = 0; program < PROGRAMS; program++) {
        char *tail = memsc_put(at, end, "-");
        tail = memsc_put_number(tail, end, program);
        tail = memsc_put(tail, end, ".region");
        if (tail >= end)
            return -ENAMETOOLONG;
        long fd = MEMSC_SYS(SYS_openat, AT_FDCWD, process->path,
                            O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600, 0, 0);
        if (fd != -EEXIST)
            return (int)fd;
    }
    return -EEXIST;
}

int memsc_region_create(struct memsc_process *process, const struct memsc_options *options)
{
    uint64_t slots_offset = page_up(sizeof(struct memsc_region));
    uint64_t rings_offset = slots_offset + MEMSC_MAX_SLOTS * sizeof(struct memsc_slot);
    uint32_t pid = (uint32_t)MEMSC_SYS(SYS_getpid, 0, 0, 0, 0, 0, 0);
    uint64_t started = start_time();

    process->size = rings_offset;
    process->path[0] = 0;
    long fd = -1;
    long error = 0;
    if (options->directory[0]) {
        fd = open_file(process, options->directory, pid, started);
        if (fd < 0) {
            process->path[0] = 0;
            return (int)fd;
        }
        uint64_t whole = rings_offset + MEMSC_MAX_SLOTS * ring_bytes(options->ring_records);
        error = reserve((int)fd, 0, slots_offset);
        if (error >= 0)
            error = MEMSC_SYS(SYS_ftruncate, fd, whole, 0, 0, 0, 0);
    }
    long address = error < 0 ? error : map(process->size, (int)fd, 0);
    if (fd >= 0)
        MEMSC_SYS(SYS_close, fd, 0, 0, 0, 0, 0);
    if (address < 0) {
        process->keep = false;
        memsc_region_destroy(process);
        return (int)address;
    }
    struct memsc_region *region = (struct memsc_region *)address;
    process->region = region;
    process->slots = (struct memsc_slot *)(address + (long)slots_offset);
    region->pid = pid;
    region->start_time = started;
    region->transport = options->transport;
    region->service_mode = options->service_mode;
    region->slots = MEMSC_MAX_SLOTS;
    region->ring_records = options->ring_records;
    region->slots_offset = slots_offset;
    region->rings_offset = rings_offset;
    memsc_program_name(region->program, sizeof region->program);
    store_relaxed(&region->recording, options->recording);
    store_relaxed(&region->ring_policy, options->ring_policy);
    region->version = MEMSC_LAYOUT_VERSION;
    /* Release: a reader that finds the magic finds the rest. */
    atomic_thread_fence(memory_order_release);
    *(volatile uint64_t *)&region->magic = MEMSC_MAGIC;
    return 0;
}

static void unlink_unless_kept(const struct memsc_process *process)
{
    if (process->path[0] && !process->keep)
        MEMSC_SYS(SYS_unlinkat, AT_FDCWD, process->path, 0, 0, 0, 0);
}

void memsc_region_destroy(struct memsc_process *process)
{
    struct memsc_region *region = process->region;
    if (region) {
        for (uint32_t i = 0; i < MEMSC_MAX_SLOTS; i++) {
            if (process->selves[i].ring)
                MEMSC_SYS(SYS_munmap, process->selves[i].ring, ring_bytes(region->ring_records), 0,
                          0, 0, 0);
            process->selves[i].ring = NULL;
        }
        MEMSC_SYS(SYS_munmap, region, process->size, 0, 0, 0, 0);
    }
    process->region = NULL;
    unlink_unless_kept(process);
    process->path[0] = 0;
}

void memsc_region_finish(struct memsc_process *process)
{
    atomic_store(&process->region->finished, 1);
    unlink_unless_kept(process);
}

int memsc_region_open_slot(struct memsc_process *process, uint32_t slot)
{
    const struct memsc_region *region = process->region;
    struct memsc_self *self = &process->selves[slot];
    if (self->ring)
        return 0;
    uint64_t bytes = ring_bytes(region->ring_records);
    uint64_t offset = region->rings_offset + slot * bytes;
    bool recording = load_relaxed(&region->recording);
    int fd = -1, error = 0;
    if (process->path[0]) {
        /* Opened again each time: a program may close every descriptor it finds. */
        fd = (int)MEMSC_SYS(SYS_openat, AT_FDCWD, process->path, O_RDWR | O_NOFOLLOW | O_CLOEXEC, 0,
                            0, 0);
        if (fd < 0)
            return fd;
        error = reserve(fd, region->slots_offset + slot * sizeof(struct memsc_slot),
                        sizeof(struct memsc_slot));
    }
    /* Whoever turns recording on later sees to the rings that are there by then. */
    long address = error || (fd >= 0 && recording && reserve(fd, offset, bytes))
                       ? -ENOSPC
                       : map(bytes, fd, offset);
    if (fd >= 0)
        MEMSC_SYS(SYS_close, fd, 0, 0, 0, 0, 0);
    if (address < 0)
        return error; /* with a slot, and no ring, each call is counted as lost */
    if (recording)
        /* Page faults now, not between the calls being measured. */
        MEMSC_SYS(SYS_madvise, address, bytes, MAP_POPULATE_WRITE, 0, 0, 0);
    self->ring = (struct memsc_call *)address;
    return 0;
}

/* Whether a file or folder is locked, as its reader does for as long as it lives. Where that cannot be
 * told it counts as locked, but a path that is gone is nobody's. */
static bool locked(const char *path, int flags)
{
    long fd =
        MEMSC_SYS(SYS_openat, AT_FDCWD, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | flags, 0, 0, 0);
    if (fd < 0)
        return fd != -ENOENT && fd != -ENOTDIR;
    long error = MEMSC_SYS(SYS_flock, fd, LOCK_SH | LOCK_NB, 0, 0, 0, 0);
    MEMSC_SYS(SYS_close, fd, 0, 0, 0, 0, 0);
    return error < 0;
}

void memsc_region_look_for_reader(struct memsc_process *process)
{
    char folder[sizeof process->path];
    char *end = memsc_put(folder, folder + sizeof folder, process->path);
    while (end > folder && *end != '/')
        end--;
    *end = 0;
    /* The session's folder first: its files are locked only once it has seen them. */
    if (!locked(folder, O_DIRECTORY) && !locked(process->path, 0))
        store_relaxed(&process->region->ring_policy, MEMSC_RING_DROP);
}
