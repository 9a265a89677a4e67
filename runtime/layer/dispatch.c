/* SPDX-License-Identifier: MIT
 *
 * One call's way from its slot to the runtime, or back to be run where it is.
 *
 * This runs in the middle of any function of the C library, under any of its locks, in signal
 * handlers, and in children that share their parent's memory. So it uses nothing of the C library,
 * no vector register (-mgeneral-regs-only), and little stack.
 */
#include "dispatch.h"

#include <errno.h>
#include <asm/signal.h>
#include <linux/fcntl.h>
#include <linux/sched.h>
#include <stddef.h>
#include <sys/syscall.h>

#include "../src/cpu.h"
#include "../src/forward.h"
#include "../src/process.h"
#include "../src/table.h"
#include "lost_signals.h"
#include "stats.h"
#include "stub.h"

/* The thread's state besides its registration. A forked child inherits it, a vforked one shares it. */
static _Thread_local struct {
    uint32_t never;        /* 1 + enum memsc_unforwarded: nothing is forwarded any more */
    uint32_t vfork_parent; /* thread that waits for a child which borrows this very memory */
    uint32_t refused;      /* registration failed this often */
} thread __attribute__((tls_model("initial-exec")));

enum {
    REFUSALS = 16,  /* then the thread tries no more */
    EXECUTABLE = 1, /* X_OK */
};

/* The C library's own word for whether the process has threads; glibc has it since 2.32. */
extern char __libc_single_threaded __attribute__((weak));

struct memsc_layer memsc_layer;

static const struct memsc_answer run_here = {0, 0};

static struct memsc_answer unforwarded(long number, enum memsc_unforwarded reason)
{
    if (memsc_class(number) != MEMSC_LOCAL)
        atomic_fetch_add_explicit(&memsc_layer.unforwarded[reason], 1, memory_order_relaxed);
    return run_here;
}

static bool is_alone(void)
{
    return &__libc_single_threaded && __libc_single_threaded;
}

static bool is_registered(void)
{
    return memsc_self && memsc_self->slot;
}

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

static void leave(void)
{
    if (!is_registered())
        return;
    uint64_t before = block_signals();
    memsc_thread_unregister();
    restore_signals(before);
}

static void leave_for_good(enum memsc_unforwarded reason)
{
    leave();
    thread.never = 1 + reason;
}

/* The service's threads keep the credentials, files and name spaces they were started with. A
 * program of one thread gets new ones that have its own; in others this thread is on its own. */
static void before_change(void)
{
    leave();
    if (memsc_running() && (!is_alone() || memsc_process_stop() != 0))
        leave_for_good(MEMSC_THREAD_CHANGED);
}

/* A new task that shares this memory. With thread-local storage of its own it registers itself, if
 * it belongs to this process. Without, it and its parent cannot be told apart here. */
static void before_clone(uint64_t flags)
{
    if (!(flags & CLONE_VM) || flags & CLONE_SETTLS)
        return;
    if (flags & CLONE_VFORK)
        thread.vfork_parent = (uint32_t)MEMSC_SYS(SYS_gettid, 0, 0, 0, 0, 0, 0);
    else
        leave_for_good(MEMSC_SHARED_THREAD);
}

/* Programs probe for clone3 with nonsense, which the kernel forgives. */
static uint64_t clone3_flags(const uint64_t args[6])
{
    uint64_t flags = 0;
    struct {
        uint64_t *address, size;
    } here = {&flags, sizeof flags}, there = {(uint64_t *)args[0], sizeof flags};
    long pid = MEMSC_SYS(SYS_getpid, 0, 0, 0, 0, 0, 0);
    if (MEMSC_SYS(SYS_process_vm_readv, pid, &here, 1, &there, 1, 0) == -EPERM)
        flags = *(const uint64_t *)args[0];
    return flags;
}

/* Calls that run here and change what later calls may do. */
static void before_local(long number, const uint64_t args[6])
{
    switch (number) {
    case SYS_exit:
        leave();
        break;
    case SYS_exit_group:
        memsc_stats_write("exit");
        if (memsc_running() &&
            memsc_process->region->pid == (uint32_t)MEMSC_SYS(SYS_getpid, 0, 0, 0, 0, 0, 0))
            memsc_region_finish(memsc_process);
        break;
    case SYS_execve:
        /* Shells and execvp try one folder of PATH after the other. */
        if (MEMSC_SYS(SYS_faccessat, AT_FDCWD, args[0], EXECUTABLE, 0, 0, 0) == 0)
            memsc_stats_write("exec");
        break;
    case SYS_execveat:
        memsc_stats_write("exec");
        break;
    case SYS_vfork:
        before_clone(CLONE_VM | CLONE_VFORK);
        break;
    case SYS_clone:
        before_clone(args[0]);
        break;
    case SYS_clone3:
        before_clone(clone3_flags(args));
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
    case SYS_seccomp:
        before_change();
        break;
    }
}

static bool start_and_register(void)
{
    if (memsc_running()) {
        uint32_t pid = (uint32_t)MEMSC_SYS(SYS_getpid, 0, 0, 0, 0, 0, 0);
        if (memsc_process->region->pid != pid) {
            /* A process of its own in our memory: the service would act on its parent's files. */
            thread.never = 1 + MEMSC_SHARED_THREAD;
            return false;
        }
    } else {
        int error = memsc_process_start(&memsc_layer.options);
        if (error && error != -EALREADY) {
            thread.refused++;
            return false;
        }
    }
    int error = memsc_thread_register();
    if (error && error != -ENOTCONN) /* another thread is starting the service: next time */
        thread.refused++;
    return error == 0;
}

/* The thread has no page: it is new, or the first of a forked child, or cannot get one. */
static bool registered_now(void)
{
    if (thread.refused >= REFUSALS)
        return false;
    uint64_t before = block_signals();
    bool registered = is_registered() || start_and_register();
    restore_signals(before);
    return registered;
}

/* Whether the calling task is a child that borrows the memory of a waiting parent. */
static bool is_borrowing(void)
{
    if ((uint32_t)MEMSC_SYS(SYS_gettid, 0, 0, 0, 0, 0, 0) != thread.vfork_parent)
        return true;
    thread.vfork_parent = 0;
    return false;
}

struct memsc_answer memsc_dispatch(long number, const uint64_t args[6])
{
    if (__builtin_expect(thread.vfork_parent != 0, 0) && is_borrowing())
        return unforwarded(number, MEMSC_IN_VFORK);
    if (__builtin_expect(thread.never != 0, 0))
        return unforwarded(number, (enum memsc_unforwarded)(thread.never - 1));
    if (__builtin_expect(!is_registered(), 0)) {
        if (memsc_class(number) == MEMSC_LOCAL) {
            before_local(number, args);
            return run_here;
        }
        if (!registered_now())
            return unforwarded(number, MEMSC_NO_SERVICE);
    }
    struct memsc_answer answer = {0, 1};
    if (memsc_forward(number, args, &answer.result)) {
        if (__builtin_expect(answer.result == -EPIPE || answer.result == -EFBIG, 0) &&
            memsc_layer.options.transport != MEMSC_DIRECT)
            memsc_raise_lost_signal(number, args, answer.result);
        return answer;
    }
    if (memsc_self->busy) {
        if (memsc_class(number) == MEMSC_LOCAL)
            before_local(number, args);
        return unforwarded(number, MEMSC_IN_HANDLER);
    }
    memsc_count_local(number);
    before_local(number, args);
    return run_here;
}
