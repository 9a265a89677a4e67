/* SPDX-License-Identifier: MIT */
#include "kept.h"

#include <asm/stat.h>
#include <errno.h>
#include <linux/fcntl.h>
#include <sys/syscall.h>

#include "cpu.h"
#include "handshake.h"

enum {
    LOWEST = 3,
    HIGH = 240,    /* bash takes 255 and those below it, others the lowest free ones */
    BEYOND = 1024, /* the usual limit, beyond which none is made */
};

struct memsc_kept memsc_kept[MEMSC_KEPT_NAMES];

static bool leads_to(int descriptor, uint64_t device, uint64_t inode)
{
    struct stat status;
    return MEMSC_SYS(SYS_fstat, descriptor, &status, 0, 0, 0, 0) == 0 && status.st_ino == inode &&
           status.st_dev == device;
}

int memsc_keep(enum memsc_kept_name name, int descriptor, uint64_t device, uint64_t inode)
{
    struct stat status;
    struct memsc_kept *kept = &memsc_kept[name];
    long error = MEMSC_SYS(SYS_fstat, descriptor, &status, 0, 0, 0, 0);
    if (error < 0)
        return (int)error;
    if ((inode && status.st_ino != inode) || (device && status.st_dev != device))
        return -ENOENT;
    kept->device = status.st_dev;
    kept->inode = status.st_ino;
    store_relaxed(&kept->number, descriptor);
    return 0;
}

int memsc_kept_at(enum memsc_kept_name name)
{
    const struct memsc_kept *kept = &memsc_kept[name];
    int last = load_relaxed(&kept->number);
    if (!kept->inode)
        return -1;
    if (leads_to(last, kept->device, kept->inode))
        return last;
    for (int i = BEYOND - 1; i >= LOWEST; i--)
        if (leads_to(i, kept->device, kept->inode))
            return i;
    return -1;
}

int memsc_kept_is(int descriptor, bool look)
{
    for (int name = 0; name < MEMSC_KEPT_NAMES; name++) {
        const struct memsc_kept *kept = &memsc_kept[name];
        if (kept->inode && (look || load_relaxed(&kept->number) == descriptor) &&
            leads_to(descriptor, kept->device, kept->inode))
            return name;
    }
    return -1;
}

int memsc_duplicate_high(int descriptor)
{
    /* Under a lower limit as high as it goes. */
    long number = -EINVAL;
    for (int from = HIGH; number == -EINVAL && from >= LOWEST; from /= 2)
        number = MEMSC_SYS(SYS_fcntl, descriptor, F_DUPFD, from, 0, 0, 0);
    return (int)number;
}
