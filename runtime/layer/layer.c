/* SPDX-License-Identifier: MIT
 *
 * libmemsc-layer.so: preloaded into a program, it leads the system calls of the C library and of
 * the loader to libmemsc.
 *
 * Without MEMSC_TRANSPORT, or with `direct` and no recording, it does nothing at all.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../src/afresh.h"
#include "../src/session.h"
#include "../src/wait.h"
#include "answers.h"
#include "dispatch.h"
#include "emulated.h"
#include "environment.h"
#include "handlers.h"
#include "objects.h"
#include "patch.h"
#include "plans.h"
#include "retire.h"
#include "stats.h"

/* Whether this run asks for anything but plain system calls. */
static bool is_asked_for(void)
{
    const char *transport = getenv("MEMSC_TRANSPORT"), *wrong;
    if (!transport ||
        memsc_options_default(&memsc_layer.options, sizeof memsc_layer.options, &wrong) != 0)
        return false;
    return strcmp(transport, "direct") != 0 || memsc_layer.options.recording;
}

/* A filter that was there before memsc, a container's, binds all alike and allows what a program may do;
 * one that came since is the program's own, for what it executes. */
static bool is_filtered(void)
{
    const char *before = getenv("MEMSC_FILTERS");
    return memsc_filters() > (before ? strtoul(before, NULL, 10) : 0);
}

/* A tracer would be told of a thread that it does not know, which makes the calls: one that was written for programs
 * of one thread waits for ever, or sees none. Who looks for faults of the layer wants it all the same. */
static bool is_carried_traced(void)
{
    const char *wanted = getenv("MEMSC_TRACED");
    return wanted && strcmp(wanted, "1") == 0;
}

/* AddressSanitizer, where it is a library, wants to be the first of all, so that what it takes the place of is
 * found there and nowhere else. The layer takes no function's place; and where a program has no options of its
 * own, this is where that library asks for some. */
const char *__asan_default_options(void);

__attribute__((visibility("default"))) const char *__asan_default_options(void)
{
    return "verify_asan_link_order=0";
}

/* Sites that are left as they are for what holds just now, not for how the library was built. */
static const char *const left[MEMSC_MISSED_REASONS] = {
    [MEMSC_MISSED_CHANGED] =
        "others have put breakpoints into its C library, where calls are not seen",
    [MEMSC_MISSED_PROTECTED] = "part of its C library is sealed, where calls are not seen",
    [MEMSC_MISSED_STUBS] = "part of its C library is too far away, where calls are not seen",
};

/* Leads the calls of the C library and the loader here; why not, if that cannot be done. *partly: why some
 * are not seen, if so. */
static const char *take_over(const char **partly)
{
    static struct memsc_site sites[MEMSC_MAX_SITES];
    struct memsc_object objects[MEMSC_MAX_OBJECTS];
    struct memsc_image images[MEMSC_MAX_OBJECTS];
    struct memsc_object own = {.text = NULL};
    uint32_t firsts[MEMSC_MAX_OBJECTS + 1] = {0};
    /* Text cannot be changed under the feet of a thread that an earlier constructor made. */
    extern char __libc_single_threaded __attribute__((weak));
    if (memsc_emulated())
        return "it runs under valgrind";
    if (!is_carried_traced() && memsc_is_traced())
        return "it is traced by another program";
    if (!memsc_may_read_counter())
        return "it may not read the processor's counter";
    if (&__libc_single_threaded && !__libc_single_threaded)
        return "it had threads before the layer was loaded";
    uint32_t count = memsc_objects(objects, images, &own);
    if (!count)
        return "its C library is not glibc";
    int folder = memsc_plans_open();
    for (uint32_t i = 0; i < count; i++) {
        struct memsc_site *first = &sites[firsts[i]];
        uint32_t room = MEMSC_MAX_SITES - firsts[i];
        uint32_t found = memsc_plans_read(folder, &own, &objects[i], first, room);
        if (!found) {
            memsc_object_open(&objects[i], &images[i]);
            found = memsc_plan(&objects[i], first, room);
            memsc_patch_gaps(first, found);
            if (images[i].address)
                memsc_plans_keep(folder, &own, &objects[i], first, found);
        }
        firsts[i + 1] = firsts[i] + found;
        for (uint32_t site = 0; site < found; site++)
            if (first[site].bridge)
                memsc_from_bridge = memsc_comes_from_bridge;
    }
    if (folder >= 0)
        close(folder);
    bool ready = memsc_patch_open() == 0;
    for (uint32_t i = 0; i < count && ready; i++)
        memsc_patch_stubs(&objects[i], &sites[firsts[i]], firsts[i + 1] - firsts[i]);
    ready = ready && memsc_patch_close() == 0;
    uint32_t changed = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t found = firsts[i + 1] - firsts[i];
        if (ready) {
            changed += memsc_patch_sites(&objects[i], &sites[firsts[i]], found) == 0;
            memsc_stats_sites(&sites[firsts[i]], found);
            for (const struct memsc_site *site = &sites[firsts[i]]; site < &sites[firsts[i + 1]];
                 site++)
                if (site->kind == MEMSC_SITE_MISSED && left[site->missed])
                    *partly = left[site->missed];
        }
        memsc_image_close(&images[i]);
    }
    return changed ? NULL : "the system lets no program change its text";
}

static void begin(void)
{
    if (!is_asked_for() || is_filtered())
        return;
    const char *statistics = getenv("MEMSC_STATS");
    const struct memsc_options *options = &memsc_layer.options;
    memsc_unseen = !options->directory[0] && !options->session_inode && !options->recording;
    long own = memsc_map_afresh(sizeof *memsc_layer.own);
    if (own < 0)
        return;
    memsc_layer.own = (struct memsc_own *)own;
    memsc_session_use(&memsc_layer.options);
    memsc_environment_keep(environ, memsc_own_path());
    memsc_stats_open(statistics && strcmp(statistics, "1") == 0);
    /* Before the first call that is led to the runtime, which registers. */
    memsc_answers_start();
    const char *partly = NULL, *why = take_over(&partly);
    if (why) {
        memsc_stats_leave(why);
        return;
    }
    memsc_handlers_start();
    memsc_stats_start();
    if (partly)
        memsc_stats_leave(partly);
}

__attribute__((constructor)) static void load(void)
{
    int before = errno; /* a program finds none */
    begin();
    errno = before;
}
