/* SPDX-License-Identifier: MIT */
#include "thread.h"

#include <asm/stat.h>
#include <linux/fcntl.h>
#include <linux/mman.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <stddef.h>
#include <sys/syscall.h>

#include "handshake.h"
#include "lock.h"
#include "signals.h"

struct thread {
    void (*run)(void *);
    void *argument;
    struct thread *next;
    _Atomic uint32_t alive; /* futex; cleared when the thread no longer needs its stack */
    _Atomic uint32_t tid;
    uint32_t cpu;
    char name[16];
};

enum { LEAVERS = 64 /* threads of the program that are just ending */ };

static struct memsc_lock threads_lock; /* held while one is made, so that list and kernel agree */
static struct thread *threads;
static uint32_t leavers[LEAVERS];

static void describe(struct thread *self, void (*run)(void *), void *argument, uint32_t cpu,
                     const char *name)
{
    self->run = run;
    self->argument = argument;
    self->cpu = cpu;
    int i = 0;
    for (; i < 15 && name[i]; i++)
        self->name[i] = name[i];
    self->name[i] = 0;
    store_relaxed(&self->alive, 1);
}

static void remember(struct thread *self)
{
    self->next = threads;
    threads = self;
}

static void settle(const struct thread *self)
{
    uint64_t mask[16] = {0};
    mask[self->cpu / 64 % 16] = 1ull << self->cpu % 64;
    /* Not fatal: a cpuset may have shrunk; then the thread runs where it is allowed to. */
    MEMSC_SYS(SYS_sched_setaffinity, 0, sizeof mask, mask, 0, 0, 0);
    MEMSC_SYS(SYS_prctl, PR_SET_NAME, self->name, 0, 0, 0, 0);
}

void memsc_thread_forget(void)
{
    store_relaxed(&threads_lock.word, 0);
    threads = NULL;
    for (uint32_t i = 0; i < LEAVERS; i++)
        leavers[i] = 0;
}

#if MEMSC_PTHREADS

/* Sanitizers follow only threads that the C library made. */
#include <pthread.h>
#include <stdlib.h>

static _Thread_local struct thread *current;

static void *pthread_main(void *argument)
{
    current = argument;
    store_relaxed(&current->tid, (uint32_t)MEMSC_SYS(SYS_gettid, 0, 0, 0, 0, 0, 0));
    settle(current);
    current->run(current->argument);
    memsc_thread_exit();
}

int memsc_thread_start(void (*run)(void *), void *argument, uint32_t cpu, const char *name)
{
    struct thread *self = calloc(1, sizeof *self);
    if (!self)
        return -12;
    describe(self, run, argument, cpu, name);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_t thread;
    /* As below. */
    uint64_t before = memsc_block_signals();
    memsc_lock(&threads_lock);
    int error = pthread_create(&thread, &attributes, pthread_main, self);
    if (!error)
        remember(self);
    memsc_unlock(&threads_lock);
    memsc_set_signals(before);
    pthread_attr_destroy(&attributes);
    if (error)
        free(self);
    return -error;
}

_Noreturn void memsc_thread_exit(void)
{
    store_release(&current->alive, 0);
    pthread_exit(NULL);
}

static void release(struct thread *self)
{
    free(self);
}

#else

/* Each thread's mapping: guard, stack, area. The area holds the description, and a self-pointer
 * where code that looks for a thread control block expects one. */
enum { GUARD = 4096, STACK = 64 * 1024, AREA = 4096, SIZE = GUARD + STACK + AREA };
enum { DESCRIPTION = 256, CONTROL_BLOCK = 1024 };

/* What lies at the top of a new thread's stack. */
struct start {
    void *argument;
    void (*run)(void *);
};

/* clone.S: takes that from the stack in the new thread. */
long memsc_thread_clone(unsigned long flags, void *stack, void *parent_tid, void *child_tid,
                        void *tls);

static void thread_main(void *argument)
{
    struct thread *self = argument;
    settle(self);
    self->run(self->argument);
    memsc_thread_exit();
}

int memsc_thread_start(void (*run)(void *), void *argument, uint32_t cpu, const char *name)
{
    long base =
        MEMSC_SYS(SYS_mmap, 0, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base < 0)
        return (int)base;
    MEMSC_SYS(SYS_mprotect, base, GUARD, PROT_NONE, 0, 0, 0);
    /* A forked child has no such thread and needs no copy of its stack. */
    MEMSC_SYS(SYS_madvise, base, SIZE, MADV_DONTFORK, 0, 0, 0);

    char *area = (char *)base + GUARD + STACK;
    struct thread *self = (struct thread *)(area + DESCRIPTION);
    describe(self, run, argument, cpu, name);
    void **control_block = (void **)(area + CONTROL_BLOCK);
    control_block[0] = control_block[2] = control_block;
    struct start *start = (struct start *)(area - sizeof *start);
    start->argument = self;
    start->run = thread_main;

    /* The new thread inherits the mask, and must never run a handler of the program. */
    uint64_t before = memsc_block_signals();
    memsc_lock(&threads_lock);
    /* The kernel clears `alive` and wakes its futex when the thread has left its stack for good. */
    long tid = memsc_thread_clone(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
                                      CLONE_SYSVSEM | CLONE_SETTLS | CLONE_CHILD_CLEARTID,
                                  start, NULL, &self->alive, control_block);
    if (tid > 0) {
        store_relaxed(&self->tid, (uint32_t)tid);
        remember(self);
    }
    memsc_unlock(&threads_lock);
    memsc_set_signals(before);
    if (tid < 0)
        MEMSC_SYS(SYS_munmap, base, SIZE, 0, 0, 0, 0);
    return tid < 0 ? (int)tid : 0;
}

_Noreturn void memsc_thread_exit(void)
{
    for (;;)
        MEMSC_SYS(SYS_exit, 0, 0, 0, 0, 0, 0);
}

static void release(struct thread *self)
{
    MEMSC_SYS(SYS_munmap, (char *)self - DESCRIPTION - STACK - GUARD, SIZE, 0, 0, 0, 0);
}

#endif

/* Whether the kernel still counts a thread of this process. */
static bool is_there(uint32_t tid)
{
    long pid = MEMSC_SYS(SYS_getpid, 0, 0, 0, 0, 0, 0);
    return MEMSC_SYS(SYS_tgkill, pid, tid, 0, 0, 0, 0) == 0;
}

static struct thread *take_all(void)
{
    uint64_t before = memsc_block_signals();
    memsc_lock(&threads_lock);
    struct thread *all = threads;
    threads = NULL;
    memsc_unlock(&threads_lock);
    memsc_set_signals(before);
    return all;
}

void memsc_thread_join_all(void)
{
    struct thread *self;
    /* Again and again: a thread that is waited for may have started one before it noticed the end. */
    while ((self = take_all()))
        while (self) {
            struct thread *next = self->next;
            /* Acquire: the thread's last writes come before its stack goes. */
            while (load_acquire(&self->alive))
                memsc_futex_wait(&self->alive, 1, 10000);
            while (is_there(load_relaxed(&self->tid)))
                MEMSC_SYS(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
            release(self);
            self = next;
        }
}

/* ---- the program's threads ---- */

/* Those of `leavers` that have not gone yet; *room: a free place, NULL if there is none. */
static int still_leaving(uint32_t **room)
{
    int still = 0;
    *room = NULL;
    for (uint32_t i = 0; i < LEAVERS; i++) {
        if (leavers[i] && is_there(leavers[i]))
            still++;
        else
            leavers[i] = 0, *room = &leavers[i];
    }
    return still;
}

/* The folder of a process's threads has a link for each. */
static int counted_by_kernel(void)
{
    struct stat status;
    long error = MEMSC_SYS(SYS_newfstatat, AT_FDCWD, "/proc/self/task", &status, 0, 0, 0);
    return error < 0 ? 0 : (int)status.st_nlink - 2;
}

/* Own threads that the kernel still counts. With the lock held. */
static int own(void)
{
    int count = 0;
    for (const struct thread *one = threads; one; one = one->next)
        count += is_there(load_relaxed(&one->tid));
    return count;
}

/* With the lock held. Those that are not the program's may go at any time, so they are looked at before the
 * kernel's count and behind it: only what was there both times is in it. */
static int of_program(uint32_t **room)
{
    for (;;) {
        int others = still_leaving(room) + own();
        int count = counted_by_kernel() - others;
        if (still_leaving(room) + own() == others)
            return count < 0 ? 0 : count;
    }
}

int memsc_threads_of_program(void)
{
    uint32_t *room;
    memsc_lock(&threads_lock);
    int count = of_program(&room);
    memsc_unlock(&threads_lock);
    return count;
}

bool memsc_last_thread_leaves(void)
{
    /* One by one, or the last two would each find the other still there. */
    memsc_lock(&threads_lock);
    uint32_t *room;
    int count;
    while (count = of_program(&room), !room)
        MEMSC_SYS(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
    bool last = count == 1;
    if (!last)
        *room = (uint32_t)MEMSC_SYS(SYS_gettid, 0, 0, 0, 0, 0, 0);
    memsc_unlock(&threads_lock);
    return last;
}
