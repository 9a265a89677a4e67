/* SPDX-License-Identifier: MIT
 *
 * Start and stop of a process, registration of its threads.
 */
#include <errno.h>
#include <linux/membarrier.h>
#include <linux/mman.h>
#include <linux/time.h>
#include <stddef.h>
#include <sys/syscall.h>

#include "afresh.h"
#include "handshake.h"
#include "process.h"
#include "session.h"
#include "text.h"
#include "thread.h"

enum {
    CALIBRATION_NS = 100000, /* precise to a percent, which is enough for time-outs */
    POOLED_SPIN_US = 20,     /* a caller polls this long for a call that may wait for ever */
    FIRST_PAGE = 4096,       /* with the state */
    PROCESS_BYTES = (sizeof(struct memsc_process) + 4095) & ~4095ull,
    QUANTUM_US =
        20, /* a busy poller keeps the token from others, about ten times what passing it costs */
    STUCK_US = 50, /* without progress of the service before a caller asks for a takeover */
};

static int64_t now_ns(void)
{
    struct timespec now;
    MEMSC_SYS(SYS_clock_gettime, CLOCK_MONOTONIC, &now, 0, 0, 0, 0);
    return now.tv_sec * 1000000000ll + now.tv_nsec;
}

static uint64_t cycles_per_us(void)
{
    static uint64_t known; /* the same in every process of this machine, and so after a fork */
    if (!known)
        known = memsc_cycles_hz() / 1000000;
    if (!known) {
        int64_t ns = now_ns(), since = ns;
        uint64_t cycles = memsc_cycles();
        while (ns - since < CALIBRATION_NS)
            ns = now_ns();
        known = (memsc_cycles() - cycles) * 1000 / (uint64_t)(ns - since);
    }
    return known ? known : 1;
}

static uint64_t to_cycles(uint32_t microseconds)
{
    return microseconds == UINT32_MAX ? UINT64_MAX : microseconds * cycles_per_us();
}

static bool online(uint32_t cpu)
{
    char text[512];
    if (memsc_read_file("/sys/devices/system/cpu/online", text, sizeof text) <= 0)
        return true; /* not told: the kernel will refuse what does not exist */
    for (const char *at = text; *at >= '0' && *at <= '9';) {
        uint64_t first = memsc_take_number(&at), last = first;
        if (*at == '-') {
            at++;
            last = memsc_take_number(&at);
        }
        if (cpu >= first && cpu <= last)
            return true;
        if (*at == ',')
            at++;
    }
    return false;
}

static int check(struct memsc_options *options)
{
    if (options->transport > MEMSC_ADAPTIVE || options->service_mode > MEMSC_SCANNER ||
        options->services < 1 || options->services > MEMSC_MAX_SERVICES ||
        options->ring_policy > MEMSC_RING_WAIT || options->handoff > MEMSC_HANDOFF_AMD ||
        options->ring_records < 1 || options->ring_records > 1u << 30 ||
        options->recording > 1u << 30 || options->probe_every < 1 ||
        options->directory[sizeof options->directory - 1])
        return -EINVAL;
    for (uint32_t i = 0; i < options->services; i++)
        if (!online(options->service_cpus[i]))
            return -ENXIO;
    uint64_t records = 64;
    while (records < options->ring_records)
        records *= 2;
    options->ring_records = records;
    return 0;
}

static int private_mapping(void)
{
    if (__atomic_load_n(&memsc_the_process, __ATOMIC_ACQUIRE))
        return 0;
    long address = memsc_map_afresh(PROCESS_BYTES);
    if (address < 0)
        return (int)address;
    struct memsc_process *none = NULL;
    /* Release: the mapping before the pointer that others find. Threads may start at the same time; who
       comes second acquires, which the thread sanitizer of GCC 14 takes from the order of success. */
    if (!__atomic_compare_exchange_n(&memsc_the_process, &none, (struct memsc_process *)address,
                                     false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        MEMSC_SYS(SYS_munmap, address, PROCESS_BYTES, 0, 0, 0, 0);
    return 0;
}

/* Makes the start its own; false if another thread has done so and succeeded. Waits for one that is just
 * starting, or ending what could not be started. */
static bool begin_start(struct memsc_process *process)
{
    for (;;) {
        uint32_t state = MEMSC_STOPPED;
        if (atomic_compare_exchange_strong(&process->state, &state, MEMSC_STARTING))
            return true;
        if (state == MEMSC_RUNNING)
            return false;
        const struct timespec a_while = {.tv_nsec = 50000};
        MEMSC_SYS(SYS_nanosleep, &a_while, 0, 0, 0, 0, 0);
    }
}

static void set_up(struct memsc_process *process, const struct memsc_options *options)
{
    process->memory = -1; /* all is zero, and that is a descriptor of the program's */
    process->transport = options->transport;
    process->service_mode = options->service_mode;
    process->keep = options->keep;
    process->probe_every = options->probe_every;
    process->symmetric =
        options->transport == MEMSC_IPI || options->transport == MEMSC_ADAPTIVE ||
        MEMSC_SYS(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0, 0, 0, 0) < 0;
    bool ipi = options->transport == MEMSC_IPI;
    memsc_look_pace(&process->pace, cycles_per_us());
    memsc_handoff_choose(&process->handoff, options->handoff);
    process->handoff.learns &= !ipi && options->spin_us != 0;
    process->spin_cycles = ipi ? 0 : to_cycles(options->spin_us);
    process->pooled_spin_cycles = to_cycles(POOLED_SPIN_US);
    if (process->pooled_spin_cycles > process->spin_cycles || options->spin_us == UINT32_MAX)
        process->pooled_spin_cycles = process->spin_cycles;
    process->idle_cycles = to_cycles(options->idle_us);
    process->stuck_cycles = to_cycles(STUCK_US);
    process->quantum_cycles = to_cycles(QUANTUM_US);
}

static void tear_down(struct memsc_process *process)
{
    memsc_pages_destroy(process);
    memsc_region_destroy(process);
    /* All zero again; the state last, for who finds it stopped may start at once. */
    MEMSC_SYS(SYS_madvise, (char *)process + FIRST_PAGE, PROCESS_BYTES - FIRST_PAGE, MADV_DONTNEED,
              0, 0, 0);
    for (size_t at = sizeof process->state; at < FIRST_PAGE; at++)
        ((volatile char *)process)[at] = 0;
    atomic_store(&process->state, MEMSC_STOPPED);
}

int memsc_process_start(const struct memsc_options *given)
{
    struct memsc_options options = *given;
    int error = check(&options);
    if (error || (error = private_mapping()))
        return error;
    struct memsc_process *process = __atomic_load_n(&memsc_the_process, __ATOMIC_ACQUIRE);
    if (!begin_start(process))
        return -EALREADY;
    memsc_thread_forget();
    memsc_session_use(&options);
    set_up(process, &options);
    error = memsc_region_create(process, &options);
    if (!error)
        error = memsc_pages_create(process);
    if (!error && options.transport != MEMSC_DIRECT)
        error = memsc_service_start(process, &options);
    if (error) {
        process->keep = false;
        tear_down(process);
        return error;
    }
    memsc_region_offer(process);
    /* Last of all: from now on threads register, and what they use cannot be taken from them. */
    atomic_store(&process->state, MEMSC_RUNNING);
    return 0;
}

int memsc_process_stop(void)
{
    struct memsc_process *process = memsc_running_process();
    if (!process)
        return -ENOTCONN;
    memsc_lock(&process->lock);
    bool used = !memsc_running() || atomic_load(&process->region->active);
    if (!used)
        atomic_store(&process->state, MEMSC_STOPPING); /* from now on nobody registers */
    memsc_unlock(&process->lock);
    if (used)
        return -EBUSY;
    memsc_service_stop(process);
    atomic_store(&process->region->finished, 1);
    tear_down(process);
    return 0;
}

void memsc_process_finish(struct memsc_process *process)
{
    memsc_region_finish(process);
    memsc_service_finish(process);
}

/* ---- threads ---- */

/* Since 2.35 the C library registers each thread with the kernel for restartable sequences, and the
 * kernel keeps the thread's CPU there. */
extern const ptrdiff_t __rseq_offset __attribute__((weak));
extern const unsigned int __rseq_size __attribute__((weak));

const volatile uint32_t *memsc_own_cpu(void)
{
    static const uint32_t unknown = UINT16_MAX;
    enum { CPU_ID = 4 /* offset in struct rseq */ };
    if (!&__rseq_offset || !&__rseq_size || __rseq_size == 0)
        return &unknown;
    return (const volatile uint32_t *)((char *)__builtin_thread_pointer() + __rseq_offset + CPU_ID);
}

/* A slot for the calling thread, with memory behind it; called with the registration lock held. */
static int claim(struct memsc_process *process)
{
    uint32_t used = atomic_load(&process->region->slots_used), i = 0;
    while (i < used && atomic_load(&process->slots[i].state) != MEMSC_SLOT_FREE)
        i++;
    if (i == MEMSC_MAX_SLOTS)
        return -EAGAIN;
    /* First of all: nothing may touch a slot that has no memory yet. */
    int error = memsc_region_open_slot(process, i);
    if (error < 0)
        return error;
    atomic_store(&process->slots[i].state, MEMSC_SLOT_ACTIVE);
    if (i == used)
        atomic_store(&process->region->slots_used, i + 1);
    return (int)i;
}

static void watch(struct memsc_process *process, uint32_t index)
{
    struct memsc_self *self = &process->selves[index];
    struct memsc_slot *slot = &process->slots[index];
    bool scanner = process->service_mode == MEMSC_SCANNER;
    uint32_t first = scanner ? 1 : 0;
    uint32_t service = first + index % (process->services - first);
    slot->service = service;
    self->line = &process->region->service[service];
    self->doorbell = &process->region->service[scanner ? 0 : service].parked;
    if (memsc_needs_own_cpu(process->transport)) {
        self->service_cpus[0] = process->region->service[scanner ? 0 : service].cpu;
        self->service_cpus[1] = self->line->cpu;
    }
    atomic_fetch_or(&process->pages->active[service][index / 64], 1ull << index % 64);
}

int memsc_thread_register(void)
{
    if (memsc_self && memsc_self->slot)
        return -EALREADY;
    struct memsc_process *process = memsc_running_process();
    if (!process)
        return -ENOTCONN;
    memsc_lock(&process->lock);
    if (!memsc_running()) { /* any more */
        memsc_unlock(&process->lock);
        return -ENOTCONN;
    }
    int index = claim(process);
    if (index < 0) {
        memsc_unlock(&process->lock);
        atomic_fetch_add(&process->region->unpaged, 1);
        return index;
    }
    struct memsc_self *self = &process->selves[index];
    struct memsc_slot *slot = &process->slots[index];
    self->index = (uint32_t)index;
    self->tid = (uint32_t)MEMSC_SYS(SYS_gettid, 0, 0, 0, 0, 0, 0);
    slot->tid = self->tid;
    slot->generation++;
    self->ring_mask = process->region->ring_records - 1;
    self->cpu = memsc_own_cpu();
    self->draws = memsc_cycles() ^ (uint64_t)self->tid << 32;
    self->service_cpus[0] = self->service_cpus[1] = MEMSC_NO_CPU;
    if (process->transport != MEMSC_DIRECT)
        watch(process, (uint32_t)index);
    atomic_fetch_add(&process->region->active, 1);
    self->entries = memsc_entries(process, slot);
    self->slot = slot;
    memsc_unlock(&process->lock);
    memsc_self = self;
    return 0;
}

int memsc_thread_unregister(void)
{
    struct memsc_self *self = memsc_self;
    if (!self || !self->slot)
        return -ENOTCONN;
    while (self->in_flight) {
        long discarded;
        memsc_retval(memsc_wait_any(), &discarded);
    }
    struct memsc_process *process = memsc_process();
    memsc_self = NULL;
    memsc_lock(&process->lock);
    if (process->transport != MEMSC_DIRECT)
        atomic_fetch_and(&process->pages->active[self->slot->service][self->index / 64],
                         ~(1ull << self->index % 64));
    struct memsc_slot *slot = self->slot;
    self->slot = NULL;
    atomic_fetch_sub(&process->region->active, 1);
    atomic_store(&slot->state, MEMSC_SLOT_FREE);
    memsc_unlock(&process->lock);
    return 0;
}
