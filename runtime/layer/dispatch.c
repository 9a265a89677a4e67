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
#include <stddef.h>
#include <sys/syscall.h>

#include "../src/cpu.h"
#include "../src/barrier.h"
#include "../src/forward.h"
#include "../src/kinds.h"
#include "../src/ready.h"
#include "../src/recall.h"
#include "../src/table.h"
#include "../src/wait.h"
#include "answers.h"
#include "guard.h"
#include "handlers.h"
#include "joining.h"
#include "local.h"
#include "lost_signals.h"
#include "own_paths.h"
#include "retire.h"
#include "stats.h"
#include "storage.h"
#include "stub.h"

enum {
    REFUSALS =
        10, /* twice as many calls go directly each time a thread is refused a page, up to 2 to this */
    FIRST_CALLS =
        64, /* of a process, not worth a service: most that are forked execute another soon */
    BESIDE = 8192, /* calls that a thread makes itself since another was on its service's CPU … */
    LOOK_FROM =
        64,       /* … and in so many of them it looks again: who is still there calls meanwhile */
    ON_STACK = 1, /* SS_ONSTACK */
};

_Thread_local struct memsc_layer_thread memsc_layer_thread;
struct memsc_layer memsc_layer;

static const struct memsc_answer run_here = {0, 0};

static struct memsc_answer unforwarded(long number, enum memsc_unforwarded reason)
{
    if (memsc_class(number) == MEMSC_LOCAL) {
        memsc_stats_local(number);
    } else {
        memsc_stats_missed(number, reason);
        if (reason != MEMSC_IN_VFORK) /* whose descriptors are its own */
            memsc_kinds_missed(number);
    }
    return run_here;
}

static bool ends_program(long number, const uint64_t args[6])
{
    return number == SYS_exit || number == SYS_exit_group || memsc_executes(number) ||
           memsc_retires(number, args);
}

/* For the program's other threads: a service on this CPU runs only while the caller does not. Where somebody looks
 * they wait for it, so that their calls are seen. */
static void tell_crowded(uint32_t cpu)
{
    if (memsc_unseen && memsc_running() && load_relaxed(&memsc_process()->crowded) != cpu + 1)
        store_relaxed(&memsc_process()->crowded, cpu + 1);
}

static bool is_of_service(const struct memsc_self *self, uint32_t cpu)
{
    return cpu == self->service_cpus[0] || cpu == self->service_cpus[1];
}

/* Whether the thread is where the service would have to run to make its calls. Asked at every call: programs
 * move, and the kernel moves them. A handler may fork at any place here, and the child finds all of it wiped. */
static bool is_on_service_cpu(void)
{
    const struct memsc_self *self = memsc_self;
    const volatile uint32_t *place = self ? self->cpu : NULL;
    if (__builtin_expect(!place, 0))
        return false;
    uint32_t cpu = *place;
    if (__builtin_expect(!is_of_service(self, cpu), 1))
        return false;
    compiler_barrier();
    if (!memsc_has_page())
        return false;
    tell_crowded(cpu);
    return true;
}

/* Whether another thread has lately called on the service's CPU: the service would come to a call after that one's
 * time slice, in which this one makes ten thousand. Only where nobody looks for them. In so many a poller that has
 * nothing to do goes to sleep and leaves its CPU to the other. */
static bool is_crowded_out(struct memsc_layer_thread *thread)
{
    if (__builtin_expect(!thread->beside, 1)) {
        const struct memsc_self *self = memsc_self;
        uint32_t crowded = load_relaxed(&memsc_process()->crowded);
        if (__builtin_expect(!crowded, 1) || !self || !is_of_service(self, crowded - 1))
            return false;
        thread->beside = BESIDE;
    }
    if (--thread->beside == LOOK_FROM)
        store_relaxed(&memsc_process()->crowded, 0);
    return true;
}

/* The same before it has a page. Which of several services it would be is not known yet. */
static bool starts_on_service_cpu(void)
{
    const struct memsc_options *options = &memsc_layer.options;
    if (!memsc_needs_own_cpu(options->transport) ||
        (options->services > 1 && options->service_mode != MEMSC_SCANNER) ||
        *memsc_own_cpu() != options->service_cpus[0])
        return false;
    tell_crowded(options->service_cpus[0]);
    return true;
}

/* Whether the process has made so few calls yet that to start a service would take longer than they do. */
static bool has_just_started(void)
{
    _Atomic uint32_t *calls = &memsc_layer.own->first_calls;
    return !memsc_running() && load_relaxed(calls) < FIRST_CALLS &&
           add_relaxed(calls, 1) < FIRST_CALLS;
}

/* Whether calls that need no page may do without, for nobody looks for them in it. */
static bool needs_no_page(long number, const uint64_t args[6])
{
    return memsc_unseen &&
           (starts_on_service_cpu() || memsc_waits_unasked(number, args) || has_just_started());
}

static bool has_page_now(void)
{
    struct memsc_layer_thread *thread = &memsc_layer_thread;
    /* A forked child inherits the pause, and no threads. */
    if (thread->paused_for == MEMSC_LOOKED && !load_relaxed(&memsc_layer.own->hides))
        thread->pause = 0;
    if (thread->pause) {
        thread->pause--;
        return false;
    }
    switch (memsc_join()) {
    case MEMSC_JOINED:
        thread->refusals = 0;
        return true;
    case MEMSC_JOIN_FOREIGN:
        thread->never = 1 + MEMSC_SHARED_THREAD;
        return false;
    case MEMSC_JOIN_CHANGED:
        thread->never = 1 + MEMSC_THREAD_CHANGED;
        return false;
    default:
        thread->refusals += thread->refusals < REFUSALS;
        thread->pause = (1u << thread->refusals) - 1;
        thread->paused_for = MEMSC_NO_SERVICE;
        return false;
    }
}

/* The thread has a call under way, so a handler that the layer does not know has interrupted it: either
 * this is that handler's, on top of it, or the handler has jumped out and the call is lost. A stack
 * grows down, so the frames of a handler lie below that of the call, which memsc_under_way points into,
 * unless it has a stack of its own. */
static bool has_jumped_out(const uint64_t args[6])
{
    struct {
        void *address;
        int flags;
        uint64_t size;
    } stack = {NULL, 0, 0};
    return (uintptr_t)args > (uintptr_t)memsc_under_way &&
           MEMSC_SYS(SYS_sigaltstack, 0, &stack, 0, 0, 0, 0) == 0 && !(stack.flags & ON_STACK);
}

static struct memsc_answer local(long number, const uint64_t args[6])
{
    long result;
    if (number == SYS_rt_sigaction)
        return (struct memsc_answer){memsc_sigaction(args), 1};
    if (memsc_answers(number, args, &result))
        return (struct memsc_answer){result, 1};
    if (memsc_executes(number))
        return memsc_execute(number, args, false);
    memsc_before_local(number, args);
    return run_here;
}

/* Whatever keeps a call here, the program finds no threads by it that are not its own. */
static struct memsc_answer made_here(long number, const uint64_t args[6])
{
    memsc_hide_before(number, args);
    return local(number, args);
}

static struct memsc_answer made_directly(long number, const uint64_t args[6],
                                         enum memsc_unforwarded reason)
{
    unforwarded(number, reason);
    return made_here(number, args);
}

/* The caller's share in a call that was forwarded. */
static struct memsc_answer after(long number, const uint64_t args[6], long result)
{
    if (__builtin_expect(result < 0, 0) && memsc_layer.options.transport != MEMSC_DIRECT) {
        if (result == -EPIPE || result == -EFBIG)
            memsc_raise_lost_signal(number, args, result);
        /* Whether a background process is stopped that reads its terminal hangs on the thread's signals. */
        if (result == -EIO && memsc_class(number) == MEMSC_FD)
            return run_here;
    }
    if (__builtin_expect(memsc_met_wrong_thread(number, args, result), 0))
        return run_here;
    return (struct memsc_answer){result, 1};
}

struct memsc_answer memsc_after_settled(long number, const uint64_t args[6], long result)
{
    return after(number, args, result);
}

struct memsc_answer memsc_dispatch(long number, const uint64_t args[6])
{
    struct memsc_layer_thread *thread = &memsc_layer_thread;
    uint32_t special = load_relaxed(&memsc_layer.special);
    /* Before all else: nothing may be done here any more. */
    if (__builtin_expect(special & MEMSC_RETIRED, 0))
        return unforwarded(number, MEMSC_AFTER_RETIRING);
    if (__builtin_expect(!memsc_has_storage(), 0))
        return unforwarded(number, MEMSC_SHARED_THREAD);
    if (__builtin_expect(thread->vfork_parent != 0, 0) && memsc_is_borrowing()) {
        unforwarded(number, MEMSC_IN_VFORK);
        if (memsc_executes(number))
            return memsc_execute(number, args, true);
        return memsc_may_touch_kept(number) ? memsc_guard(number, args, true) : run_here;
    }
    if (__builtin_expect(memsc_may_touch_kept(number), 0)) {
        struct memsc_answer answer = memsc_guard(number, args, false);
        if (answer.done)
            return answer;
    }
    if (__builtin_expect(thread->never != 0, 0)) {
        struct memsc_answer answer =
            unforwarded(number, (enum memsc_unforwarded)(thread->never - 1));
        bool shared = thread->never == 1 + MEMSC_SHARED_THREAD;
        if (!shared)
            memsc_hide_before(number, args);
        bool concerns_us = shared ? ends_program(number, args) : memsc_class(number) == MEMSC_LOCAL;
        return concerns_us ? local(number, args) : answer;
    }
    if (__builtin_expect(memsc_has_page() && memsc_under_way, 0)) {
        if (!has_jumped_out(args)) {
            unforwarded(number, MEMSC_IN_HANDLER);
            return local(number, args);
        }
        memsc_abandon(memsc_self);
    }
    if (__builtin_expect(!memsc_has_page(), 0)) {
        if (memsc_is_local(number, args)) {
            memsc_stats_local(number);
            return made_here(number, args);
        }
        if (needs_no_page(number, args))
            return made_directly(number, args, MEMSC_NO_SERVICE);
        if (!has_page_now()) {
            memsc_hide_before(number, args);
            return unforwarded(number, thread->never ? (enum memsc_unforwarded)(thread->never - 1)
                                                     : (enum memsc_unforwarded)thread->paused_for);
        }
    }
    bool beside = is_on_service_cpu() || is_crowded_out(thread);
    if (__builtin_expect(beside, 0) && !memsc_is_local(number, args))
        return made_directly(number, args, MEMSC_ON_SERVICE_CPU);
    if (__builtin_expect(special, 0) && !memsc_has_keys_of_service())
        return made_directly(number, args, MEMSC_OTHER_KEYS);
    if (__builtin_expect(number == SYS_chdir, 0) && memsc_leads_to_thread(args)) {
        memsc_count_local(number);
        return local(number, args);
    }
    long result;
    switch (memsc_forward(number, args, &result)) {
    case MEMSC_FORWARDED:
        return after(number, args, result);
    case MEMSC_NO_ROOM:
        return unforwarded(number, MEMSC_NO_ENTRY);
    default:
        memsc_count_local(number);
        return made_here(number, args);
    }
}

/* memsc_call, for memsc-work. */
__attribute__((visibility("default"))) int memsc_layer_call(long number, const long args[6],
                                                            long *result);

int memsc_layer_call(long number, const long args[6], long *result)
{
    return memsc_call(number, args, result);
}
