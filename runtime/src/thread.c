/* SPDX-License-Identifier: MIT */
#include "thread.h"

#include <linux/mman.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <stddef.h>
#include <sys/syscall.h>

#include "handshake.h"
#include "signals.h"

struct thread {
    void (*run)(void *);
    void *argument;
    struct thread *next;
    _Atomic uint32_t alive; /* futex; cleared when the thread no longer needs its stack */
    uint32_t cpu;
    char name[16];
};

static struct thread *_Atomic threads;

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
    self->next = load_relaxed(&threads);
    /* Release: whoever takes the list sees what describe() wrote. */
    while (!atomic_compare_exchange_weak_explicit(&threads, &self->next, self, memory_order_release,
                                                  memory_order_relaxed))
        ;
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
    store_relaxed(&threads, NULL);
}

#if MEMSC_PTHREADS

/* Sanitizers follow only threads that the C library made. */
#include <pthread.h>
#include <stdlib.h>

static _Thread_local struct thread *current;

static void *pthread_main(void *argument)
{
    current = argument;
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
    int error = pthread_create(&thread, &attributes, pthread_main, self);
    memsc_set_signals(before);
    pthread_attr_destroy(&attributes);
    if (error)
        free(self);
    else
        remember(self);
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
    /* The kernel clears `alive` and wakes its futex when the thread has left its stack for good. */
    long tid = memsc_thread_clone(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
                                      CLONE_SYSVSEM | CLONE_SETTLS | CLONE_CHILD_CLEARTID,
                                  start, NULL, &self->alive, control_block);
    memsc_set_signals(before);
    if (tid < 0) {
        MEMSC_SYS(SYS_munmap, base, SIZE, 0, 0, 0, 0);
        return (int)tid;
    }
    remember(self);
    return 0;
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

void memsc_thread_join_all(void)
{
    struct thread *self;
    /* Again and again: a thread that is waited for may have started one before it noticed the end.
     * Acquire: pairs with remember(). */
    while ((self = atomic_exchange_explicit(&threads, NULL, memory_order_acquire)))
        while (self) {
            struct thread *next = self->next;
            /* Acquire: the thread's last writes come before its stack goes. */
            while (load_acquire(&self->alive))
                memsc_futex_wait(&self->alive, 1, 10000);
            release(self);
            self = next;
        }
}
