/* SPDX-License-Identifier: MIT */
#include "kinds.h"

#include <asm/ioctls.h>
#include <asm/stat.h>
#include <asm/statfs.h>
#include <asm/termbits.h>
#include <linux/fcntl.h>
#include <stdbool.h>
#include <sys/syscall.h>

#include "barrier.h"
#include "cpu.h"
#include "process.h"
#include "text.h"

/* What is remembered: of what kind the table knows, a finer one. */
enum {
    STORAGE = MEMSC_KIND_STORAGE,
    WAITS = MEMSC_KIND_WAITS,
    OWN = MEMSC_KIND_OWN,
    TERMINAL, /* a background process that writes to it may have to be stopped */
    PSEUDO,   /* a file of the kernel's own, which may look at who writes */
    KIND_BITS = 3,
};

static uint32_t generation(void)
{
    return load_relaxed(&memsc_process()->kinds_generation) & UINT32_MAX >> KIND_BITS;
}

/* File types in st_mode; the headers that name them are the C library's or the kernel's, by turns. */
enum {
    TYPE = 0170000,
    REGULAR = 0100000,
    FOLDER = 0040000,
    BLOCKS = 0060000,
    CHARACTERS = 0020000,
    NO_TYPE = 0, /* epoll, eventfd, signalfd, … */
};

enum {
    MEMORY_DEVICES = 1, /* major number of /dev/null, /dev/zero, /dev/urandom, … */
    NO_DEVICE = 0,      /* … of file systems that lie on none */
};

static uint32_t major_of(uint64_t device)
{
    return device >> 8 & 0xfff;
}

/* Whether what /proc calls the descriptor ends so. */
static bool is_called(uint64_t descriptor, const char *ending)
{
    char path[48], name[256];
    char *end = path + sizeof path;
    memsc_put_number(memsc_put(path, end, "/proc/self/fd/"), end, (uint32_t)descriptor);
    long size = MEMSC_SYS(SYS_readlinkat, AT_FDCWD, path, name, sizeof name, 0, 0);
    long length = 0;
    while (ending[length])
        length++;
    if (size < length)
        return false;
    for (long i = 0; i < length; i++)
        if (name[size - length + i] != ending[i])
            return false;
    return true;
}

/* Files of /proc that are asked of, or changed, by the task itself: of another that is not at rest, the kernel
 * does not say in which call it is. */
static bool is_about_caller(uint64_t descriptor)
{
    return is_called(descriptor, "/timerslack_ns") || is_called(descriptor, "/syscall") ||
           is_called(descriptor, "/stack") || is_called(descriptor, "/wchan");
}

/* Whether a regular file without content is the kernel's own: of /proc, of a control group, of a security
 * module. File systems that only show something have no blocks; those in memory are named. */
static bool is_pseudo(uint64_t descriptor)
{
    enum { IN_MEMORY = 0x01021994, IN_RAM = (int)0x858458f6, LARGE_PAGES = (int)0x958458f6 };
    struct statfs status;
    if (MEMSC_SYS(SYS_fstatfs, descriptor, &status, 0, 0, 0, 0) < 0)
        return false;
    int type = (int)status.f_type;
    return status.f_blocks == 0 && type != IN_MEMORY && type != IN_RAM && type != LARGE_PAGES;
}

/* Terminals alone have some. */
static bool read_settings(uint64_t descriptor, struct termios *settings)
{
    return MEMSC_SYS(SYS_ioctl, descriptor, TCGETS, settings, 0, 0, 0) == 0;
}

static bool is_terminal(uint64_t descriptor)
{
    struct termios settings;
    return read_settings(descriptor, &settings);
}

/* 0: there is no such descriptor. */
static uint32_t look(uint64_t descriptor)
{
    struct stat status;
    if (MEMSC_SYS(SYS_fstat, descriptor, &status, 0, 0, 0, 0) < 0)
        return 0;
    uint32_t device = major_of(status.st_rdev);
    switch (status.st_mode & TYPE) {
    case REGULAR:
        if (status.st_size || status.st_blocks || major_of(status.st_dev) != NO_DEVICE ||
            !is_pseudo(descriptor))
            return STORAGE;
        return is_about_caller(descriptor) ? OWN : PSEUDO;
    case FOLDER:
    case BLOCKS:
        return STORAGE;
    case CHARACTERS:
        return device == MEMORY_DEVICES ? STORAGE : is_terminal(descriptor) ? TERMINAL : WAITS;
    case NO_TYPE:
        return is_called(descriptor, "[signalfd]") ? OWN : WAITS;
    default:
        return WAITS;
    }
}

/* The kernel stops a process that writes from the background to a terminal that wants that. */
static bool stops_writers(uint64_t descriptor)
{
    struct termios settings;
    return read_settings(descriptor, &settings) && settings.c_lflag & TOSTOP;
}

static bool writes(long number)
{
    return number == SYS_write || number == SYS_writev || number == SYS_pwrite64 ||
           number == SYS_pwritev || number == SYS_pwritev2 || number == SYS_sendfile;
}

static enum memsc_kind for_call(long number, uint64_t descriptor, uint32_t kind)
{
    switch (kind) {
    case TERMINAL:
        return writes(number) && stops_writers(descriptor) ? MEMSC_KIND_OWN : MEMSC_KIND_WAITS;
    case PSEUDO:
        return writes(number) ? MEMSC_KIND_OWN : MEMSC_KIND_STORAGE;
    case 0: /* the call will fail at once */
        return MEMSC_KIND_STORAGE;
    default:
        return (enum memsc_kind)kind;
    }
}

/* Remembered with the generation in which it was seen; 0 is of none. */
static uint32_t recall_kind(uint64_t descriptor)
{
    uint32_t seen = load_relaxed(&memsc_process()->kinds[descriptor]);
    return seen >> KIND_BITS == generation() ? seen & ((1 << KIND_BITS) - 1) : 0;
}

enum memsc_kind memsc_kind_of(long number, uint64_t descriptor)
{
    /* The kernel looks at the low 32 bits alone. */
    descriptor = (uint32_t)descriptor;
    if (descriptor >= MEMSC_KINDS)
        return for_call(number, descriptor, look(descriptor));
    uint32_t kind = recall_kind(descriptor);
    if (!kind) {
        uint32_t since = generation();
        kind = look(descriptor);
        store_relaxed(&memsc_process()->kinds[descriptor], since << KIND_BITS | kind);
    }
    return for_call(number, descriptor, kind);
}

enum memsc_kind memsc_kind_known(long number, uint64_t descriptor)
{
    (void)number;
    descriptor = (uint32_t)descriptor;
    uint32_t kind = descriptor < MEMSC_KINDS ? recall_kind(descriptor) : 0;
    return kind == WAITS || kind == TERMINAL ? MEMSC_KIND_WAITS : MEMSC_KIND_STORAGE;
}

static void forget(uint64_t descriptor)
{
    if (descriptor < MEMSC_KINDS)
        store_relaxed(&memsc_process()->kinds[descriptor], 0);
}

static void forget_all(void)
{
    add_relaxed(&memsc_process()->kinds_generation, 1);
}

void memsc_kinds_before(long number, const uint64_t args[6])
{
    if (memsc_fd_effect(number) == MEMSC_FD_CLOSE)
        forget((uint32_t)args[0]);
}

void memsc_kinds_update(long number, const uint64_t args[6], long result)
{
    switch (memsc_fd_effect(number)) {
    case MEMSC_FD_NONE:
        return;
    case MEMSC_FD_RESULT:
        if (result >= 0)
            forget((uint64_t)result);
        return;
    case MEMSC_FD_CLOSE:
        forget((uint32_t)args[0]);
        return;
    case MEMSC_FD_SECOND:
        forget((uint32_t)args[1]);
        return;
    case MEMSC_FD_ALL:
        forget_all();
        return;
    }
}

void memsc_kinds_missed(long number)
{
    if (memsc_fd_effect(number) != MEMSC_FD_NONE && memsc_running())
        forget_all();
}
