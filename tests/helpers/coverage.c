/* SPDX-License-Identifier: GPL-2.0 OR MIT
 *
 * Counts the system calls of a tree of processes by who made them, told by the address of the
 * instruction and the CPU alone. Nothing that memsc counts or says is believed here.
 *
 * The text is completed by coverage.py: where in the layer's file lie its code and its slots, and
 * which CPU is the service's.
 */

enum { SLOT = 0, OWN, SERVICE, OUTSIDE };
enum { R9 = 8, DX = 12, SI, DI, IP = 16 };

struct image {   /* one program in one process, as far as it matters where its calls come from */
    u64 layer;   /* address of the layer's code, 0: not mapped */
    u64 started; /* a call came through it */
};

struct key {
    u32 who;
    u32 number;
    char program[16];
};

BPF_HASH(images, u32, struct image, 65536); /* by process */
BPF_HASH(counts, struct key, u64, 65536);
BPF_HASH(programs, struct key, u64, 16384); /* number: 0 executed, 1 got the layer, 2 started it */

static void note_program(u32 what)
{
    struct key key = {.number = what};
    bpf_get_current_comm(key.program, sizeof key.program);
    programs.increment(key);
}

RAW_TRACEPOINT_PROBE(sys_enter)
{
    u64 registers[21]; /* struct pt_regs, which is part of the kernel's interface */
    struct key key = {.number = (u32)ctx->args[1]};
    u32 process = bpf_get_current_pid_tgid() >> 32;
    struct image *image = images.lookup(&process);
    if (!image || bpf_probe_read_kernel(registers, sizeof registers, (void *)ctx->args[0]))
        return 0;
    /* The loader maps the layer, before all others: code of this offset and size. */
    if (!image->layer && key.number == 9 && registers[SI] == CODE_SIZE && registers[DX] == 5 &&
        registers[R9] == CODE_OFFSET) {
        image->layer = registers[DI];
        note_program(1);
        return 0;
    }
    u64 at = registers[IP] - image->layer;
    key.who = OUTSIDE;
    if (image->layer && at < CODE_SIZE)
        key.who = at >= SLOTS_BEGIN && at < SLOTS_END         ? SLOT
                  : bpf_get_smp_processor_id() == SERVICE_CPU ? SERVICE
                                                              : OWN;
    if (!image->started) {
        if (key.who != SLOT && key.who != SERVICE)
            return 0;
        image->started = 1;
        note_program(2);
    }
    bpf_get_current_comm(key.program, sizeof key.program);
    counts.increment(key);
    return 0;
}

/* A thread's number goes in, too, and is never looked for. */
TRACEPOINT_PROBE(sched, sched_process_fork)
{
    u32 process = bpf_get_current_pid_tgid() >> 32, child = args->child_pid;
    struct image *image = images.lookup(&process);
    if (image) {
        struct image copy = *image;
        images.update(&child, &copy);
    }
    return 0;
}

TRACEPOINT_PROBE(sched, sched_process_exec)
{
    u32 process = bpf_get_current_pid_tgid() >> 32;
    struct image *image = images.lookup(&process);
    if (image) {
        image->layer = image->started = 0;
        note_program(0);
    }
    return 0;
}

TRACEPOINT_PROBE(sched, sched_process_exit)
{
    u32 task = args->pid;
    images.delete(&task);
    return 0;
}
