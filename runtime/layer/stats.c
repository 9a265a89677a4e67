/* SPDX-License-Identifier: MIT */
#include "stats.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/syscall.h>

#include "../src/afresh.h"
#include "../src/cpu.h"
#include "../src/kept.h"
#include "../src/process.h"
#include "../src/session.h"
#include "../src/table.h"
#include "../src/text.h"
#include "joining.h"

/* What is to be added to the counts of the region's slots: of calls that had no slot and of regions that
 * ended, less what was written already. A forked child finds zeros, as it finds no region. */
struct counts {
    _Atomic uint64_t forwarded[MEMSC_NUMBERS], local[MEMSC_NUMBERS];
    _Atomic uint64_t missed[MEMSC_UNFORWARDED_REASONS][MEMSC_NUMBERS];
    uint32_t kinds[MEMSC_SITE_KINDS], unpatched[MEMSC_MISSED_REASONS];
};

static bool told;             /* somebody listens */
static struct counts *counts; /* NULL: not to these */

static const char *const kind_names[] = {NULL, "hop", "after", "before", "in place"};
static const char *const unpatched_names[MEMSC_MISSED_REASONS] = {
    "undecoded",          "no room",   "jump",           "no stub", "function entry",
    "changed by another", "protected", "cancelled there"};

struct line {
    char *at, *end;
    const char *separator;
};

static void put(struct line *line, const char *text)
{
    line->at = memsc_put(line->at, line->end, text);
}

static void open_group(struct line *line, const char *name)
{
    put(line, line->separator);
    put(line, "\"");
    put(line, name);
    put(line, "\": {");
    line->separator = "";
}

static void close_group(struct line *line)
{
    put(line, "}");
    line->separator = ", ";
}

static void put_count(struct line *line, const char *name, uint64_t count)
{
    if (!count)
        return;
    put(line, line->separator);
    put(line, "\"");
    put(line, name);
    put(line, "\": ");
    line->at = memsc_put_number(line->at, line->end, count);
    line->separator = ", ";
}

/* What was counted since the last line. */
static uint64_t take(_Atomic uint64_t *kept, uint64_t in_slots)
{
    uint64_t count = load_relaxed(kept) + in_slots;
    subtract_relaxed(kept, count);
    return count;
}

/* sum: of the slots; NULL if they do not count these. */
static void put_numbers(struct line *line, const char *group, _Atomic uint64_t *kept,
                        uint64_t (*sum)(uint32_t number))
{
    open_group(line, group);
    for (uint32_t i = 0; i < MEMSC_NUMBERS; i++) {
        const char *name = memsc_call_name(i);
        put_count(line, name ? name : "unknown", take(&kept[i], sum ? sum(i) : 0));
    }
    close_group(line);
}

static bool is_any(_Atomic uint64_t *numbers, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (load_relaxed(&numbers[i]))
            return true;
    return false;
}

static void put_sites(struct line *line)
{
    open_group(line, "sites");
    for (uint32_t i = 1; i < MEMSC_SITE_KINDS; i++)
        put_count(line, kind_names[i], counts->kinds[i]);
    close_group(line);
    open_group(line, "unpatched");
    for (uint32_t i = 0; i < MEMSC_MISSED_REASONS; i++)
        put_count(line, unpatched_names[i], counts->unpatched[i]);
    close_group(line);
}

static void open_line(struct line *line)
{
    put(line, "{\"pid\": ");
    line->at =
        memsc_put_number(line->at, line->end, (uint64_t)MEMSC_SYS(SYS_getpid, 0, 0, 0, 0, 0, 0));
    line->separator = ", ";
}

/* What JSON would want escaped is rare in a name, and replaced. */
static void put_quoted(struct line *line, const char *text)
{
    char *at = line->at;
    put(line, text);
    for (; *at; at++)
        if (*at == '"' || *at == '\\' || (unsigned char)*at < ' ')
            *at = '_';
}

static void put_word(struct line *line, const char *name, const char *value)
{
    put(line, line->separator);
    put(line, "\"");
    put(line, name);
    put(line, "\": \"");
    put_quoted(line, value);
    put(line, "\"");
}

void memsc_stats_open(bool count)
{
    told = memsc_keeps(MEMSC_KEPT_SOCKET);
    if (!told || !count)
        return;
    long address = memsc_map_afresh(sizeof *counts);
    if (address >= 0)
        counts = (struct counts *)address;
}

void memsc_stats_sites(const struct memsc_site *sites, uint32_t count)
{
    for (uint32_t i = 0; counts && i < count; i++)
        if (sites[i].kind == MEMSC_SITE_MISSED)
            counts->unpatched[sites[i].missed]++;
        else
            counts->kinds[sites[i].kind]++;
}

void memsc_stats_local(long number)
{
    if (counts)
        add_relaxed(&counts->local[memsc_count_index(number)], 1);
}

void memsc_stats_missed(long number, enum memsc_unforwarded reason)
{
    if (counts)
        add_relaxed(&counts->missed[reason][memsc_count_index(number)], 1);
    /* Also of a child in its parent's memory: a session finds it with the parent's. */
    struct memsc_region *region = told ? memsc_region_now() : NULL;
    if (region)
        add_relaxed(&region->missed[reason], 1);
    else if (told)
        add_relaxed(&memsc_layer.own->unsaid[reason], 1);
}

void memsc_stats_catch_up(void)
{
    struct memsc_region *region = told ? memsc_region_now() : NULL;
    for (uint32_t i = 0; region && i < MEMSC_UNFORWARDED_REASONS; i++)
        add_relaxed(&region->missed[i], take(&memsc_layer.own->unsaid[i], 0));
}

static uint64_t forwarded_in_slots(uint32_t number)
{
    uint64_t sum = 0;
    const struct memsc_process *process = memsc_process();
    uint32_t used = atomic_load(&process->region->slots_used);
    for (uint32_t i = 0; i < used; i++)
        sum += process->slots[i].forwarded[number];
    return sum;
}

static uint64_t local_in_slots(uint32_t number)
{
    uint64_t sum = 0;
    const struct memsc_process *process = memsc_process();
    uint32_t used = atomic_load(&process->region->slots_used);
    for (uint32_t i = 0; i < used; i++)
        sum += process->slots[i].local[number];
    return sum;
}

void memsc_stats_keep(int64_t times)
{
    if (!counts || !memsc_has_region())
        return;
    for (uint32_t i = 0; i < MEMSC_NUMBERS; i++) {
        add_relaxed(&counts->forwarded[i], forwarded_in_slots(i) * (uint64_t)times);
        add_relaxed(&counts->local[i], local_in_slots(i) * (uint64_t)times);
    }
}

static void begin(struct line *line, const char *what)
{
    char program[64];
    open_line(line);
    memsc_program_name(program, sizeof program);
    put_word(line, what, program);
}

static void tell(struct line *line, const char *text)
{
    put(line, "}");
    memsc_tell(text, (size_t)(line->at - text), -1);
}

static void tell_of_program(const char *what, const char *why)
{
    char text[256];
    if (!told)
        return;
    struct line line = {text, text + sizeof text, ""};
    begin(&line, what);
    if (why) {
        put_word(&line, "why", why);
    } else { /* it starts */
        put(&line, line.separator);
        line.at = memsc_put_text(line.at, line.end);
    }
    tell(&line, text);
}

void memsc_stats_start(void)
{
    tell_of_program("starts", NULL);
}

void memsc_stats_leave(const char *why)
{
    tell_of_program("leaves", why);
}

static void put_unsaid(struct line *line)
{
    open_group(line, "unrecorded");
    for (uint32_t i = 0; i < MEMSC_UNFORWARDED_REASONS; i++)
        put_count(line, memsc_missed_reason(i), take(&memsc_layer.own->unsaid[i], 0));
    close_group(line);
}

static void put_counts(struct line *line)
{
    put_sites(line);
    bool slots = memsc_has_region();
    put_numbers(line, "forwarded", counts->forwarded, slots ? forwarded_in_slots : NULL);
    put_numbers(line, "local", counts->local, slots ? local_in_slots : NULL);
    open_group(line, "missed");
    for (uint32_t i = 0; i < MEMSC_UNFORWARDED_REASONS; i++)
        if (is_any(counts->missed[i], MEMSC_NUMBERS))
            put_numbers(line, memsc_missed_reason(i), counts->missed[i], NULL);
    close_group(line);
}

void memsc_stats_write(const char *end)
{
    static char text[64 * 1024];
    /* A task that shares the memory but is a process of its own has counted nothing. */
    if (!told || (memsc_running() && !memsc_has_region()))
        return;
    struct line line = {text, text + sizeof text, ""};
    begin(&line, "program");
    put_word(&line, "end", end);
    if (is_any(memsc_layer.own->unsaid, MEMSC_UNFORWARDED_REASONS))
        put_unsaid(&line);
    if (counts)
        put_counts(&line);
    tell(&line, text);
}

void memsc_stats_execute(const char *path, const char *obstacle)
{
    enum { LONGEST = 1024, REST = 128 };
    char text[LONGEST + REST];
    if (!told)
        return;
    struct line line = {text, text + LONGEST, ""}; /* a path that is too long is cut */
    open_line(&line);
    put(&line, ", \"executes\": \"");
    put_quoted(&line, path);
    line.end = text + sizeof text;
    put(&line, "\"");
    if (obstacle)
        put_word(&line, "why", obstacle);
    tell(&line, text);
}
