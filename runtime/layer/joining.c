/* SPDX-License-Identifier: MIT */
#include "joining.h"

#include <errno.h>
#include <stddef.h>
#include <sys/syscall.h>

#include "../src/cpu.h"
#include "../src/recall.h"
#include "../src/recall_signal.h"
#include "../src/signals.h"
#include "../src/table.h"
#include "../src/thread.h"
#include "../src/wait.h"
#include "answers.h"
#include "dispatch.h"
#include "local.h"
#include "stats.h"

/* The C library's own word for whether the process has threads; glibc has it since 2.32. It is false for
 * ever once there was a second one. */
extern char __libc_single_threaded __attribute__((weak));

/* Whether a start failed for want of what the machine or a limit may have again later. */
static bool is_short(int error)
{
    return error == -EAGAIN || error == -ENOMEM || error == -ENOSPC || error == -EDQUOT ||
           error == -EFBIG;
}

/* The folder of an attachable program may be out of reach of one that has another user or root now, be it the
 * folder of a process that is gone, as sandboxes have it: its calls are forwarded all the same, if nobody can
 * look at them. */
static int start(void)
{
    int error = memsc_process_start(&memsc_layer.options);
    if (!error || error == -EALREADY || !memsc_layer.options.directory[0] || is_short(error))
        return error;
    struct memsc_options options = memsc_layer.options;
    options.directory[0] = 0;
    return memsc_process_start(&options);
}

bool memsc_has_region(void)
{
    uint32_t pid = (uint32_t)MEMSC_SYS(SYS_getpid, 0, 0, 0, 0, 0, 0);
    const struct memsc_region *region = memsc_region_now();
    return region && region->pid == pid && !memsc_pages_are_foreign(memsc_process());
}

/* The session hears once of a process that what it calls for now is not seen. */
static void tell_why(int error)
{
    if (load_relaxed(&memsc_layer.own->told))
        return;
    store_relaxed(&memsc_layer.own->told, true);
    memsc_stats_leave(error == -EFBIG ? "its limit for files (ulimit -f) is below a region's size"
                                      : memsc_missed_reason(MEMSC_NO_SERVICE));
}

static enum memsc_join join(void)
{
    if (load_relaxed(&memsc_layer.own->changed))
        return MEMSC_JOIN_CHANGED;
    if (memsc_running()) {
        /* The service would act on the files of the process that made the region. */
        if (!memsc_has_region())
            return MEMSC_JOIN_FOREIGN;
    } else {
        int error = memsc_recall_enable();
        if (!error)
            error = start();
        if (!error && load_relaxed(&memsc_layer.special) & MEMSC_KEYED)
            memsc_keys_of_service();
        if (error && error != -EALREADY) {
            tell_why(error);
            return MEMSC_JOIN_LATER;
        }
        memsc_stats_catch_up();
    }
    return memsc_thread_register() == 0 ? MEMSC_JOINED : MEMSC_JOIN_LATER;
}

/* Registration takes locks: a handler that interrupted it and registered too would wait for itself,
 * and one that jumped out would leave them locked. */
enum memsc_join memsc_join(void)
{
    uint64_t before = memsc_block_signals();
    enum memsc_join joined = memsc_has_page() ? MEMSC_JOINED : join();
    memsc_set_signals(before);
    return joined;
}

void memsc_leave(void)
{
    if (!memsc_has_page())
        return;
    if (memsc_under_way)
        memsc_abandon(memsc_self);
    uint64_t before = memsc_block_signals();
    memsc_thread_unregister();
    memsc_set_signals(before);
}

static bool is_alone(void)
{
    uint64_t before = memsc_block_signals();
    int threads = memsc_threads_of_program();
    memsc_set_signals(before);
    return threads ? threads == 1 : &__libc_single_threaded && __libc_single_threaded;
}

bool memsc_leave_and_stop(void)
{
    memsc_leave();
    if (!memsc_running())
        return true;
    if (!is_alone())
        return false;
    memsc_stats_keep(1);
    bool stopped = memsc_process_stop() == 0;
    if (!stopped)
        memsc_stats_keep(-1);
    return stopped;
}

bool memsc_hide_threads(void)
{
    enum {
        DIRECTLY =
            32 /* calls: to open it, to read it, to close it, and perhaps to look once more */
    };
    if (memsc_layer.options.transport == MEMSC_DIRECT) /* which has none of its own */
        return false;
    if (!memsc_leave_and_stop())
        return false;
    store_relaxed(&memsc_layer.own->hides, true);
    memsc_layer_thread.pause = DIRECTLY;
    memsc_layer_thread.paused_for = MEMSC_LOOKED;
    return true;
}
