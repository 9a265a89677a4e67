/* SPDX-License-Identifier: MIT
 *
 * The region: its file, its mappings.
 *
 * A session gets it by a descriptor of its memory (session.h). Where the process can reach that session's
 * folder it is a file there, which stays if both are killed. Without a session it is a file in a folder, or
 * nobody else's. The process itself keeps no descriptor of it: the program might close it, and a child with
 * fewer rights would inherit it. What is mapped later continues what is mapped already.
 */
#include <errno.h>
#include <linux/fcntl.h>
#include <linux/mman.h>
#include <linux/prctl.h>
#include <linux/resource.h>
#include <stddef.h>
#include <sys/syscall.h>

#include "cpu.h"
#include "kept.h"
#include "process.h"
#include "region_file.h"
#include "session.h"
#include "signals.h"
#include "text.h"
#include "thread.h"

enum {
    POPULATE_WRITE = 23, /* MADV_POPULATE_WRITE, Linux 5.14 */
    PAGE = 4096,
    PAGE_RECORDS = PAGE / sizeof(struct memsc_call),
    FIRST_RECORDS = 16 * PAGE_RECORDS, /* that a ring gets memory for at once */
    TRY_AGAIN = 1024, /* calls lost between two tries for memory that was not there */
};

static uint64_t page_up(uint64_t bytes)
{
    return (bytes + PAGE - 1) & ~(uint64_t)(PAGE - 1);
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

/* Maps what lies in the file `gap` bytes behind something that is mapped up to `end`: duplicates its last
 * page with all that follows (an old size of 0 does), and gives back what is not wanted of that. */
static long map_behind(char *end, uint64_t gap, uint64_t size)
{
    long address = MEMSC_SYS(SYS_mremap, end - PAGE, 0, PAGE + gap + size, MREMAP_MAYMOVE, 0, 0);
    if (address < 0)
        return address;
    MEMSC_SYS(SYS_munmap, address, PAGE + gap, 0, 0, 0, 0);
    return address + PAGE + (long)gap;
}

/* The same by the file's name, where there is one: emulators of other processors duplicate no mappings. */
static long map_of_file(const struct memsc_process *process, uint64_t offset, uint64_t size)
{
    if (!process->path[0])
        return -ENOMEM;
    long fd =
        MEMSC_SYS(SYS_openat, AT_FDCWD, process->path, O_RDWR | O_NOFOLLOW | O_CLOEXEC, 0, 0, 0);
    if (fd < 0)
        return fd;
    long address = map(size, (int)fd, offset);
    MEMSC_SYS(SYS_close, fd, 0, 0, 0, 0, 0);
    return address;
}

/* Makes sure of memory, which a write would otherwise find wanting (SIGBUS). Kernels that cannot tell
 * beforehand let the program try. */
static int populate(void *address, uint64_t bytes)
{
    long error = MEMSC_SYS(SYS_madvise, address, bytes, POPULATE_WRITE, 0, 0, 0);
    return error < 0 && error != -EINVAL ? -ENOSPC : 0;
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

static long limit_of_files(const struct rlimit64 *new, struct rlimit64 *old)
{
    return MEMSC_SYS(SYS_prlimit64, 0, RLIMIT_FSIZE, new, old, 0, 0);
}

/* The kernel would end a program whose own limit for files (`ulimit -f`) is lower: SIGXFSZ. For this call a
 * higher one holds, if it may, and if nobody else is there who could make use of it. */
static long enlarge(int fd, uint64_t size)
{
    struct rlimit64 before = {RLIM64_INFINITY, RLIM64_INFINITY}, high;
    limit_of_files(NULL, &before);
    if (before.rlim_cur >= size)
        return MEMSC_SYS(SYS_ftruncate, fd, size, 0, 0, 0, 0);
    high.rlim_cur = size;
    high.rlim_max = before.rlim_max > size ? before.rlim_max : size;
    uint64_t signals = memsc_block_signals();
    long error = -EFBIG;
    if (memsc_threads_of_program() == 1 && limit_of_files(&high, NULL) == 0) {
        error = MEMSC_SYS(SYS_ftruncate, fd, size, 0, 0, 0, 0);
        limit_of_files(&before, NULL);
    }
    memsc_set_signals(signals);
    return error;
}

/* Header and slots, mapped and with memory behind the header; -errno. */
static long map_head(uint64_t head, uint64_t whole, int fd)
{
    long error = fd >= 0 ? enlarge(fd, whole) : 0;
    if (error < 0)
        return error;
    long address = map(head, fd, 0);
    if (address >= 0 && populate((void *)address, sizeof(struct memsc_region))) {
        MEMSC_SYS(SYS_munmap, address, head, 0, 0, 0, 0);
        return -ENOSPC;
    }
    return address;
}

static void describe(struct memsc_region *region, const struct memsc_options *options,
                     uint64_t rings_offset)
{
    region->transport = options->transport;
    region->service_mode = options->service_mode;
    region->slots = MEMSC_MAX_SLOTS;
    region->ring_records = options->ring_records;
    region->slots_offset = page_up(sizeof(struct memsc_region));
    region->rings_offset = rings_offset;
    memsc_program_name(region->program, sizeof region->program);
    MEMSC_SYS(SYS_prctl, PR_GET_NAME, region->comm, 0, 0, 0, 0);
    store_relaxed(&region->recording, options->recording);
    store_relaxed(&region->ring_policy, options->ring_policy);
    region->version = MEMSC_LAYOUT_VERSION;
    /* Release: a reader that finds the magic finds the rest. */
    atomic_thread_fence(memory_order_release);
    *(volatile uint64_t *)&region->magic = MEMSC_MAGIC;
}

static void close_memory(struct memsc_process *process)
{
    if (process->memory >= 0)
        MEMSC_SYS(SYS_close, process->memory, 0, 0, 0, 0, 0);
    process->memory = -1;
}

/* If the session is gone, or cannot be told, nobody reads what would be recorded. */
void memsc_region_offer(struct memsc_process *process)
{
    char message[96], *end = message + sizeof message;
    char *at = memsc_put(message, end, "{\"region\": true, ");
    at = memsc_put(memsc_put_text(at, end), end, "}");
    struct memsc_region *region = process->region;
    if (process->handed && memsc_tell(message, (size_t)(at - message), process->memory) != 0) {
        memsc_region_unlink(process);
        store_relaxed(&region->recording, 0);
        store_relaxed(&region->ring_policy, MEMSC_RING_DROP);
    }
    close_memory(process);
}

int memsc_region_create(struct memsc_process *process, const struct memsc_options *options)
{
    uint64_t slots_offset = page_up(sizeof(struct memsc_region));
    uint64_t rings_offset = slots_offset + MEMSC_MAX_SLOTS * sizeof(struct memsc_slot);
    uint32_t pid = (uint32_t)MEMSC_SYS(SYS_getpid, 0, 0, 0, 0, 0, 0);
    uint64_t started = start_time();

    process->size = rings_offset;
    int fd = memsc_region_open(process, options, pid, started);
    if (fd < 0 && fd != MEMSC_REGION_UNSEEN)
        return fd;
    process->memory = fd < 0 ? -1 : fd;
    process->backed = fd >= 0;
    uint64_t whole = rings_offset + MEMSC_MAX_SLOTS * ring_bytes(options->ring_records);
    long address = map_head(process->size, whole, fd);
    if (address >= 0) {
        process->region = (struct memsc_region *)address;
        process->slots = (struct memsc_slot *)(address + (long)slots_offset);
        process->region->pid = pid;
        process->region->start_time = started;
        process->region->handoff = process->handoff.kind;
        describe(process->region, options, rings_offset);
    }
    if (address < 0) {
        process->keep = false;
        memsc_region_destroy(process);
        return (int)address;
    }
    return 0;
}

void memsc_region_destroy(struct memsc_process *process)
{
    struct memsc_region *region = process->region;
    if (region) {
        /* Not the others: to look at them is to make a page table for all. */
        uint32_t used = atomic_load(&region->slots_used);
        for (uint32_t i = 0; i < used && i < MEMSC_MAX_SLOTS; i++) {
            if (process->selves[i].ring)
                MEMSC_SYS(SYS_munmap, process->selves[i].ring, ring_bytes(region->ring_records), 0,
                          0, 0, 0);
            process->selves[i].ring = NULL;
        }
        MEMSC_SYS(SYS_munmap, region, process->size, 0, 0, 0, 0);
    }
    process->region = NULL;
    close_memory(process);
    if (!process->keep)
        memsc_region_unlink(process);
    process->path[0] = 0;
}

void memsc_region_finish(struct memsc_process *process)
{
    atomic_store(&process->region->finished, 1);
    if (process->path[0] && !process->keep)
        MEMSC_SYS(SYS_unlinkat, AT_FDCWD, process->path, 0, 0, 0, 0);
}

/* Where the ring of a slot goes: behind the one before it, or whatever is mapped before that. */
static long map_ring(const struct memsc_process *process, uint32_t slot)
{
    const struct memsc_region *region = process->region;
    uint64_t bytes = ring_bytes(region->ring_records), gap = 0;
    if (!process->backed)
        return map(bytes, -1, 0);
    char *end = (char *)region + process->size;
    for (uint32_t i = slot; i > 0; i--, gap += bytes)
        if (process->selves[i - 1].ring) {
            end = (char *)process->selves[i - 1].ring + bytes;
            break;
        }
    long address = map_behind(end, gap, bytes);
    return address < 0 ? map_of_file(process, region->rings_offset + slot * bytes, bytes) : address;
}

int memsc_region_open_slot(struct memsc_process *process, uint32_t slot)
{
    struct memsc_self *self = &process->selves[slot];
    if (self->ring)
        return 0;
    int error = populate(&process->slots[slot], sizeof(struct memsc_slot));
    if (error)
        return error;
    long address = map_ring(process, slot);
    if (address < 0)
        return 0; /* with a slot, and no ring, each call is counted as lost */
    self->ring = (struct memsc_call *)address;
    self->backed = self->room = 0;
    self->unbacked = false;
    return 0;
}

/* A ring gets its memory as it is used, by a quarter more of what it has: a thread that makes a few calls takes
 * little, and one that makes many seldom waits for it. Page faults are had here, not between the calls
 * being measured. */
bool memsc_region_back_ring(struct memsc_self *self)
{
    if (self->unbacked && load_relaxed(&self->slot->dropped) % TRY_AGAIN)
        return false;
    uint64_t records = self->ring_mask + 1, step = self->backed / 4 / PAGE_RECORDS * PAGE_RECORDS;
    step = step < FIRST_RECORDS ? FIRST_RECORDS : step;
    step = step < records - self->backed ? step : records - self->backed;
    self->unbacked = populate(&self->ring[self->backed], step * sizeof *self->ring) < 0;
    if (self->unbacked)
        return false;
    self->backed += step;
    return true;
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

static bool has_reader(const struct memsc_process *process)
{
    if (process->handed)
        return !memsc_session_is_gone();
    char folder[sizeof process->path];
    char *end = memsc_put(folder, folder + sizeof folder, process->path);
    while (end > folder && *end != '/')
        end--;
    *end = 0;
    /* The session's folder first: its files are locked only once it has seen them. */
    return locked(folder, O_DIRECTORY) || locked(process->path, 0);
}

void memsc_region_look_for_reader(struct memsc_process *process)
{
    if (!has_reader(process))
        store_relaxed(&process->region->ring_policy, MEMSC_RING_DROP);
}
