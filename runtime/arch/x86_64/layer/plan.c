/* SPDX-License-Identifier: MIT */
#include "plan.h"

#include <elf.h>
#include <stddef.h>

#include "bridge.h"
#include "scan.h"
#include "view.h"

enum {
    LONG_JUMP = 5,
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

static bool touches_entry(const uint8_t *from);

static bool plan_hop(struct memsc_site *site)
{
    if (touches_entry(site->address))
        return false;
    const struct memsc_frames *frames = &planner.object->frames;
    uint8_t *next = site->address + MEMSC_SYSCALL_BYTES;
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

/* Behind the instructions of a function's entry that stay as they are. */
static const uint8_t *behind_entry(const uint8_t *entry, const uint8_t *end)
{
    static const uint8_t mark[] = {0xf3, 0x0f, 0x1e, 0xfa}; /* endbr64 */
    struct memsc_instruction instruction;
    if (end - entry > (ptrdiff_t)sizeof mark && __builtin_memcmp(entry, mark, sizeof mark) == 0)
        entry += sizeof mark;
    return memsc_decode(entry, end, &instruction) ? entry + instruction.length : end;
}

/* Whether bytes of the function's entry would be changed. */
static bool touches_entry(const uint8_t *from)
{
    const struct memsc_view *view = &planner.view;
    return from < behind_entry(view->function.begin, view->function.end);
}

static bool settle(struct memsc_site *site, enum memsc_site_kind kind, const uint8_t *from,
                   const uint8_t *to)
{
    if (touches_entry(from)) {
        site->missed = MEMSC_MISSED_ENTRY;
        return false;
    }
    if (memsc_view_targeted(&planner.view, from + 1, to) || neighbour_jumps_between(from, to)) {
        site->missed = MEMSC_MISSED_JUMP;
        return false;
    }
    site->kind = (uint8_t)kind;
    site->moved = (uint8_t)(to - from - MEMSC_SYSCALL_BYTES);
    planner.changed = to;
    return true;
}

/* Whether the bytes from a return up to `to` are reached by nobody. */
static bool is_unreached(const uint8_t *from, const uint8_t *to)
{
    const struct memsc_frames *frames = &planner.object->frames;
    struct memsc_function next;
    int index = memsc_frames_find(frames, from - 1);
    const uint8_t *end = memsc_frames_get(frames, index + 1, &next) ? next.begin : from;
    return to <= end && memsc_all_padding(from, end) && planner.padding <= from;
}

/* The call is the last thing its function does: the return moves along, and the jump ends in the padding. */
static bool plan_return(struct memsc_site *site, const uint8_t *end)
{
    const uint8_t *to = site->address + LONG_JUMP;
    if (end < to && !is_unreached(end, to))
        return false;
    if (!settle(site, MEMSC_SITE_AFTER, site->address, end < to ? to : end))
        return false;
    site->moved = (uint8_t)(end - site->address - MEMSC_SYSCALL_BYTES);
    planner.padding = (uint8_t *)planner.changed;
    return true;
}

static bool plan_after(struct memsc_site *site)
{
    enum { RETURN = 0xc3 };
    const struct memsc_view *view = &planner.view;
    const uint8_t *to = site->address + MEMSC_SYSCALL_BYTES;
    while (to - site->address < LONG_JUMP) {
        struct memsc_instruction instruction;
        if (to < view->function.end && *to == RETURN)
            return plan_return(site, to + 1);
        if (to >= view->function.end || !memsc_decode(to, view->function.end, &instruction) ||
            !instruction.movable)
            return false;
        /* A switch never leads to a comparison of what the call returned; to anything else, who
         * knows. */
        if (view->indirect && !instruction.compares)
            return false;
        to += instruction.length;
    }
    if (to - site->address > MEMSC_SYSCALL_BYTES + MEMSC_MOVED_MAX)
        return false;
    return settle(site, MEMSC_SITE_AFTER, site->address, to);
}

/* end: of what the jump covers, behind the `syscall` or, for a bridge, which keeps it, before. */
static bool plan_before(struct memsc_site *site, const uint8_t *end)
{
    const struct memsc_view *view = &planner.view;
    const uint8_t *from = site->address;
    if (view->indirect)
        return false;
    while (end - from < LONG_JUMP) {
        struct memsc_instruction instruction;
        from = memsc_view_previous(view, from);
        if (!from || from < planner.changed ||
            !memsc_decode(from, view->function.end, &instruction) || !instruction.movable)
            return false;
    }
    if (site->address - from > MEMSC_MOVED_MAX)
        return false;
    return settle(site, MEMSC_SITE_BEFORE, from, site->address + MEMSC_SYSCALL_BYTES);
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
        if (function.end < address + MEMSC_SYSCALL_BYTES)
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
    if (!decoded || memsc_view_targeted(&planner.view, address + 1, address + MEMSC_SYSCALL_BYTES))
        return;
    site->missed = MEMSC_MISSED_NO_ROOM;
    if (memsc_is_bridge_s(address) && plan_before(site, address))
        return;
    if (!plan_after(site) && !plan_before(site, address + MEMSC_SYSCALL_BYTES))
        plan_hop(site);
}

static void cover(const struct memsc_site *site, const uint8_t **from, const uint8_t **to)
{
    *from = site->address - (site->kind == MEMSC_SITE_BEFORE ? site->moved : 0);
    *to = site->address + MEMSC_SYSCALL_BYTES + (site->kind == MEMSC_SITE_AFTER ? site->moved : 0);
    if (site->kind == MEMSC_SITE_AFTER && *to < site->address + LONG_JUMP)
        *to = site->address + LONG_JUMP; /* into the padding behind a return */
}

static void mark_covered(const struct memsc_site *site)
{
    const uint8_t *from, *to;
    cover(site, &from, &to);
    for (size_t line = (size_t)(from - planner.object->text) / LINE;
         line <= (size_t)(to - planner.object->text) / LINE; line++)
        planner.covered[line / 64] |= 1ull << line % 64;
}

/* The site that covers an address; NULL: none does. */
static struct memsc_site *site_over(const uint8_t *address)
{
    /* Nearly all lie elsewhere. A distance that is none wraps to beyond the text. */
    size_t line = (size_t)(address - planner.object->text) / LINE;
    if (line >= LARGEST_TEXT / LINE || !(planner.covered[line / 64] >> line % 64 & 1))
        return NULL;
    uint32_t low = 0, high = planner.count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const uint8_t *from, *to;
        cover(&planner.sites[middle], &from, &to);
        if (address >= to)
            low = middle + 1;
        else if (address < from)
            high = middle;
        else
            return &planner.sites[middle];
    }
    return NULL;
}

static void give_up(struct memsc_site *site, enum memsc_missed why)
{
    if (!site || site->kind == MEMSC_SITE_MISSED)
        return;
    site->kind = MEMSC_SITE_MISSED;
    site->missed = (uint8_t)why;
}

static void check_jump(void *context, const uint8_t *target)
{
    (void)context;
    struct memsc_site *site = site_over(target);
    const uint8_t *from, *to;
    if (!site)
        return;
    cover(site, &from, &to);
    if (target > from) /* to the first byte it may lead: there the long jump begins */
        give_up(site, MEMSC_MISSED_JUMP);
}

/* Also in the middle of what the unwind table takes for one function some others can be entered. */
static void check_symbols(void)
{
    const struct memsc_object *object = planner.object;
    const Elf64_Sym *symbol = object->symbols;
    for (uint32_t i = 0; i < object->symbol_count; i++, symbol++) {
        int type = ELF64_ST_TYPE(symbol->st_info);
        const uint8_t *entry = object->symbol_base + symbol->st_value;
        if ((type != STT_FUNC && type != STT_GNU_IFUNC) || symbol->st_shndx == SHN_UNDEF ||
            entry < object->text || entry >= object->text_end)
            continue;
        const uint8_t *end = behind_entry(entry, object->text_end);
        for (const uint8_t *at = entry; at < end; at++)
            give_up(site_over(at), MEMSC_MISSED_ENTRY);
    }
}

/* Keeps what a site's change is made from, once it is settled. */
static void keep_bytes(struct memsc_site *site)
{
    const uint8_t *from, *to;
    if (site->kind == MEMSC_SITE_MISSED)
        return;
    cover(site, &from, &to);
    __builtin_memcpy(site->bytes, from, (size_t)(to - from));
    if (site->kind == MEMSC_SITE_HOP)
        __builtin_memcpy(site->bytes + MEMSC_SYSCALL_BYTES, site->hop, MEMSC_HOP_BYTES);
    site->bridge = site->kind == MEMSC_SITE_BEFORE && site->moved >= MEMSC_HOP_BYTES &&
                   memsc_is_bridge_s(site->address);
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
    check_symbols();
    for (uint32_t i = 0; i < planner.count; i++)
        keep_bytes(&planner.sites[i]);
    return planner.count;
}

bool memsc_is_sound(const struct memsc_site *site, const struct memsc_object *object,
                    uintptr_t *from)
{
    uintptr_t begin = (uintptr_t)site->address, end = begin + MEMSC_SYSCALL_BYTES;
    uintptr_t text = (uintptr_t)object->text, text_end = (uintptr_t)object->text_end;
    uintptr_t hop = (uintptr_t)site->hop;
    const uint8_t *call = site->bytes;
    switch (site->kind) {
    case MEMSC_SITE_MISSED:
        return site->missed < MEMSC_MISSED_REASONS && begin >= text && end <= text_end;
    case MEMSC_SITE_HOP:
        if (site->moved || hop < text || hop + MEMSC_HOP_BYTES > text_end)
            return false;
        break;
    case MEMSC_SITE_AFTER:
        end += site->moved;
        if (end < begin + LONG_JUMP)
            end = begin + LONG_JUMP;
        break;
    case MEMSC_SITE_BEFORE:
        if (site->moved + MEMSC_SYSCALL_BYTES < LONG_JUMP)
            return false;
        begin -= site->moved;
        call += site->moved;
        break;
    default:
        return false;
    }
    if (site->moved > MEMSC_MOVED_MAX || begin < *from || end > text_end ||
        (site->bridge && (site->kind != MEMSC_SITE_BEFORE || site->moved < MEMSC_HOP_BYTES)) ||
        call[0] != 0x0f || call[1] != 0x05)
        return false;
    *from = end;
    return true;
}
