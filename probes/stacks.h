/* SPDX-License-Identifier: GPL-2.0 OR MIT
 *
 * Stacks of programs, walked where they stand. `source.py` puts this text once before the probes that take some.
 *
 * Of each stack that is new its frames go to the session, through a ring of its own; an event has its number
 * alone. Where the session has not yet told what is mapped, a copy of the stack goes there instead.
 *
 * The tables are the session's to fill. They say where a walk looks, so whose program is walked is decided here, by
 * the rule of ptrace, each time: a tracked program may have become another user's.
 */
#include <uapi/linux/ptrace.h>

struct
    walk_chunk { /* as bytes: BCC writes code to print each element of what is an array of numbers */
    char rows[MEMSC_WALK_CHUNK * 8];
};
struct walk_pages {
    char first[MEMSC_WALK_PAGES * 4];
};
struct walk_space {
    char places[MEMSC_WALK_PLACES * sizeof(struct memsc_walk_place)];
};
struct walk_process {
    u32 pid;
    u32 space;
    u64 until; /* what it mapped and executed until then is known */
};
struct walk_processes { /* by the last digits of its number, or up to seven places behind */
    char all[MEMSC_WALK_PROCESSES * sizeof(struct walk_process)];
};

BPF_F_TABLE("array", u32, struct walk_chunk, walk_rows, MEMSC_WALK_CHUNKS, BPF_F_MMAPABLE);
BPF_F_TABLE("array", u32, struct walk_pages, walk_pages, 1, BPF_F_MMAPABLE);
BPF_F_TABLE("array", u32, struct walk_space, walk_spaces, MEMSC_WALK_SPACES, BPF_F_MMAPABLE);
BPF_F_TABLE("array", u32, struct walk_processes, walk_processes, 1, BPF_F_MMAPABLE);
BPF_TABLE("lru_hash", u32, u64, walk_since, 16384); /* by process: when it executed its program */
BPF_TABLE("lru_hash", u64, u64, walk_known, 65536); /* stacks that the session was told of */
BPF_RINGBUF_OUTPUT(walk_records, WALK_RING_PAGES);

#define WALK_NO_ROOM (-17)
#define WALK_NOT_YOURS (-1)
#define WALK_NO_PROGRAM (-14)
#define WALK_PAGE 4096
#define WALK_COPIES 256 /* at most so many of a CPU in an eighth of a second */

struct walk_head {
    u64 stack;
    u64 time;
    u32 pid;
    u32 tid;
    u32 end;   /* how the walk ended; WALK_COPIED: it has yet to be made */
    u32 count; /* frames, or bytes copied */
};
#define WALK_COPIED 64
struct walk_frames_few {
    struct walk_head head;
    u64 frames[32];
};
struct walk_frames {
    struct walk_head head;
    u64 frames[MEMSC_WALK_FRAMES + 1];
};
struct walk_copy { /* from the beginning of the page that the stack pointer is in */
    struct walk_head head;
    u64 rip;
    u64 registers[16];
    char bytes[4 * WALK_PAGE];
};
struct walk_copy_large {
    struct walk_head head;
    u64 rip;
    u64 registers[16];
    char bytes[16 * WALK_PAGE];
};

struct walk_pace {
    u64 began;
    u64 copies;
};
BPF_PERCPU_ARRAY(walk_paces, struct walk_pace, 1);

static __always_inline long memsc_walk_read(struct memsc_walk *walk, void *to, u32 bytes, u64 from)
{
    return bpf_probe_read_user(to, bytes, (void *)from);
}

static __always_inline long memsc_walk_read_code(struct memsc_walk *walk, void *to, u32 bytes,
                                                 u64 from)
{
    return memsc_walk_read(walk, to, bytes, from);
}

static __always_inline const u64 *memsc_walk_chunk(u32 key)
{
    return (const u64 *)walk_rows.lookup(&key);
}

/* A process has become another program. */
static __always_inline void walk_executed(u32 pid)
{
    u64 now = bpf_ktime_get_ns();

    walk_since.update(&pid, &now);
}

/* Whether the session's user might look into the program that runs: as ptrace(2) has it, all of its user ids are his
 * and it may be dumped. */
static __always_inline int walk_allowed(void)
{
#if WALK_NEVER
    return 0;
#elif WALK_USER
    u64 task = (u64)bpf_get_current_task(), mm = 0, cred = 0, flags = 0;
    u32 real = 0, saved = 0, effective = 0;

    if (bpf_probe_read_kernel(&mm, 8, (void *)(task + WALK_TASK_MM)) || !mm ||
        bpf_probe_read_kernel(&cred, 8, (void *)(task + WALK_TASK_CRED)) ||
        bpf_probe_read_kernel(&flags, 8, (void *)(mm + WALK_MM_FLAGS)) || (flags & 3) != 1 ||
        bpf_probe_read_kernel(&real, 4, (void *)(cred + WALK_CRED_UID)) || real != WALK_USER ||
        bpf_probe_read_kernel(&saved, 4, (void *)(cred + WALK_CRED_SUID)) || saved != WALK_USER ||
        bpf_probe_read_kernel(&effective, 4, (void *)(cred + WALK_CRED_EUID)) ||
        effective != WALK_USER)
        return 0;
#endif
    return 1;
}

/* The program's registers, where it was left for the kernel; 0: it has none. */
static __always_inline int walk_begin(struct memsc_walk *walk)
{
    struct pt_regs regs = {};

    bpf_probe_read_kernel(&regs, sizeof(regs),
                          (void *)bpf_task_pt_regs(bpf_get_current_task_btf()));
#if WALK_X86
    walk->registers[0] = regs.ax;
    walk->registers[1] = regs.dx;
    walk->registers[2] = regs.cx;
    walk->registers[3] = regs.bx;
    walk->registers[4] = regs.si;
    walk->registers[5] = regs.di;
    walk->registers[6] = regs.bp;
    walk->registers[7] = regs.sp;
    walk->registers[8] = regs.r8;
    walk->registers[9] = regs.r9;
    walk->registers[10] = regs.r10;
    walk->registers[11] = regs.r11;
    walk->registers[12] = regs.r12;
    walk->registers[13] = regs.r13;
    walk->registers[14] = regs.r14;
    walk->registers[15] = regs.r15;
    walk->rip = regs.ip;
#else
    walk->registers[MEMSC_RBP] = regs.regs[29];
    walk->registers[MEMSC_RSP] = regs.sp;
    walk->rip = regs.pc;
#endif
    walk->exact = 1;
    walk->count = 0;
    walk->hash = bpf_get_current_pid_tgid() >> 32;
    return walk->registers[MEMSC_RSP] != 0;
}

/* The number of the space of a process, if all is known that it did until it executed its program; else 0. */
static __always_inline u32 walk_space_of(u32 pid)
{
    u32 zero = 0, space = 0, i;
    u64 *executed = walk_since.lookup(&pid);
    u64 since = executed ? *executed : 0;
    struct walk_processes *processes = walk_processes.lookup(&zero);

    if (!processes)
        return 0;
#pragma unroll
    for (i = 0; i < 8; i++) {
        struct walk_process *one =
            (struct walk_process *)processes->all + ((pid + i) & (MEMSC_WALK_PROCESSES - 1));
        u64 equal = (u64)(one->pid ^ pid) - 1, known = since - one->until - 1;

        __asm__ volatile("" : "+r"(equal), "+r"(known));
        equal = (equal & known) >> 63;
        __asm__ volatile("" : "+r"(equal));
        space += (u32)equal * one->space;
    }
    return space & (MEMSC_WALK_SPACES - 1);
}

static __always_inline void walk_fill_head(struct walk_head *head, u64 stack, u32 end, u32 count)
{
    u64 task = bpf_get_current_pid_tgid();

    head->stack = stack;
    head->time = bpf_ktime_get_ns();
    head->pid = task >> 32;
    head->tid = (u32)task;
    head->end = end;
    head->count = count;
}

static __always_inline int walk_paced(void)
{
    u32 zero = 0;
    struct walk_pace *pace = walk_paces.lookup(&zero);
    u64 now = bpf_ktime_get_ns() >> 27;

    if (!pace)
        return 0;
    if (pace->began != now) {
        pace->began = now;
        pace->copies = 0;
    }
    return pace->copies++ < WALK_COPIES;
}

/* A copy of the stack, for the session to walk. Returns the stack's number, or why there is none. */
static __always_inline s64 walk_copied(struct memsc_walk *walk)
{
    u64 page = walk->registers[7] & ~(u64)(WALK_PAGE - 1), beyond;
    s64 stack = ((bpf_ktime_get_ns() << 1) | 1) & 0x7fffffffffffffffull;
    u32 bytes = 0, i;

    if (!walk_paced())
        return WALK_NO_ROOM;
    if (bpf_probe_read_user(&beyond, 8, (void *)(page + 4 * WALK_PAGE))) {
        struct walk_copy *copy = walk_records.ringbuf_reserve(sizeof(struct walk_copy));
        if (!copy)
            return WALK_NO_ROOM;
#pragma unroll
        for (i = 0; i < 4; i++)
            if (bytes == i * WALK_PAGE &&
                !bpf_probe_read_user(copy->bytes + i * WALK_PAGE, WALK_PAGE,
                                     (void *)(page + i * WALK_PAGE)))
                bytes += WALK_PAGE;
        copy->rip = walk->rip;
        bpf_probe_read_kernel(copy->registers, sizeof(copy->registers), walk->registers);
        walk_fill_head(&copy->head, stack, WALK_COPIED, bytes);
        walk_records.ringbuf_submit(copy, BPF_RB_NO_WAKEUP);
    } else {
        struct walk_copy_large *copy = walk_records.ringbuf_reserve(sizeof(struct walk_copy_large));
        if (!copy)
            return WALK_NO_ROOM;
#pragma unroll
        for (i = 0; i < 16; i++)
            if (bytes == i * WALK_PAGE &&
                !bpf_probe_read_user(copy->bytes + i * WALK_PAGE, WALK_PAGE,
                                     (void *)(page + i * WALK_PAGE)))
                bytes += WALK_PAGE;
        copy->rip = walk->rip;
        bpf_probe_read_kernel(copy->registers, sizeof(copy->registers), walk->registers);
        walk_fill_head(&copy->head, stack, WALK_COPIED, bytes);
        walk_records.ringbuf_submit(copy, BPF_RB_NO_WAKEUP);
    }
    return stack;
}

/* Tells the session of a stack that it does not know yet. Returns the stack's number, or why there is none. */
static __always_inline s64 walk_told(struct memsc_walk *walk, u32 end)
{
    u64 stack = (walk->hash ^ end) & 0x7ffffffffffffffeull;
    u64 *known = walk_known.lookup(&stack), one = 1;

    if (known)
        return stack;
    if (walk->count <= 32) {
        struct walk_frames_few *few = walk_records.ringbuf_reserve(sizeof(struct walk_frames_few));
        if (!few)
            return WALK_NO_ROOM;
        bpf_probe_read_kernel(few->frames, sizeof(few->frames), walk->frames);
        walk_fill_head(&few->head, stack, end, walk->count);
        walk_records.ringbuf_submit(few, BPF_RB_NO_WAKEUP);
    } else {
        struct walk_frames *all = walk_records.ringbuf_reserve(sizeof(struct walk_frames));
        if (!all)
            return WALK_NO_ROOM;
        bpf_probe_read_kernel(all->frames, sizeof(all->frames), walk->frames);
        walk_fill_head(&all->head, stack, end, walk->count);
        walk_records.ringbuf_submit(all, BPF_RB_NO_WAKEUP);
    }
    walk_known.update(&stack, &one);
    return stack;
}

/* The stack of the program that runs: its number, or why there is none, as -errno. `walk` is nobody else's
 * meanwhile. */
static __always_inline s64 walk_user(struct memsc_walk *walk)
{
    u32 zero = 0, i = 0, end, space;
    const u32 *pages = (const u32 *)walk_pages.lookup(&zero);
    const struct memsc_walk_place *places;

    if (!walk || !pages)
        return WALK_NO_ROOM;
    if (!walk_allowed())
        return WALK_NOT_YOURS;
    if (!walk_begin(walk))
        return WALK_NO_PROGRAM;
    space = walk_space_of(walk->hash);
    places = (const struct memsc_walk_place *)walk_spaces.lookup(&space);
    if (space && places) {
        /* Expected to end: older kernels refuse a loop whose end falls through to its beginning. */
#pragma clang loop unroll(disable)
        do {
            end = memsc_walk_step(walk, pages, places, i == 0);
            walk->end = end;
            i++;
        } while (__builtin_expect(end == MEMSC_WALK_ON && i < MEMSC_WALK_FRAMES, 0));
    } else {
        walk->end = MEMSC_WALK_NOWHERE;
    }
    end = *(volatile u32 *)&walk->end;
    if (end == MEMSC_WALK_ON)
        end = MEMSC_WALK_DEEP;
    if (end == MEMSC_WALK_NOWHERE) {
        s64 copied = walk_copied(walk);
        if (copied >= 0 || !walk->count)
            return copied;
    }
    return walk_told(walk, end);
}
