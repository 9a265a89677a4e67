/* SPDX-License-Identifier: MIT */
#include "own_paths.h"

#include <asm/stat.h>
#include <asm/statfs.h>
#include <errno.h>
#include <linux/fcntl.h>
#include <linux/magic.h>
#include <stddef.h>
#include <sys/syscall.h>

#include "../src/table.h"
#include "../src/text.h"
#include "dispatch.h"
#include "joining.h"
#include "own_calls.h"
#include "peek.h"
#include "../src/cpu.h"

enum { NO_PATH = 0, FIRST, SECOND, OPENS = 4 };

static const uint8_t paths[MEMSC_KNOWN] = {
    [SYS_openat] = SECOND | OPENS,    [SYS_openat2] = SECOND,
    [SYS_newfstatat] = SECOND,        [SYS_statx] = SECOND,
    [SYS_faccessat] = SECOND,         [SYS_faccessat2] = SECOND,
    [SYS_readlinkat] = SECOND,        [SYS_statfs] = FIRST,
    [SYS_getxattr] = FIRST,           [SYS_lgetxattr] = FIRST,
    [SYS_listxattr] = FIRST,          [SYS_llistxattr] = FIRST,
    [SYS_inotify_add_watch] = SECOND, [SYS_truncate] = FIRST,
    [SYS_fchmodat] = SECOND,          [SYS_fchownat] = SECOND,
    [SYS_utimensat] = SECOND,         MEMSC_OWN_PATHS};

/* ---- thread-self ---- */

static uint64_t each(uint8_t byte)
{
    return byte * 0x0101010101010101ull;
}

/* Has its top bit set in each byte that is 0 (and perhaps in one behind it). */
static uint64_t zeros(uint64_t bytes)
{
    return (bytes - each(1)) & ~bytes & each(0x80);
}

static bool is_end(char character)
{
    return character == '/' || character == 0;
}

/* At the `-` of a component `thread-self`? */
static bool is_thread_self(const char *path, const char *dash)
{
    static const char before[] = "thread", behind[] = "self";
    for (size_t i = 0; behind[i]; i++)
        if (dash[1 + i] != behind[i])
            return false;
    const char *first = dash - (sizeof before - 1);
    if (!is_end(dash[sizeof behind]) || dash - path < (ptrdiff_t)sizeof before - 1 ||
        (first > path && first[-1] != '/'))
        return false;
    for (size_t i = 0; before[i]; i++)
        if (first[i] != before[i])
            return false;
    return true;
}

/* On the way of every call with a path, so eight bytes at a time. They are read as they lie in memory, and so
 * never from a page that the string has no part of. */
static bool names_thread_self(const char *path)
{
    const uint64_t *word = (const uint64_t *)((uintptr_t)path & -8);
    /* Bytes in front of the string are made ones that are neither. */
    uint64_t bytes = *word | ((1ull << ((uintptr_t)path & 7) * 8) - 1);
    for (;;) {
        if (zeros(bytes ^ each('-')) | zeros(bytes))
            for (int i = 0; i < 8; i++) {
                const char *at = (const char *)word + i;
                if (at < path)
                    continue;
                if (!*at)
                    return false;
                if (*at == '-' && is_thread_self(path, at))
                    return true;
            }
        bytes = *++word;
    }
}

/* ---- the process's own threads ---- */

static bool begins(const char **at, const char *word)
{
    const char *here = *at;
    for (; *word; word++, here++)
        if (*here != *word)
            return false;
    if (!is_end(*here))
        return false;
    while (*here == '/')
        here++;
    *at = here;
    return true;
}

/* As /proc has it, which may be of another PID namespace. */
static uint64_t own_number(void)
{
    char link[24];
    long size = MEMSC_SYS(SYS_readlinkat, AT_FDCWD, "/proc/self", link, sizeof link - 1, 0, 0);
    if (size <= 0)
        return (uint64_t)MEMSC_SYS(SYS_getpid, 0, 0, 0, 0, 0, 0);
    link[size] = 0;
    return memsc_number(link);
}

/* self, thread-self, or this process's number. */
static bool begins_with_self(const char **at)
{
    const char *here = *at;
    if (begins(at, "self") || begins(at, "thread-self"))
        return true;
    uint64_t number = memsc_take_number(&here);
    if (here == *at || *here != '/' || number != own_number())
        return false;
    while (*here == '/')
        here++;
    *at = here;
    return true;
}

/* Spelled as nearly all do: known without a look. */
static bool is_spelled_plainly(const char *path)
{
    if (path[0] == '/') {
        if (path[1] != 'p' || path[2] != 'r' || path[3] != 'o' || path[4] != 'c' || path[5] != '/')
            return false;
        path += 6;
    } else if (path[0] != 's' && path[0] != 't' && (path[0] < '0' || path[0] > '9')) {
        return false;
    }
    while (*path == '/')
        path++;
    return begins_with_self(&path) &&
           (begins(&path, "task") || begins(&path, "stat") || begins(&path, "status"));
}

/* The same of the process and of the thread: both tell how many threads there are. */
static const char *const shown[][2] = {{"/proc/self/task", NULL},
                                       {"/proc/self/stat", "/proc/thread-self/stat"},
                                       {"/proc/self/status", "/proc/thread-self/status"},
                                       {"/proc/self/sched", "/proc/thread-self/sched"}};

enum { NAMES = sizeof shown / sizeof *shown, BEFORE_NAME = sizeof "/proc/self/" - 1 };

/* Which of them a path's last component is; NAMES: none. */
static int last_name(const char *path)
{
    const char *end = path;
    while (*end)
        end++;
    while (end > path && end[-1] == '/')
        end--;
    /* Nearly all paths are done with here. */
    if (end - path < 4 || (end[-1] != 'k' && end[-1] != 't' && end[-1] != 's' && end[-1] != 'd'))
        return NAMES;
    for (int i = 0; i < NAMES; i++) {
        const char *name = shown[i][0] + BEFORE_NAME, *at = end;
        const char *last = name;
        while (*last)
            last++;
        while (last > name && at > path && at[-1] == last[-1])
            last--, at--;
        if (last == name && (at == path || at[-1] == '/'))
            return i;
    }
    return NAMES;
}

/* The same file, by whatever way it is reached: no descriptor is needed to see it. */
static bool is_same(const struct stat *found, const char *own)
{
    struct stat other;
    return own && MEMSC_SYS(SYS_newfstatat, AT_FDCWD, own, &other, 0, 0, 0) == 0 &&
           other.st_ino == found->st_ino && other.st_dev == found->st_dev;
}

/* path: as copied, so that it can be looked at; by: the program's, from its folder. */
static bool shows_threads(const char *path, uint64_t folder, uint64_t by)
{
    struct stat found;
    if (is_spelled_plainly(path))
        return true;
    int name = last_name(path);
    return name < NAMES && MEMSC_SYS(SYS_newfstatat, folder, by, &found, 0, 0, 0) == 0 &&
           (is_same(&found, shown[name][0]) || is_same(&found, shown[name][1]));
}

/* ---- calls ---- */

static uint64_t folder_of(long number, const uint64_t args[6])
{
    return (paths[number] & 3) == SECOND ? args[0] : (uint64_t)AT_FDCWD;
}

/* Whether the kernel has read the path: only then is it certain that there is one. */
static bool has_been_read(long result)
{
    return result >= 0 || result == -ENOENT || result == -EACCES || result == -EPERM ||
           result == -ENOTDIR || result == -ESRCH;
}

static bool is_of_proc(long descriptor)
{
    struct statfs status;
    return MEMSC_SYS(SYS_fstatfs, descriptor, &status, 0, 0, 0, 0) == 0 &&
           status.f_type == PROC_SUPER_MAGIC;
}

bool memsc_met_wrong_thread(long number, const uint64_t args[6], long result)
{
    if ((unsigned long)number >= MEMSC_KNOWN || paths[number] == NO_PATH || !has_been_read(result))
        return false;
    /* An empty one is valid too, and statx takes NULL for one. */
    const char *path = (const char *)args[(paths[number] & 3) - 1];
    if (!path)
        return false;
    bool by_thread = names_thread_self(path);
    bool counts = shows_threads(path, folder_of(number, args), (uint64_t)path);
    if (__builtin_expect(!by_thread && !counts, 1))
        return false;
    bool opened = paths[number] & OPENS && result >= 0;
    /* Something else of that name: opened again, it might not be new any more. */
    if (opened && !is_of_proc(result))
        return false;
    if (counts && !memsc_hide_threads() && !by_thread)
        return false;
    if (opened)
        MEMSC_SYS(SYS_close, result, 0, 0, 0, 0, 0);
    return true;
}

void memsc_hide_before(long number, const uint64_t args[6])
{
    char path[64];
    if ((unsigned long)number >= MEMSC_KNOWN || paths[number] == NO_PATH ||
        !memsc_peek_string(path, sizeof path, args[(paths[number] & 3) - 1]) ||
        !shows_threads(path, folder_of(number, args), args[(paths[number] & 3) - 1]))
        return;
    /* A process that shares this one's memory has no say in its service. */
    if (!memsc_running() || memsc_has_region())
        memsc_hide_threads();
}

bool memsc_leads_to_thread(const uint64_t args[6])
{
    char path[256];
    return memsc_peek_string(path, sizeof path, args[0]) && names_thread_self(path);
}
