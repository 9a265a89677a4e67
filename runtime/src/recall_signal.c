/* SPDX-License-Identifier: MIT */
#include "recall_signal.h"

#include <signal.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include "handshake.h"
#include "interrupted.h"
#include "service.h"

void (*_Atomic memsc_recall_other)(int, void *, void *);

static _Atomic bool enabled; /* and stays so in a forked child, as the handler does */

static struct memsc_worker *own_worker(void)
{
    uint32_t tid = (uint32_t)MEMSC_SYS(SYS_gettid, 0, 0, 0, 0, 0, 0);
    struct memsc_worker *worker;
    for (uint32_t at = 0; (worker = memsc_worker_at(at)) && load_relaxed(&worker->tid) != tid; at++)
        ;
    return worker;
}

/* Nobody may send a signal as if kill() had, except to itself. */
enum { PASSED_ON = -100 /* si_code, for SI_USER */ };

/* The program's own, who takes this signal for itself; what the kernel gave to a service thread, because
 * it was for any, goes to the first of the program's threads. */
__attribute__((no_sanitize("thread", "address", "undefined"))) static void
pass_on(int signal, siginfo_t *info, void *context, bool from_service)
{
    long process = MEMSC_SYS(SYS_getpid, 0, 0, 0, 0, 0, 0);
    if (from_service) {
        if (info->si_code == SI_USER)
            info->si_code = PASSED_ON;
        MEMSC_SYS(SYS_rt_tgsigqueueinfo, process, process, signal, info, 0, 0);
        return;
    }
    if (info->si_code == PASSED_ON)
        info->si_code = SI_USER;
    void (*other)(int, void *, void *) = load_acquire(&memsc_recall_other);
    if (other)
        other(signal, info, context);
}

/* Runs on the service thread. With SA_RESTART the kernel has either ended the call, and then the result
 * stands; or it goes back to the instruction that makes the call, because that had no effect: then it is
 * skipped. A thread that has not made its call yet makes it, and gets the signal once more. */
__attribute__((no_sanitize("thread", "address", "undefined"))) static void
recalled(int signal, siginfo_t *info, void *context)
{
    struct memsc_worker *worker = own_worker();
    if (!worker || info->si_code != SI_QUEUE ||
        memsc_worker_at((uint32_t)info->si_value.sival_int) != worker) {
        pass_on(signal, info, context, worker != NULL);
        return;
    }
    ucontext_t *interrupted = context;
    uint32_t name = load_relaxed(&worker->in_call);
    /* In a call and at a system call: it is the call's, for in_call spans no other. */
    if (name && load_relaxed(memsc_recall_word(worker->process, name)) && is_restarted(interrupted))
        skip_call(interrupted, MEMSC_ABORTED);
    add_release(&worker->received, 1);
}

void memsc_await_recalls(struct memsc_worker *worker)
{
    /* Acquire: pairs with the handler's, and with the caller's that sent nothing after all. */
    while (load_acquire(&worker->received) != load_acquire(&worker->sent))
        MEMSC_SYS(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
}

/* again: what is there now is the program's newest. */
static int take_signal(bool again)
{
    /* Not by the C library, which would refuse the number. */
    struct memsc_action before, action = {.handler = (uint64_t)recalled,
                                          .flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK,
                                          .mask = ~0ull};
    set_restorer(&action);
    long error = MEMSC_SYS(SYS_rt_sigaction, MEMSC_RECALL_SIGNAL, &action, &before,
                           sizeof action.mask, 0, 0);
    if (error < 0)
        return (int)error;
    uint64_t other = before.handler;
    if (other > 1 && other != action.handler && (again || !load_relaxed(&memsc_recall_other)))
        store_release(&memsc_recall_other, (void (*)(int, void *, void *))other);
    return 0;
}

bool memsc_recall_enabled(void)
{
    return load_relaxed(&enabled);
}

int memsc_recall_enable(void)
{
    if (load_acquire(&enabled))
        return 0;
    learn_processor();
    int error = take_signal(false);
    if (!error)
        store_release(&enabled, true);
    return error;
}

/* A program that sets its handlers by an instruction of its own can take the signal away unseen; whoever
 * waits for us to be called would wait for ever. */
static void take_signal_back(void)
{
    struct memsc_action now;
    if (MEMSC_SYS(SYS_rt_sigaction, MEMSC_RECALL_SIGNAL, 0, &now, sizeof now.mask, 0, 0) == 0 &&
        now.handler != (uint64_t)recalled)
        take_signal(true);
}

void memsc_recall(struct memsc_process *process, uint32_t name)
{
    struct memsc_worker *worker;
    for (uint32_t at = 0; (worker = memsc_worker_at(at)); at++) {
        /* Acquire: its thread number with it. */
        if (load_acquire(&worker->in_call) != name)
            continue;
        /* The handshake of handshake.h: it either sees that a signal comes, and waits for that before
         * it turns to another call, or we see that it has left the call. */
        take_signal_back();
        add_relaxed(&worker->sent, 1);
        memsc_heavy_barrier(process->symmetric);
        siginfo_t info = {0};
        info.si_signo = MEMSC_RECALL_SIGNAL;
        info.si_code = SI_QUEUE;
        info.si_value.sival_int = (int)at;
        if (load_relaxed(&worker->in_call) != name ||
            MEMSC_SYS(SYS_rt_tgsigqueueinfo, process->region->pid, load_relaxed(&worker->tid),
                      MEMSC_RECALL_SIGNAL, &info, 0, 0) < 0)
            add_release(&worker->received, 1);
        return;
    }
}
