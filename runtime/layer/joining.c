/* SPDX-License-Identifier: MIT */
#include "joining.h"

#include <asm/signal.h>
#include <errno.h>
#include <stddef.h>
#include <sys/syscall.h>

#include "../src/cpu.h"
#include "dispatch.h"

/* The C library's own word for whether the process has threads; glibc has it since 2.32. */
extern char __libc_single_threaded __attribute__((weak));

/* Registration takes locks: a handler that interrupted it and registered too would wait for itself,
 * and one that jumped out would leave them locked. */
static uint64_t block_signals(void)
{
    uint64_t all = ~0ull, before = 0;
    MEMSC_SYS(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof all, 0, 0);
    return before;
}

static void restore_signals(uint64_t before)
{
    MEMSC_SYS(SYS_rt_sigprocmask, SIG_SETMASK, &before, 0, sizeof before, 0, 0);
}

static enum memsc_join join(void)
{
    if (memsc_running()) {
        uint32_t pid = (uint32_t)MEMSC_SYS(SYS_getpid, 0, 0, 0, 0, 0, 0);
        /* The service would act on the files of the process that made the region. */
        if (memsc_process->region->pid != pid)
            return MEMSC_JOIN_FOREIGN;
    } else {
        int error = memsc_process_start(&memsc_layer.options);
        if (error && error != -EALREADY)
            return MEMSC_JOIN_LATER;
    }
    return memsc_thread_register() == 0 ? MEMSC_JOINED : MEMSC_JOIN_LATER;
}

enum memsc_join memsc_join(void)
{
    uint64_t before = block_signals();
    enum memsc_join joined = memsc_has_page() ? MEMSC_JOINED : join();
    restore_signals(before);
    return joined;
}

void memsc_leave(void)
{
    if (!memsc_has_page())
        return;
    if (memsc_self->busy) {
        memsc_leave_unfinished();
        return;
    }
    uint64_t before = block_signals();
    memsc_thread_unregister();
    restore_signals(before);
}

/* Whether the service still works for this page, and may write where a call's arguments point. */
static bool is_worked_on(const struct memsc_entry *entries)
{
    for (uint32_t i = 0; i < MEMSC_PAGE_ENTRIES; i++) {
        /* Acquire: what the call wrote is there before anybody uses the memory again. */
        uint32_t status =
            atomic_load_explicit(&entries[i].status, memory_order_acquire) & MEMSC_STATE_MASK;
        if (status == MEMSC_SUBMITTED || status == MEMSC_TAKEN)
            return true;
    }
    return false;
}

void memsc_leave_unfinished(void)
{
    while (is_worked_on(memsc_self->entries))
        MEMSC_SYS(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
    /* Where the thread and the service stand in the page may differ now, so nobody gets it again. */
    memsc_self = NULL;
}

bool memsc_leave_and_stop(void)
{
    memsc_leave();
    if (!memsc_running())
        return true;
    bool alone = &__libc_single_threaded && __libc_single_threaded;
    return alone && memsc_process_stop() == 0;
}
