/* SPDX-License-Identifier: MIT
 *
 * The service, its pool and its scanner, at work on memory that changes under them (hostile.h): the
 * program's own region and syspages, the registry that they share with others, another process's pages.
 *
 * Everything runs on one thread: what the service starts as a thread is run from inside its system
 * calls, which are not made (raw.h). So a poller that is inside a call is replaced in the middle of it,
 * as by a caller who has waited too long.
 */
#include <errno.h>
#include <linux/futex.h>
#include <linux/ipc.h>
#include <linux/shm.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "registry.h"
#include "hostile.h"
#include "process.h"
#include "service.h"
#include "thread.h"
#include "token.h"

enum { SERVICES = 2, THREADS = 64, DEEPEST = 12, LOADS = 20000, CALLS = 20000, STACK = 8 << 20 };

static struct memsc_process whole;
struct memsc_process *memsc_the_process = &whole;
bool memsc_unseen;
_Thread_local struct memsc_self *memsc_self __attribute__((tls_model("initial-exec")));

static struct memsc_region *region;
static struct memsc_slot *slots;
static struct memsc_pages *pages, *others; /* the others' are read-only, as in life */
static struct memsc_registry *registry;

/* ---- threads ---- */

static struct {
    void (*run)(void *);
    void *argument;
} started[THREADS];
static int started_first, started_last, depth, calls_left;
static jmp_buf ends[DEEPEST + 1];

int memsc_thread_start(void (*run)(void *), void *argument, uint32_t cpu, const char *name)
{
    (void)cpu, (void)name;
    if (started_last == THREADS)
        return -EAGAIN;
    started[started_last].run = run;
    started[started_last++].argument = argument;
    return 0;
}

_Noreturn void memsc_thread_exit(void)
{
    longjmp(ends[depth], 1);
}

/* Nobody calls back here, so a service that has something to wait for has had its own memory changed. */
void memsc_await_recalls(struct memsc_worker *worker)
{
    if (atomic_load(&worker->sent) != atomic_load(&worker->received))
        abort();
}

static void run_next(void)
{
    if (started_first == started_last || depth == DEEPEST)
        return;
    int next = started_first++;
    depth++;
    if (!setjmp(ends[depth]))
        started[next].run(started[next].argument);
    depth--;
}

static void stop(void)
{
    atomic_store(&whole.state, MEMSC_STOPPING);
}

/* ---- the kernel ---- */

/* Other threads of the process meanwhile. */
static void elsewhere(void)
{
    if (calls_left-- <= 0)
        stop();
    struct memsc_service *service = &whole.service[memsc_choose(SERVICES)];
    if (atomic_load(&service->lock.word))
        return;
    switch (memsc_choose(16)) {
    case 0:
        memsc_self = &whole.selves[memsc_choose(4)];
        memsc_service_ask_takeover(service);
        run_next();
        break;
    case 1:
    case 2:
        run_next();
        break;
    default:
        break;
    }
}

static long attached(int id)
{
    if (memsc_choose(8) == 0)
        return -EINVAL;
    return (long)(id == 1 ? (void *)registry : (void *)others);
}

static long told(struct shmid64_ds *stat, int id)
{
    memset(stat, 0, sizeof *stat);
    stat->shm_perm.mode = 0600 | (memsc_choose(16) ? 0 : 01000);
    stat->shm_perm.uid = memsc_choose(16) ? 0 : 1;
    stat->shm_segsz = id == 1 ? sizeof *registry : sizeof *others;
    stat->shm_nattch = memsc_choose(3);
    stat->shm_cpid = (int)memsc_choose(8);
    return memsc_choose(16) ? 0 : -EINVAL;
}

/* Whether it points to a variable of the service: hostile calls have the same numbers. */
static bool is_own(uint64_t pointer)
{
    char here;
    return pointer - (uintptr_t)&here < STACK;
}

/* … or sleeps on a word of the process, or of what it shares. */
static bool is_own_word(uint64_t pointer)
{
    return pointer - (uintptr_t)&whole < sizeof whole ||
           pointer - (uintptr_t)region < sizeof *region ||
           pointer - (uintptr_t)registry < sizeof *registry;
}

long memsc_fuzz_raw(long number, const uint64_t args[6])
{
    for (int i = 0; i < 6; i++)
        (void)*(const volatile uint64_t *)&args[i];
    switch (number) {
    case SYS_shmget:
        return 1;
    case SYS_shmat:
        return attached((int)args[0]);
    case SYS_shmctl:
        return args[1] == IPC_STAT && is_own(args[2]) ? told((void *)args[2], (int)args[0]) : 0;
    case SYS_fstat:
        if (is_own(args[1])) {
            static const uint32_t types[] = {S_IFREG, S_IFDIR, S_IFIFO, S_IFCHR};
            ((struct stat *)args[1])->st_mode = types[memsc_choose(4)];
            ((struct stat *)args[1])->st_rdev = memsc_choose(2) << 8;
        }
        elsewhere();
        return memsc_choose(8) ? 0 : -EBADF;
    case SYS_shmdt:
    case SYS_madvise:
    case SYS_membarrier:
    case SYS_set_robust_list:
    case SYS_geteuid:
        return 0;
    case SYS_gettid:
        return 4242;
    case SYS_futex:
        elsewhere();
        /* Some sleep for ever; the thread that had started them, inside a call of theirs, goes on. */
        if ((uint32_t)args[1] == FUTEX_WAIT && is_own_word(args[0]) && memsc_choose(4) == 0)
            memsc_thread_exit();
        return memsc_choose(2) ? 0 : -ETIMEDOUT;
    case SYS_sched_yield:
        elsewhere();
        return memsc_choose(2) ? 0 : -ETIMEDOUT;
    case SYS_ppoll:
        return (long)memsc_choose(2);
    case SYS_readlinkat:
        if (is_own(args[2])) { /* the kernel writes no more than there is room for */
            static const char *const names[] = {"/proc/1/timerslack_ns", "[signalfd]", "/tmp/file"};
            const char *name = names[memsc_choose(3)];
            size_t size = strlen(name) < args[3] ? strlen(name) : args[3];
            memcpy((void *)args[2], name, size);
            elsewhere();
            return memsc_choose(8) ? (long)size : -ENOENT;
        }
        __attribute__((fallthrough));
    default:
        elsewhere();
        return memsc_choose(2) ? (long)memsc_choose(8192) : -(long)memsc_choose(134);
    }
}

/* ---- one run ---- */

static void *memory(size_t bytes)
{
    void *address = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (address == MAP_FAILED)
        abort();
    return address;
}

static void prepare(void)
{
    region = memory(sizeof *region);
    slots = memory(MEMSC_MAX_SLOTS * sizeof *slots);
    pages = memory(sizeof *pages);
    registry = memory(sizeof *registry);
    int fd = memfd_create("others", 0);
    if (fd < 0 || ftruncate(fd, sizeof *others))
        abort();
    void *writable = mmap(NULL, sizeof *others, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    others = mmap(NULL, sizeof *others, PROT_READ, MAP_SHARED, fd, 0);
    if (writable == MAP_FAILED || (void *)others == MAP_FAILED)
        abort();
    memsc_hostile(region, sizeof *region, region);
    memsc_hostile(slots, MEMSC_MAX_SLOTS * sizeof *slots, slots);
    memsc_hostile(pages, sizeof *pages, pages);
    memsc_hostile(registry, sizeof *registry, registry);
    memsc_hostile(others, sizeof *others, writable);
    memsc_hostile_entries(pages->page, MEMSC_MAX_SLOTS * MEMSC_PAGE_ENTRIES);
}

static void set_up(bool scanner)
{
    whole.region = region;
    whole.slots = slots;
    whole.pages = pages;
    whole.pages_id = 2;
    whole.transport = memsc_choose(4) ? MEMSC_MEMSC : MEMSC_IPI;
    memsc_unseen = memsc_choose(4) == 0;
    whole.service_mode = scanner ? MEMSC_SCANNER : MEMSC_INLINE;
    whole.services = SERVICES;
    whole.probe_every = 1;
    whole.idle_cycles = 3000;
    whole.stuck_cycles = whole.quantum_cycles = 1000;
    for (int i = 0; i < SERVICES; i++) {
        struct memsc_service *service = &whole.service[i];
        service->line = &region->service[i];
        service->active = pages->active[i];
        service->parked = &service->line->parked;
        if (whole.transport == MEMSC_MEMSC && (i == 0 || !scanner)) {
            service->membership.quantum = whole.quantum_cycles;
            memsc_registry_open(&service->membership, (uint32_t)i);
        }
    }
    for (int i = 0; i < 4; i++)
        whole.selves[i].slot = &slots[i];
    started_first = started_last = depth = 0;
    calls_left = CALLS;
}

static void tear_down(void)
{
    memsc_hostile_end();
    for (int i = 0; i < SERVICES; i++) {
        struct memsc_service *service = &whole.service[i];
        for (struct memsc_job *job = service->first; job; job = job->next)
            job->queued = false;
        memset(service, 0, sizeof *service);
    }
    memset(region, 0, sizeof *region);
    memset(registry, 0, sizeof *registry);
    memset((void *)whole.kinds, 0, sizeof whole.kinds);
    memsc_workers_reset();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!region)
        prepare();
    memsc_choices_from(data, size);
    bool scanner = memsc_choose(2);
    set_up(scanner);
    atomic_store(&whole.state, MEMSC_RUNNING);
    memsc_hostile_begin(LOADS, stop);
    if (scanner)
        memsc_thread_start(memsc_scanner_main, &whole, 0, "");
    for (int i = scanner; i < SERVICES; i++) {
        memsc_lock(&whole.service[i].lock);
        memsc_worker_start(&whole, &whole.service[i]);
        memsc_unlock(&whole.service[i].lock);
    }
    while (started_first < started_last)
        run_next();
    tear_down();
    return 0;
}
