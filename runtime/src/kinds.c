/* SPDX-License-Identifier: MIT */
#include "kinds.h"

#include <asm/stat.h>
#include <sys/syscall.h>

#include "cpu.h"
#include "process.h"
#include "table.h"

enum kind { UNKNOWN = 0, STORAGE, MAY_BLOCK };

/* File types in st_mode; the headers that name them are the C library's or the kernel's, by turns. */
enum {
    TYPE = 0170000,
    REGULAR = 0100000,
    FOLDER = 0040000,
    BLOCKS = 0060000,
    CHARACTERS = 0020000
};

enum { MEMORY_DEVICES = 1 /* major number of /dev/null, /dev/zero, /dev/urandom, … */ };

static enum kind look(uint64_t descriptor)
{
    struct stat status;
    if (MEMSC_SYS(SYS_fstat, descriptor, &status, 0, 0, 0, 0) < 0)
        return STORAGE; /* the call will fail at once */
    uint32_t type = status.st_mode & TYPE;
    if (type == REGULAR || type == FOLDER || type == BLOCKS)
        return STORAGE;
    if (type == CHARACTERS && (status.st_rdev >> 8 & 0xfff) == MEMORY_DEVICES)
        return STORAGE;
    return MAY_BLOCK;
}

static void forget(uint64_t descriptor)
{
    if (descriptor < MEMSC_KINDS)
        store_relaxed(&memsc_process->kinds[descriptor], UNKNOWN);
}

static void forget_all(void)
{
    for (uint64_t i = 0; i < MEMSC_KINDS; i++)
        forget(i);
}

int memsc_fd_may_block(uint64_t descriptor)
{
    /* The kernel looks at the low 32 bits alone. */
    descriptor = (uint32_t)descriptor;
    if (descriptor >= MEMSC_KINDS)
        return look(descriptor) == MAY_BLOCK;
    enum kind kind = load_relaxed(&memsc_process->kinds[descriptor]);
    if (kind == UNKNOWN) {
        kind = look(descriptor);
        store_relaxed(&memsc_process->kinds[descriptor], kind);
    }
    return kind == MAY_BLOCK;
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
