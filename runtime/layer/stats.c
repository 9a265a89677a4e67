/* SPDX-License-Identifier: MIT */
#include "stats.h"

#include <asm/signal.h>
#include <errno.h>
#include <linux/fcntl.h>
#include <stddef.h>
#include <sys/syscall.h>

#include "../src/cpu.h"
#include "../src/process.h"
#include "../src/table.h"
#include "../src/text.h"
#include "dispatch.h"

static const char *where;
static uint32_t kinds[MEMSC_SITE_BEFORE + 1], unpatched[MEMSC_MISSED_REASONS];
static uint64_t forwarded[MEMSC_NUMBERS], local[MEMSC_NUMBERS];

/* Counts reported already, as the pages' own never go back. */
static uint64_t forwarded_before[MEMSC_NUMBERS], local_before[MEMSC_NUMBERS];
static uint32_t reported_pid;

static const char *const kind_names[] = {NULL, "hop", "after", "before"};
static const char *const unpatched_names[] = {"undecoded", "no room", "jump", "no stub"};
static const char *const missed_names[] = {"handler", "vfork", "shared thread", "thread changed",
                                           "no service"};

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
    put(line, ", \"");
    put(line, name);
    put(line, "\": {");
    line->separator = "";
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

static void put_numbers(struct line *line, const char *group, const uint64_t *counts)
{
    open_group(line, group);
    for (uint32_t i = 0; i < MEMSC_NUMBERS; i++) {
        const char *name = memsc_call_name(i);
        put_count(line, name ? name : "unknown", counts[i]);
    }
    put(line, "}");
}

static uint32_t put_pid(struct line *line)
{
    uint32_t pid = (uint32_t)MEMSC_SYS(SYS_getpid, 0, 0, 0, 0, 0, 0);
    put(line, "{\"pid\": ");
    line->at = memsc_put_number(line->at, line->end, pid);
    return pid;
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

void memsc_stats_open(const char *path)
{
    where = path && *path ? path : NULL;
}

void memsc_stats_sites(const struct memsc_site *sites, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (sites[i].kind == MEMSC_SITE_MISSED)
            unpatched[sites[i].missed]++;
        else
            kinds[sites[i].kind]++;
}

static void collect(uint32_t pid)
{
    for (uint32_t n = 0; n < MEMSC_NUMBERS; n++) {
        if (reported_pid != pid) /* a forked child counts from 0 */
            forwarded_before[n] = local_before[n] = 0;
        forwarded[n] = local[n] = 0;
    }
    if (!memsc_running() || memsc_process->region->pid != pid)
        return;
    uint32_t used = atomic_load(&memsc_process->region->slots_used);
    for (uint32_t i = 0; i < used; i++)
        for (uint32_t n = 0; n < MEMSC_NUMBERS; n++) {
            forwarded[n] += memsc_process->slots[i].forwarded[n];
            local[n] += memsc_process->slots[i].local[n];
        }
    for (uint32_t n = 0; n < MEMSC_NUMBERS; n++) {
        uint64_t f = forwarded[n], l = local[n];
        forwarded[n] -= forwarded_before[n];
        local[n] -= local_before[n];
        forwarded_before[n] = f;
        local_before[n] = l;
    }
}

static void write_out(const char *text, size_t size)
{
    long fd = -1;
    if (*where >= '0' && *where <= '9')
        fd = (long)memsc_number(where);
    else
        fd = MEMSC_SYS(SYS_openat, AT_FDCWD, where, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600,
                       0, 0);
    if (fd < 0)
        return;
    /* A closed pipe or a limit on file sizes must not end a program for its statistics. */
    uint64_t both = 1ull << (SIGPIPE - 1) | 1ull << (SIGXFSZ - 1), before = 0, now[2] = {0, 0};
    MEMSC_SYS(SYS_rt_sigprocmask, SIG_BLOCK, &both, &before, sizeof both, 0, 0);
    long written = MEMSC_SYS(SYS_write, fd, text, size, 0, 0, 0);
    if (written == -EPIPE || written == -EFBIG)
        MEMSC_SYS(SYS_rt_sigtimedwait, &both, 0, now, sizeof both, 0, 0);
    MEMSC_SYS(SYS_rt_sigprocmask, SIG_SETMASK, &before, 0, sizeof both, 0, 0);
    if (*where < '0' || *where > '9')
        MEMSC_SYS(SYS_close, fd, 0, 0, 0, 0, 0);
}

void memsc_stats_write(const char *end)
{
    static char text[32 * 1024];
    if (!where)
        return;
    char program[64];
    struct line line = {text, text + sizeof text, ""};
    uint32_t pid = put_pid(&line);
    collect(pid);
    memsc_program_name(program, sizeof program);
    put(&line, ", \"program\": \"");
    put_quoted(&line, program);
    put(&line, "\", \"end\": \"");
    put(&line, end);
    put(&line, "\"");
    open_group(&line, "sites");
    for (uint32_t i = 1; i <= MEMSC_SITE_BEFORE; i++)
        put_count(&line, kind_names[i], kinds[i]);
    put(&line, "}");
    open_group(&line, "unpatched");
    for (uint32_t i = 0; i < MEMSC_MISSED_REASONS; i++)
        put_count(&line, unpatched_names[i], unpatched[i]);
    put(&line, "}");
    put_numbers(&line, "forwarded", forwarded);
    put_numbers(&line, "local", local);
    open_group(&line, "missed");
    for (uint32_t i = 0; i < MEMSC_UNFORWARDED_REASONS; i++)
        put_count(&line, missed_names[i],
                  atomic_exchange_explicit(&memsc_layer.unforwarded[i], 0, memory_order_relaxed));
    put(&line, "}}\n");
    reported_pid = pid;
    write_out(text, (size_t)(line.at - text));
}

void memsc_stats_execute(const char *path)
{
    enum { LONGEST = 1024, REST = 16 };
    char text[LONGEST + REST];
    if (!where)
        return;
    struct line line = {text, text + LONGEST, ""};
    put_pid(&line);
    put(&line, ", \"executes\": \"");
    put_quoted(&line, path);
    line.end = text + sizeof text; /* a path that is too long is cut */
    put(&line, "\"}\n");
    write_out(text, (size_t)(line.at - text));
}
