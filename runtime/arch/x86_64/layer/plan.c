/* SPDX-License-Identifier: MIT */
#include "plan.h"

#include <stddef.h>

#include "scan.h"
#include "view.h"

enum {
    LONG_JUMP = 5,
    SYSCALL_BYTES = 2,
    SHORT_BACK = 128,
    SHORT_FORTH = 127,
    LONGEST_PADDING = 63, /* a longer gap is something else */
    LINE = 64,
    LARGEST_TEXT = 8 << 20, /* of a C library or its loader; today's have 1.4 MB */
};

struct planner {
    const struct memsc_object *object;
    struct memsc_site *sites;
    uint32_t room, count;
    const uint8_t *changed; /* everything before it is settled: later sites must not cover it */
    uint8_t *padding;       /* all padding before it is used, or out of reach for later sites */
    struct memsc_view view, neighbour;
    uint64_t covered[LARGEST_TEXT / LINE / 64]; /* bit per line: a site covers bytes of it */
};

/* One per process, too large for a stack. */
static struct planner planner;

/* Padding behind function `index` of the unwind table, if it surely is padding. */
static bool find_padding(int index, uint8_t **from, uint8_t **to)
{
    const struct memsc_frames *frames = &planner.object->frames;
    struct memsc_function function, next;
    if (!memsc_frames_get(frames, index, &function) ||
        !memsc_frames_get(frames, index + 1, &next) ||
        next.begin - function.end < MEMSC_HOP_BYTES ||
        next.begin - function.end > LONGEST_PADDING || !memsc_all_padding(function.end, next.begin))
        return false;
    memsc_view_function(&planner.neighbour, function);
    if (!planner.neighbour.valid || planner.neighbour.falls_out)
        return false;
    *from = (uint8_t *)function.end;
    *to = (uint8_t *)next.begin;
    return true;
}

static bool plan_hop(struct memsc_site *site)
{
    const struct memsc_frames *frames = &planner.object->frames;
    uint8_t *next = site->address + SYSCALL_BYTES;
    int index = memsc_frames_find(frames, next - SHORT_BACK);
    int last = memsc_frames_find(frames, next + SHORT_FORTH);
    for (; index <= last; index++) {
        uint8_t *from, *to;
        if (!find_padding(index, &from, &to))
            continue;
        if (from < planner.padding)
            from = planner.padding;
        if (from < next - SHORT_BACK)
            from = next - SHORT_BACK;
        if (to - from < MEMSC_HOP_BYTES || from > next + SHORT_FORTH)
            continue;
        site->kind = MEMSC_SITE_HOP;
        site->hop = from;
        planner.padding = from + MEMSC_HOP_BYTES;
        planner.changed = next;
        return true;
    }
    return false;
}

/* A neighbour close enough for a short jump may lead here; long ones are looked for at the end. */
static bool neighbour_jumps_between(const uint8_t *from, const uint8_t *to)
{
    const struct memsc_frames *frames = &planner.object->frames;
    int index = memsc_frames_find(frames, from - SHORT_BACK);
    int last = memsc_frames_find(frames, to + SHORT_BACK);
    for (index = index < 0 ? 0 : index; index <= last; index++) {
        struct memsc_function function;
        if (!memsc_frames_get(frames, index, &function))
            return true;
        if (function.begin != planner.view.function.begin &&
            memsc_jumps_between(function, from, to))
            return true;
    }
    return false;
}

static bool settle(struct memsc_site *site, enum memsc_site_kind kind, const uint8_t *from,
                   const uint8_t *to)
{
    if (memsc_view_targeted(&planner.view, from + 1, to) || neighbour_jumps_between(from, to)) {
        site->missed = MEMSC_MISSED_JUMP;
        return false;
    }
    site->kind = (uint8_t)kind;
    site->moved = (uint8_t)(to - from - SYSCALL_BYTES);
    planner.changed = to;
    return true;
}

static bool plan_after(struct memsc_site *site)
{
    const struct memsc_view *view = &planner.view;
    const uint8_t *to = site->address + SYSCALL_BYTES;
    while (to - site->address < LONG_JUMP) {
        struct memsc_instruction instruction;
        if (to >= view->function.end || !memsc_decode(to, view->function.end, &instruction) ||
            !instruction.movable)
            return false;
        /* A switch never leads to a comparison of what the call returned; to anything else, who
         * knows. */
        if (view->indirect && !instruction.compares)
            return false;
        to += instruction.length;
    }
    if (to - site->address > SYSCALL_BYTES + MEMSC_MOVED_MAX)
        return false;
    return settle(site, MEMSC_SITE_AFTER, site->address, to);
}

static bool plan_before(struct memsc_site *site)
{
    const struct memsc_view *view = &planner.view;
    const uint8_t *from = site->address, *end = site->address + SYSCALL_BYTES;
    if (view->indirect)
        return false;
    while (end - from < LONG_JUMP) {
        struct memsc_instruction instruction;
        from = memsc_view_previous(view, from);
        if (!from || from < planner.changed ||
            !memsc_decode(from, view->function.end, &instruction) || !instruction.movable)
            return false;
    }
    if (end - from > SYSCALL_BYTES + MEMSC_MOVED_MAX)
        return false;
    return settle(site, MEMSC_SITE_BEFORE, from, end);
}

/* `mov $15, %eax` or `%rax` in front: the return from a signal handler. */
static bool returns_from_signal(const uint8_t *site)
{
    static const uint8_t short_form[] = {0xb8, 0x0f, 0, 0, 0};
    static const uint8_t long_form[] = {0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0};
    return __builtin_memcmp(site - sizeof short_form, short_form, sizeof short_form) == 0 ||
           __builtin_memcmp(site - sizeof long_form, long_form, sizeof long_form) == 0;
}

/* The function around the address; where its description ends early, as the C library's clone does
 * on purpose, all up to the next function. */
static bool view_around(const uint8_t *address)
{
    const struct memsc_frames *frames = &planner.object->frames;
    struct memsc_function function, next;
    int index = memsc_frames_find(frames, address);
    if (!memsc_frames_get(frames, index, &function))
        return false;
    if (address >= function.end) {
        function.end =
            memsc_frames_get(frames, index + 1, &next) ? next.begin : planner.object->text_end;
        if (function.end < address + SYSCALL_BYTES)
            return false;
    }
    memsc_view_function(&planner.view, function);
    return planner.view.valid;
}

static void plan_site(void *context, uint8_t *address)
{
    (void)context;
    if (planner.count == planner.room || returns_from_signal(address))
        return;
    bool decoded = view_around(address);
    if (decoded && !memsc_view_begins(&planner.view, address))
        return; /* part of another instruction */
    struct memsc_site *site = &planner.sites[planner.count++];
    *site = (struct memsc_site){.address = address, .missed = MEMSC_MISSED_UNDECODED};
    if (!decoded || memsc_view_targeted(&planner.view, address + 1, address + SYSCALL_BYTES))
        return;
    site->missed = MEMSC_MISSED_NO_ROOM;
    if (!plan_after(site) && !plan_before(site))
        plan_hop(site);
}

static void cover(const struct memsc_site *site, const uint8_t **from, const uint8_t **to)
{
    *from = site->address - (site->kind == MEMSC_SITE_BEFORE ? site->moved : 0);
    *to = site->address + SYSCALL_BYTES + (site->kind == MEMSC_SITE_AFTER ? site->moved : 0);
}

static void mark_covered(const struct memsc_site *site)
{
    const uint8_t *from, *to;
    cover(site, &from, &to);
    for (size_t line = (size_t)(from - planner.object->text) / LINE;
         line <= (size_t)(to - planner.object->text) / LINE; line++)
        planner.covered[line / 64] |= 1ull << line % 64;
}

static void check_jump(void *context, const uint8_t *target)
{
    (void)context;
    /* Nearly all lead elsewhere. A distance that is none wraps to beyond the text. */
    size_t line = (size_t)(target - planner.object->text) / LINE;
    if (line >= LARGEST_TEXT / LINE || !(planner.covered[line / 64] >> line % 64 & 1))
        return;
    uint32_t low = 0, high = planner.count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const uint8_t *from, *to;
        struct memsc_site *site = &planner.sites[middle];
        cover(site, &from, &to);
        if (target >= to) {
            low = middle + 1;
        } else if (target <= from) {
            high = middle;
        } else {
            site->kind = MEMSC_SITE_MISSED;
            site->missed = MEMSC_MISSED_JUMP;
            return;
        }
    }
}

uint32_t memsc_plan(const struct memsc_object *object, struct memsc_site *sites, uint32_t room)
{
    planner.object = object;
    planner.sites = sites;
    planner.room = room;
    planner.count = 0;
    planner.changed = object->text;
    planner.padding = object->text;
    planner.view.function.begin = planner.neighbour.function.begin = NULL;
    __builtin_memset(planner.covered, 0, sizeof planner.covered);
    if (object->text_end - object->text >= LARGEST_TEXT)
        return 0;
    memsc_scan_syscalls(object->text, object->text_end, plan_site, NULL);
    for (uint32_t i = 0; i < planner.count; i++)
        mark_covered(&planner.sites[i]);
    memsc_scan_jumps(object->text, object->text_end, check_jump, NULL);
    return planner.count;
}
