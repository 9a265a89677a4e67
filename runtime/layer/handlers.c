/* SPDX-License-Identifier: MIT */
#include "handlers.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include "../src/cpu.h"
#include "../src/recall.h"
#include "../src/recall_signal.h"
#include "../src/signals.h"
#include "../src/wait.h"
#include "peek.h"
#include "resume.h"
#include "storage.h"
#include "stub.h"

enum {
    SIGNALS = 64,
    HANDLERS = 2, /* remembered for each signal */
};

/* A signal's handlers in turn: one that is being delivered when the next is installed still finds
 * itself. `last` is the one installed last. */
static struct {
    _Atomic uint64_t handler[HANDLERS];
    _Atomic uint64_t flags[HANDLERS];
    _Atomic uint64_t mask[HANDLERS];
    _Atomic uint32_t last;
} known[SIGNALS + 1];

/* handlers.S: the address that the kernel gets for handler 0 or 1 of any signal. */
extern const uint8_t memsc_handler_0[], memsc_handler_1[];

/* Called by those: makes ready for the handler, returns its address. */
uint64_t memsc_before_handler(uint32_t signal, const siginfo_t *info, void *context,
                              uint32_t which);

static uint64_t entry_of(uint32_t which)
{
    return (uint64_t)(which ? memsc_handler_1 : memsc_handler_0);
}

/* Which of a signal's two an address of ours is; -1: none. */
static int which_of(uint64_t handler)
{
    for (int which = 0; which < HANDLERS; which++)
        if (handler == entry_of((uint32_t)which))
            return which;
    return -1;
}

static void remember(uint64_t signal, uint32_t which, const struct memsc_action *action)
{
    store_relaxed(&known[signal].handler[which], action->handler);
    store_relaxed(&known[signal].flags[which], action->flags);
    store_relaxed(&known[signal].mask[which], action->mask);
}

/* ---- a signal comes ---- */

/* Caused by the very instruction that it interrupts: cannot wait. */
static bool is_fault(uint32_t signal, const siginfo_t *info)
{
    return info->si_code > 0 && (signal == SIGSEGV || signal == SIGBUS || signal == SIGFPE ||
                                 signal == SIGILL || signal == SIGTRAP || signal == SIGSYS);
}

/* As the kernel does: the first of the handlers decides whether the call is made again. */
static void settle(ucontext_t *interrupted, uint32_t signal, uint64_t flags)
{
    const uint64_t *args = memsc_under_way->args;
    long result = 0;
    switch (memsc_settle(memsc_self, &result)) {
    case MEMSC_GIVEN_UP:
        if (!(flags & SA_RESTART)) {
            memsc_resume(interrupted, args, memsc_stub_settled, -EINTR);
            break;
        } /* fall through */
    case MEMSC_NOT_MADE:
        if (signal == MEMSC_CANCEL_SIGNAL && memsc_resume_on_bridge(interrupted, args))
            break;
        memsc_resume(interrupted, args, memsc_stub_again, 0);
        break;
    case MEMSC_ENDED:
        memsc_resume(interrupted, args, memsc_stub_settled, result);
        break;
    }
}

bool memsc_comes_from_bridge(const uint64_t *args)
{
    return memsc_bridge_behind(args) != 0;
}

/* No call of the layer's is under way: the thread is made to stand where it would without the layer, or
 * gets the signal again when it can be. */
static void before_cancel(ucontext_t *interrupted)
{
    long number;
    const uint64_t *args = memsc_about_to_make(interrupted, &number);
    if (args && memsc_resume_on_bridge(interrupted, args)) {
        memsc_self->slot->forwarded[memsc_count_index(number)]--;
        return;
    }
    if (!memsc_move_to_bridge(interrupted))
        memsc_cancels_came = memsc_cancel_came = 1;
}

/* All signals are blocked until here, so the interrupted code is what it seems: no other handler
 * lies in between. */
uint64_t memsc_before_handler(uint32_t signal, const siginfo_t *info, void *context, uint32_t which)
{
    ucontext_t *interrupted = context;
    uint64_t flags = load_relaxed(&known[signal].flags[which]);
    uint64_t mask = load_relaxed(&known[signal].mask[which]);
    uint64_t handler = load_relaxed(&known[signal].handler[which]);
    bool has_storage = memsc_has_storage(); /* else nothing of ours is under way */
    if (has_storage && memsc_under_way && !is_fault(signal, info))
        settle(interrupted, signal, flags);
    else if (has_storage && signal == MEMSC_CANCEL_SIGNAL && memsc_from_bridge)
        before_cancel(interrupted);
    mask |= *(uint64_t *)(void *)&interrupted->uc_sigmask;
    if (!(flags & SA_NODEFER))
        mask |= 1ull << (signal - 1);
    memsc_set_signals(mask);
    return handler;
}

/* ---- a handler is installed ---- */

/* As peek.h, to where nothing may be. False: nothing is. */
static bool put_back(uint64_t to, const void *from, uint64_t size)
{
    struct {
        uint64_t address, size;
    } here = {(uint64_t)from, size}, there = {to, size};
    long pid = MEMSC_SYS(SYS_getpid, 0, 0, 0, 0, 0, 0);
    long copied = MEMSC_SYS(SYS_process_vm_writev, pid, &here, 1, &there, 1, 0);
    if (copied < 0 && copied != -EFAULT) { /* forbidden here; such programs are past probing */
        __builtin_memcpy((void *)to, from, size);
        return true;
    }
    return copied == (long)size;
}

/* The signal that the runtime keeps for itself: the kernel goes on calling the runtime, and that us. */
static void take_beside_recall(const struct memsc_action *action)
{
    remember(MEMSC_RECALL_SIGNAL, 0, action);
    /* Release: who finds us there finds the program's handler. */
    store_release(&memsc_recall_other, (void (*)(int, void *, void *))entry_of(0));
}

static struct memsc_action beside_recall(void)
{
    struct memsc_action action = {0};
    action.handler = load_relaxed(&known[MEMSC_RECALL_SIGNAL].handler[0]);
    action.flags = load_relaxed(&known[MEMSC_RECALL_SIGNAL].flags[0]);
    action.mask = load_relaxed(&known[MEMSC_RECALL_SIGNAL].mask[0]);
    return action;
}

static long act_beside_recall(const struct memsc_action *action, uint64_t old)
{
    struct memsc_action before = beside_recall();
    if (action && action->handler > 1)
        take_beside_recall(action);
    if (old && !put_back(old, &before, sizeof before))
        return -EFAULT;
    return 0;
}

/* Makes the kernel's action of the program's: ours, with nothing in between, and told what came. */
static void wrap(struct memsc_action *action, uint32_t which)
{
    action->handler = entry_of(which);
    action->mask = ~0ull;
    action->flags |= SA_SIGINFO; /* else x86 leaves *info as it is */
}

/* Makes the program's action of the kernel's, if it is one of ours. */
static void unwrap(uint64_t signal, struct memsc_action *action)
{
    int which = which_of(action->handler);
    if (which < 0)
        return;
    uint64_t flags = load_relaxed(&known[signal].flags[which]);
    action->handler = load_relaxed(&known[signal].handler[which]);
    action->mask = load_relaxed(&known[signal].mask[which]);
    action->flags &= ~(uint64_t)SA_SIGINFO | flags;
}

/* Installs a handler of the program's; signals are blocked, so it runs as one. */
static long install(uint64_t signal, struct memsc_action *action, uint64_t old, uint64_t size)
{
    uint32_t last = load_relaxed(&known[signal].last);
    uint32_t which = 1 - last;
    remember(signal, which, action);
    wrap(action, which);
    long result = MEMSC_SYS(SYS_rt_sigaction, signal, action, old, size, 0, 0);
    if (result == 0)
        store_relaxed(&known[signal].last, which);
    return result;
}

static bool is_known(uint64_t signal, uint32_t which, const struct memsc_action *action)
{
    return load_relaxed(&known[signal].handler[which]) == action->handler &&
           load_relaxed(&known[signal].flags[which]) == action->flags &&
           load_relaxed(&known[signal].mask[which]) == action->mask;
}

long memsc_sigaction(const uint64_t args[6])
{
    uint64_t signal = args[0], new = args[1], old = args[2], size = args[3];
    struct memsc_action action = {0};
    bool plain = signal < 1 || signal > SIGNALS || size != sizeof action.mask;
    if (!plain && new && memsc_peek_bytes(&action, new, sizeof action) != sizeof action)
        plain = true;
    action.mask &= ~(1ull << (SIGKILL - 1) | 1ull << (SIGSTOP - 1)); /* as the kernel does */
    if (plain) /* the kernel will say what is wrong with it */
        return MEMSC_SYS(SYS_rt_sigaction, signal, new, old, size, 0, 0);
    if (signal == MEMSC_RECALL_SIGNAL && memsc_recall_enable() == 0)
        return act_beside_recall(new ? &action : NULL, old);
    long result;
    uint32_t last = load_relaxed(&known[signal].last);
    if (action.handler > 1 && is_known(signal, last, &action)) {
        wrap(&action, last);
        result = MEMSC_SYS(SYS_rt_sigaction, signal, &action, old, size, 0, 0);
    } else if (action.handler > 1 && which_of(action.handler) < 0) {
        uint64_t before = memsc_block_signals();
        result = install(signal, &action, old, size);
        memsc_set_signals(before);
    } else {
        result = MEMSC_SYS(SYS_rt_sigaction, signal, new, old, size, 0, 0);
    }
    if (result == 0 && old) /* there, for the kernel has written to it */
        unwrap(signal, (struct memsc_action *)old);
    return result;
}

void memsc_handlers_start(void)
{
    for (uint64_t signal = 1; signal <= SIGNALS; signal++) {
        struct memsc_action action;
        uint64_t size = sizeof action.mask;
        if (MEMSC_SYS(SYS_rt_sigaction, signal, 0, &action, size, 0, 0) < 0 || action.handler <= 1)
            continue;
        if (signal == MEMSC_RECALL_SIGNAL)
            take_beside_recall(&action);
        else
            install(signal, &action, 0, size);
    }
}

void memsc_handlers_end(bool with_recall)
{
    for (uint64_t signal = 1; signal <= SIGNALS; signal++) {
        struct memsc_action action;
        uint64_t size = sizeof action.mask;
        if (MEMSC_SYS(SYS_rt_sigaction, signal, 0, &action, size, 0, 0) < 0 || action.handler <= 1)
            continue;
        if (signal == MEMSC_RECALL_SIGNAL) {
            if (!with_recall)
                continue;
            uint64_t restorer = action.restorer;
            action = beside_recall();
            action.restorer = restorer;
        } else if (which_of(action.handler) < 0) {
            continue;
        } else {
            unwrap(signal, &action);
        }
        MEMSC_SYS(SYS_rt_sigaction, signal, &action, 0, size, 0, 0);
    }
}
