/* SPDX-License-Identifier: MIT */
#include "local.h"

#include <errno.h>
#include <linux/fcntl.h>
#include <linux/mman.h>
#include <linux/sched.h>
#include <stddef.h>
#include <sys/syscall.h>

#include "../src/cpu.h"
#include "../src/signals.h"
#include "../src/thread.h"
#include "dispatch.h"
#include "filters.h"
#include "joining.h"
#include "own_calls.h"
#include "stats.h"

enum { EXECUTABLE = 1 /* X_OK */ };

/* A new task. One that shares the memory and has thread-local storage of its own registers itself, if
 * it belongs to this process. Without, it and its parent cannot be told apart here. */
static void before_clone(uint64_t flags)
{
    if (!(flags & CLONE_VM))
        return;
    if (flags & CLONE_VFORK) {
        memsc_layer_thread.vfork_parent = (uint32_t)MEMSC_SYS(SYS_gettid, 0, 0, 0, 0, 0, 0);
    } else if (!(flags & CLONE_SETTLS)) {
        memsc_leave();
        memsc_layer_thread.never = 1 + MEMSC_SHARED_THREAD;
    }
}

/* The word at an address, 0 if there is none: programs probe for system calls with nonsense, which
 * the kernel forgives, so we must. */
static uint64_t peek(uint64_t address)
{
    uint64_t word = 0;
    struct {
        uint64_t address, size;
    } here = {(uint64_t)&word, sizeof word}, there = {address, sizeof word};
    if (!address)
        return 0;
    long pid = MEMSC_SYS(SYS_getpid, 0, 0, 0, 0, 0, 0);
    long error = MEMSC_SYS(SYS_process_vm_readv, pid, &here, 1, &there, 1, 0);
    if (error < 0 && error != -EFAULT) /* forbidden here; such programs are past their probing */
        word = *(const uint64_t *)address;
    return word;
}

/* The service's threads keep the credentials, files and name spaces they were started with. A
 * program of one thread gets new ones that have its own; in others this thread is on its own. */
static void before_change(void)
{
    if (memsc_leave_and_stop())
        return;
    memsc_layer_thread.never = 1 + MEMSC_THREAD_CHANGED;
    /* Threads that it makes inherit the change, and cannot be told from others' here. */
    uint32_t pid = (uint32_t)MEMSC_SYS(SYS_getpid, 0, 0, 0, 0, 0, 0);
    store_relaxed(&memsc_layer.changed, pid);
}

static void before_exit(void)
{
    memsc_stats_write("exit");
    /* A task that shares the memory but is a process of its own has no say in it. */
    if (memsc_running() &&
        memsc_process->region->pid == (uint32_t)MEMSC_SYS(SYS_getpid, 0, 0, 0, 0, 0, 0))
        memsc_process_finish(memsc_process);
}

/* A thread that ends takes the process with it if it is the program's last: the service's threads, which
 * nobody knows of, must not stay behind. */
static void before_thread_exit(uint64_t status)
{
    memsc_leave();
    if (!memsc_running() ||
        memsc_process->region->pid != (uint32_t)MEMSC_SYS(SYS_getpid, 0, 0, 0, 0, 0, 0))
        return;
    memsc_block_signals();
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

static void before_exec(long number, const uint64_t args[6])
{
    const char *path = executed(number, args);
    if (path || number == SYS_execveat)
        memsc_stats_write("exec");
    if (path)
        memsc_stats_execute(path);
}

void memsc_before_borrowed(long number, const uint64_t args[6])
{
    if (number != SYS_execve && number != SYS_execveat)
        return;
    const char *path = executed(number, args);
    if (path)
        memsc_stats_execute(path);
}

void memsc_before_local(long number, const uint64_t args[6])
{
    if (memsc_installs_filter(number, args)) {
        memsc_before_filter(memsc_layer_thread.never != 1 + MEMSC_SHARED_THREAD);
        return;
    }
    if (memsc_own_vfork(number)) {
        before_clone(CLONE_VM | CLONE_VFORK);
        return;
    }
    switch (number) {
    case SYS_exit:
        before_thread_exit(args[0]);
        break;
    case SYS_exit_group:
        before_exit();
        break;
    case SYS_execve:
    case SYS_execveat:
        before_exec(number, args);
        break;
    case SYS_clone:
        before_clone(args[0]);
        break;
    case SYS_clone3:
        before_clone(peek(args[0])); /* flags come first */
        break;
    case SYS_setuid:
    case SYS_setgid:
    case SYS_setreuid:
    case SYS_setregid:
    case SYS_setresuid:
    case SYS_setresgid:
    case SYS_setgroups:
    case SYS_setfsuid:
    case SYS_setfsgid:
    case SYS_capset:
    case SYS_unshare:
    case SYS_setns:
    case SYS_landlock_restrict_self:
        before_change();
        break;
    }
}
