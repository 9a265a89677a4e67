/* SPDX-License-Identifier: MIT */
#include "local.h"

#include <errno.h>
#include <linux/fcntl.h>
#include <linux/futex.h>
#include <linux/mman.h>
#include <linux/sched.h>
#include <stddef.h>
#include <sys/syscall.h>

#include "../src/cpu.h"
#include "../src/barrier.h"
#include "../src/signals.h"
#include "../src/table.h"
#include "../src/thread.h"
#include "changes.h"
#include "dispatch.h"
#include "environment.h"
#include "joining.h"
#include "own_calls.h"
#include "peek.h"
#include "retire.h"
#include "stats.h"

enum {
    EXECUTABLE = 1, /* X_OK */
    FIRST_TASK = 1, /* of a PID namespace: the first of the next one has that number, too */
};

/* A list that has nothing on it, for a task that has none. */
static struct robust_list_head nothing_held = {{&nothing_held.list}, 0, NULL};

/* Where the kernel has the calling task's robust list; 0: it has none. */
static uint64_t robust_list(void)
{
    uint64_t head = 0, size;
    MEMSC_SYS(SYS_get_robust_list, 0, &head, &size, 0, 0, 0);
    return head;
}

static void set_robust_list(struct robust_list_head *head)
{
    MEMSC_SYS(SYS_set_robust_list, head, sizeof *head, 0, 0, 0, 0);
}

/* A child that borrows the calling task's memory is told by its number, but for one that is the first of its PID
 * namespace as its parent is: by its robust list, which a parent has and a new task has not. No other can have the
 * same: whose children are of another namespace can make no thread, and so has no service. */
static void before_lending(void)
{
    struct memsc_layer_thread *thread = &memsc_layer_thread;
    uint32_t tid = (uint32_t)MEMSC_SYS(SYS_gettid, 0, 0, 0, 0, 0, 0);
    thread->vfork_list = tid == FIRST_TASK ? robust_list() : 0;
    if (tid == FIRST_TASK && !thread->vfork_list) {
        set_robust_list(&nothing_held);
        thread->vfork_list = robust_list();
    }
    thread->vfork_parent = tid;
}

bool memsc_is_borrowing(void)
{
    struct memsc_layer_thread *thread = &memsc_layer_thread;
    uint32_t tid = (uint32_t)MEMSC_SYS(SYS_gettid, 0, 0, 0, 0, 0, 0);
    if (tid != thread->vfork_parent || (thread->vfork_list && robust_list() != thread->vfork_list))
        return true;
    if (thread->vfork_list == (uintptr_t)&nothing_held)
        set_robust_list(NULL);
    thread->vfork_parent = 0;
    memsc_environment_release();
    return false;
}

/* A new task. One that shares the memory and has thread-local storage of its own registers itself, if
 * it belongs to this process. Without, it and its parent cannot be told apart here. */
static void before_clone(uint64_t flags)
{
    if (!(flags & CLONE_VM))
        return;
    /* By its first calls alone a process needs no region; of tasks that share memory one must have it, so that
     * all know whose it is, and which threads are the program's. */
    if (!(flags & CLONE_VFORK) && !memsc_layer_thread.never)
        memsc_join();
    if (flags & CLONE_VFORK) {
        before_lending();
    } else if (!(flags & CLONE_SETTLS)) {
        memsc_leave();
        memsc_layer_thread.never = 1 + MEMSC_SHARED_THREAD;
    } else if (memsc_layer_thread.never == 1 + MEMSC_THREAD_CHANGED) {
        /* A thread inherits what its maker has changed, and cannot be told from others' here. */
        store_relaxed(&memsc_layer.own->changed, true);
    }
}

static void before_change(void)
{
    if (!memsc_leave_and_stop())
        memsc_layer_thread.never = 1 + MEMSC_THREAD_CHANGED;
}

static void before_exit(void)
{
    memsc_stats_write("exit");
    /* A task that shares the memory but is a process of its own has no say in it. */
    if (memsc_has_region())
        memsc_process_finish(memsc_process());
}

/* Where nobody says how many threads there are, for there is no /proc: the service ends as soon as no thread has
 * a page, so that it outlives none. Who needs it starts it again. */
static void stop_if_unused(void)
{
    memsc_stats_keep(1);
    if (memsc_process_stop() != 0)
        memsc_stats_keep(-1);
}

/* A thread that ends takes the process with it if it is the program's last: the service's threads, which
 * nobody knows of, must not stay behind. */
static void before_thread_exit(uint64_t status)
{
    memsc_leave();
    if (!memsc_has_region())
        return;
    memsc_block_signals();
    if (memsc_threads_of_program() == 0) {
        stop_if_unused();
        return;
    }
    if (!memsc_last_thread_leaves())
        return;
    before_exit();
    MEMSC_SYS(SYS_exit_group, status, 0, 0, 0, 0, 0);
}

/* Shells and execvp try one folder of PATH after the other; that is no exec. */
static const char *executed(long number, const uint64_t args[6])
{
    bool at = number == SYS_execveat;
    uint64_t folder = at ? args[0] : (uint64_t)AT_FDCWD, path = args[at];
    bool found = MEMSC_SYS(SYS_faccessat, folder, path, EXECUTABLE, 0, 0, 0) == 0;
    return found ? (const char *)path : NULL;
}

struct memsc_answer memsc_execute(long number, const uint64_t args[6], bool borrowed)
{
    const char *path = executed(number, args);
    if (!path && number != SYS_execveat)
        return (struct memsc_answer){0, 0};
    if (!borrowed)
        memsc_stats_write("exec");
    if (path)
        memsc_stats_execute(path, memsc_environment_obstacle());
    long result = memsc_environment_execute(number, args, false);
    /* Programs fill that room to the brim, and ask nobody but the kernel how much there is. */
    if (result == -E2BIG) {
        if (path)
            memsc_stats_execute(path, "its arguments leave no room for memsc's variables");
        result = memsc_environment_execute(number, args, true);
    }
    return (struct memsc_answer){result, 1};
}

void memsc_before_local(long number, const uint64_t args[6])
{
    if (memsc_retires(number, args)) {
        memsc_retire(memsc_layer_thread.never != 1 + MEMSC_SHARED_THREAD, "filter");
        return;
    }
    /* One that shares its memory makes its calls itself, and its parent is not traced. */
    if (memsc_asks_to_be_traced(number, args)) {
        if (memsc_layer_thread.never != 1 + MEMSC_SHARED_THREAD)
            memsc_retire(true, "traced");
        return;
    }
    if (memsc_changes_thread(number, args)) {
        memsc_environment_leave_path();
        before_change();
        return;
    }
    switch (number) {
    case SYS_chroot:
    case SYS_pivot_root:
    case SYS_mount:
    case SYS_umount2:
        memsc_environment_leave_path();
        break;
    case SYS_exit:
        before_thread_exit(args[0]);
        break;
    case SYS_exit_group:
        before_exit();
        break;
    case SYS_clone:
        before_clone(args[0]);
        break;
    case SYS_clone3:
        before_clone(memsc_peek(args[0])); /* flags come first */
        break;
    default:
        if (memsc_own_vfork(number))
            before_clone(CLONE_VM | CLONE_VFORK);
        if (number == SYS_signalfd4 || memsc_own_signalfd(number))
            memsc_signals_are_watched();
        break;
    }
}
