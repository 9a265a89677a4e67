/* SPDX-License-Identifier: MIT
 *
 * This program as the object to be rewritten (ARCH/stub.c), as far as that is the same on all processors.
 */
#ifndef MEMSC_TEST_REWRITTEN_H
#define MEMSC_TEST_REWRITTEN_H

#include "check.h"
#include "objects.h"
#include "patch.h"
#include "stub.h"

#include <link.h>
#include <sys/resource.h>
#include <sys/wait.h>

extern uint8_t sites_begin[], sites_end[];

static struct memsc_site sites[MEMSC_MAX_SITES];
static uint32_t site_count;

/* What the dispatch was told, and what it is to say. */
static bool answers;
static int dispatched;
static uint64_t seen[6];
static long seen_number;

/* For the dispatch, which keeps off the vector registers. */
__attribute__((target("general-regs-only"))) static void note(long number, const uint64_t args[6])
{
    dispatched++;
    seen_number = number;
    for (int i = 0; i < 6; i++)
        seen[i] = args[i];
}

/* Only signal handlers lead there. */
struct memsc_answer memsc_after_settled(long number, const uint64_t args[6], long result)
{
    (void)number, (void)args, (void)result;
    abort();
}

static int this_program(struct dl_phdr_info *info, size_t size, void *context)
{
    (void)size;
    struct memsc_object *object = context;
    const uint8_t *frames = NULL;
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_GNU_EH_FRAME)
            frames = (uint8_t *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
    CHECK(frames && memsc_frames_open(&object->frames, frames));
    return 1; /* the first one listed */
}

static const struct memsc_site *site_at(const uint8_t *address)
{
    for (uint32_t i = 0; i < site_count; i++)
        if (sites[i].address == address)
            return &sites[i];
    return NULL;
}

/* Goes on in two processes: in the child, which has 0, there is no descriptor, so the text is changed by hand. */
static pid_t begin_by_hand_too(void)
{
    pid_t by_hand = fork();
    struct rlimit none = {0, 0};
    if (by_hand == 0)
        CHECK_EQUAL(setrlimit(RLIMIT_NOFILE, &none), 0);
    return by_hand;
}

static void end_by_hand_too(pid_t by_hand)
{
    int status = 0;
    if (by_hand)
        CHECK(waitpid(by_hand, &status, 0) == by_hand && status == 0);
}

static struct memsc_object plan_this_program(void)
{
    struct memsc_object object = {.text = sites_begin, .text_end = sites_end};
    dl_iterate_phdr(this_program, &object);
    site_count = memsc_plan(&object, sites, MEMSC_MAX_SITES);
    memsc_patch_gaps(sites, site_count);
    return object;
}

/* Returns how many slots that took. */
static uint32_t rewrite(const struct memsc_object *object)
{
    uint32_t slots = 0;
    CHECK_EQUAL(memsc_patch_open(), 0);
    memsc_patch_stubs(object, sites, site_count);
    for (uint32_t i = 0; i < site_count; i++)
        slots += sites[i].kind != MEMSC_SITE_MISSED;
    CHECK_EQUAL(memsc_patch_close(), 0);
    CHECK_EQUAL(memsc_patch_sites(object, sites, site_count), 0);
    return slots;
}

#endif
