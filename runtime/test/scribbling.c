/* SPDX-License-Identifier: MIT
 * A thread scribbles over its own page, slot and head while others of its process make calls: they get
 * their results, and the process goes on. Nothing dangerous is asked for, for it would be executed. */
#include "check.h"

#include <pthread.h>

#include "process.h"

enum { CALLS = 20000, SCRIBBLES = 1000000, CALLERS = 2 };

/* What the service executes, hands to its pool, must refuse, or does not know. */
static const uint32_t numbers[] = {SYS_getppid,
                                   SYS_sched_yield,
                                   SYS_nanosleep,
                                   SYS_clone,
                                   SYS_rt_sigreturn,
                                   SYS_exit_group,
                                   SYS_exit,
                                   SYS_execve,
                                   SYS_futex,
                                   511,
                                   512,
                                   UINT32_MAX};

static _Atomic int callers;

static uint64_t any(void)
{
    static uint64_t state = 88172645463325252ull;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static uint64_t argument(void)
{
    uint64_t value = any();
    return value % 3 == 0 ? 0 : value % 3 == 1 ? UINT64_MAX : value | 1ull << 63;
}

static void *caller(void *nothing)
{
    CHECK_EQUAL(memsc_thread_register(), 0);
    for (int i = 0; i < CALLS; i++) {
        long result;
        CHECK_EQUAL(memsc_call(SYS_getppid, NO_ARGS, &result), 0);
        CHECK_EQUAL(result, getppid());
    }
    CHECK_EQUAL(memsc_thread_unregister(), 0);
    atomic_fetch_sub(&callers, 1);
    return nothing;
}

static void scribble(struct memsc_self *self)
{
    uint32_t index = (uint32_t)any() % MEMSC_PAGE_ENTRIES;
    volatile struct memsc_entry *entry = &self->entries[index];
    volatile struct memsc_slot *slot = self->slot;
    switch (any() % 8) {
    case 0:
        memsc_process()->pages->heads[self->index].entry = (uint32_t)any();
        return;
    case 1:
        slot->sleeping = (uint32_t)any() % 300;
        return;
    case 2:
        slot->tid = (uint32_t)any();
        return;
    case 3:
        entry->args[any() % 6] = argument();
        return;
    case 4:
        entry->number = numbers[any() % (sizeof numbers / sizeof *numbers)];
        return;
    default:
        entry->status = (uint32_t)any() % 5 | (uint32_t)any() << 8;
    }
}

static void scribbles(const struct memsc_options *options)
{
    if (options->transport == MEMSC_DIRECT)
        return;
    CHECK_EQUAL(memsc_process_start(options), 0);
    CHECK_EQUAL(memsc_thread_register(), 0);
    pthread_t threads[CALLERS];
    atomic_store(&callers, CALLERS);
    for (int i = 0; i < CALLERS; i++)
        CHECK_EQUAL(pthread_create(&threads[i], NULL, caller, NULL), 0);
    /* Entries are made whole once: an argument that points somewhere might be believed. */
    for (int i = 0; i < MEMSC_PAGE_ENTRIES; i++)
        for (int k = 0; k < 6; k++)
            memsc_self->entries[i].args[k] = argument();
    for (int i = 0; i < SCRIBBLES || atomic_load(&callers); i++) {
        scribble(memsc_self);
        if (i % 64 == 0)
            sched_yield(); /* the callers share this CPU */
    }
    for (int i = 0; i < CALLERS; i++)
        CHECK_EQUAL(pthread_join(threads[i], NULL), 0);
    CHECK_EQUAL(memsc_thread_unregister(), 0);
    CHECK_EQUAL(memsc_process_stop(), 0);
}

int main(void)
{
#ifdef THREAD_SANITIZER
    fprintf(stderr, "races are what it is about\n");
    return 77;
#endif
    each_transport(scribbles);
    return 0;
}
