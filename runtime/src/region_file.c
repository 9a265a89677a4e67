/* SPDX-License-Identifier: MIT */
#include "region_file.h"

#include <asm/stat.h>
#include <asm/statfs.h>
#include <errno.h>
#include <linux/fcntl.h>
#include <sys/syscall.h>

#include "cpu.h"
#include "kept.h"
#include "text.h"

enum {
    PROGRAMS = 10000, /* programs that one process may execute in turn */
    OTHERS = 077,     /* rights of group and others */
    RINGS = 16,       /* there must be room for, or a few threads more would fill a folder */
};

/* Opens a folder to make files in; of others, only if it is this user's alone. */
static long open_folder(const char *directory, bool alone)
{
    long folder =
        MEMSC_SYS(SYS_openat, AT_FDCWD, directory, O_PATH | O_DIRECTORY | O_CLOEXEC, 0, 0, 0);
    struct stat status;
    if (folder < 0 || !alone)
        return folder;
    long error = MEMSC_SYS(SYS_fstat, folder, &status, 0, 0, 0, 0);
    if (!error && status.st_uid == (uint32_t)MEMSC_SYS(SYS_geteuid, 0, 0, 0, 0, 0, 0) &&
        !(status.st_mode & OTHERS))
        return folder;
    MEMSC_SYS(SYS_close, folder, 0, 0, 0, 0, 0);
    return -EACCES;
}

static int open_file(struct memsc_process *process, const char *directory, uint32_t pid,
                     uint64_t started)
{
    char *end = process->path + sizeof process->path;
    char *name = memsc_put(process->path, end, directory);
    name = memsc_put(name, end, "/");
    char *at = memsc_put_number(name, end, pid);
    at = memsc_put(at, end, "-");
    at = memsc_put_number(at, end, started);
    long folder = open_folder(directory, process->handed), fd = -EEXIST;
    if (folder < 0)
        return (int)folder;
    /* A process that executes one program after another makes a region for each. */
    for (uint32_t program = 0; program < PROGRAMS && fd == -EEXIST; program++) {
        char *tail = memsc_put(at, end, "-");
        tail = memsc_put_number(tail, end, program);
        tail = memsc_put(tail, end, ".region");
        if (tail >= end)
            fd = -ENAMETOOLONG;
        else
            fd = MEMSC_SYS(SYS_openat, folder, name,
                           O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600, 0, 0);
    }
    MEMSC_SYS(SYS_close, folder, 0, 0, 0, 0, 0);
    return (int)fd;
}

static bool has_room(int fd, uint64_t bytes)
{
    struct statfs status;
    return MEMSC_SYS(SYS_fstatfs, fd, &status, 0, 0, 0, 0) == 0 &&
           (uint64_t)status.f_bavail * (uint64_t)status.f_bsize >= bytes;
}

void memsc_region_unlink(struct memsc_process *process)
{
    if (process->path[0])
        MEMSC_SYS(SYS_unlinkat, AT_FDCWD, process->path, 0, 0, 0, 0);
    process->path[0] = 0;
}

/* The memory of a region that a session is given. */
static int open_memory(void)
{
    enum { CLOSED_ON_EXEC = 1, NOT_EXECUTABLE = 8 /* Linux 6.3 */ };
    static const char name[] = "memsc-region";
    long fd = MEMSC_SYS(SYS_memfd_create, name, CLOSED_ON_EXEC | NOT_EXECUTABLE, 0, 0, 0, 0);
    if (fd == -EINVAL)
        fd = MEMSC_SYS(SYS_memfd_create, name, CLOSED_ON_EXEC, 0, 0, 0, 0);
    return (int)fd;
}

/* The same in the session's folder, where it outlives program and session, if both are killed. Not where
 * there is no such folder for this process, or little room in it: memory alone has all the machine's. */
static int open_handed(struct memsc_process *process, const struct memsc_options *options,
                       uint32_t pid, uint64_t started)
{
    int fd = options->directory[0] ? open_file(process, options->directory, pid, started) : -ENOENT;
    if (fd >= 0 && has_room(fd, RINGS * options->ring_records * sizeof(struct memsc_call)))
        return fd;
    if (fd >= 0) {
        memsc_region_unlink(process);
        MEMSC_SYS(SYS_close, fd, 0, 0, 0, 0, 0);
    }
    process->path[0] = 0;
    return open_memory();
}

int memsc_region_open(struct memsc_process *process, const struct memsc_options *options,
                      uint32_t pid, uint64_t started)
{
    process->path[0] = 0;
    process->handed = memsc_kept_at(MEMSC_KEPT_SOCKET) >= 0;
    if (process->handed)
        return open_handed(process, options, pid, started);
    if (!options->directory[0] || options->session_inode)
        return MEMSC_REGION_UNSEEN;
    int fd = open_file(process, options->directory, pid, started);
    if (fd < 0)
        process->path[0] = 0;
    return fd;
}
