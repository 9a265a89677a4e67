/* SPDX-License-Identifier: MIT
 *
 * The classic small system calls, one operation at a time.
 */
#include "calls.h"

#include <fcntl.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common.h"
#include "cpu.h"

enum { MOST = 1 << 20 }; /* bytes of a file, and of the largest read */

static struct {
    long (*make)(long number, const long args[6]); /* NULL: a plain system call */
    int file;                                      /* of MOST bytes, unlinked */
    int pair[2];    /* pipe or sockets: read from the first, write to the second */
    char path[256]; /* a file that stays until the end */
    size_t size;
    char *block;
} at;

static long call(long number, long a, long b, long c, long d, long e, long f)
{
    if (!at.make)
        return syscall(number, a, b, c, d, e, f);
    const long args[6] = {a, b, c, d, e, f};
    return at.make(number, args);
}

static void expect(long result, long wanted)
{
    if (result != wanted)
        fail("call", result < 0 ? (int)(at.make ? -result : errno) : EIO);
}

static void null_call(void)
{
    call(SYS_getppid, 0, 0, 0, 0, 0, 0);
}

/* Back to the start by lseek would be a second call: the position is kept by reading it all. */
static void read_call(void)
{
    long got = call(SYS_read, at.file, (long)at.block, (long)at.size, 0, 0, 0);
    if (!got) { /* at the end: not timed again, one in MOST / size */
        lseek(at.file, 0, SEEK_SET);
        return;
    }
    expect(got, (long)at.size);
}

static void write_call(void)
{
    expect(call(SYS_pwrite64, at.file, (long)at.block, (long)at.size, 0, 0, 0), (long)at.size);
}

static void pread_call(void)
{
    expect(call(SYS_pread64, at.file, (long)at.block, (long)at.size, 0, 0, 0), (long)at.size);
}

static void open_close(void)
{
    long fd = call(SYS_openat, AT_FDCWD, (long)at.path, O_RDONLY | O_CLOEXEC, 0, 0, 0);
    if (fd < 0)
        fail(at.path, at.make ? (int)-fd : errno);
    expect(call(SYS_close, fd, 0, 0, 0, 0, 0), 0);
}

static void stat_call(void)
{
    struct stat found;
    expect(call(SYS_newfstatat, AT_FDCWD, (long)at.path, (long)&found, 0, 0, 0), 0);
}

static void fstat_call(void)
{
    struct stat found;
    expect(call(SYS_newfstatat, at.file, (long)"", (long)&found, AT_EMPTY_PATH, 0, 0), 0);
}

static void lseek_call(void)
{
    expect(call(SYS_lseek, at.file, 0, SEEK_SET, 0, 0, 0), 0);
}

static void map_unmap(void)
{
    long got = call(SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (got < 0 && got > -4096)
        fail("mmap", at.make ? (int)-got : errno);
    expect(call(SYS_munmap, got, 4096, 0, 0, 0, 0), 0);
}

static void to_and_fro(void)
{
    expect(call(SYS_write, at.pair[1], (long)at.block, 1, 0, 0, 0), 1);
    expect(call(SYS_read, at.pair[0], (long)at.block, 1, 0, 0, 0), 1);
}

static const struct {
    const char *name;
    void (*run)(void);
    bool sized; /* the name ends in -BYTES */
} OPERATIONS[] = {
    {"getppid", null_call, false}, {"read", read_call, true},        {"write", write_call, true},
    {"pread", pread_call, true},   {"openclose", open_close, false}, {"stat", stat_call, false},
    {"fstat", fstat_call, false},  {"lseek", lseek_call, false},     {"mmap", map_unmap, false},
    {"pipe", to_and_fro, false},   {"socket", to_and_fro, false},
};

static void (*find(const char *name))(void)
{
    const char *dash = strchr(name, '-');
    size_t length = dash ? (size_t)(dash - name) : strlen(name);
    for (size_t i = 0; i < sizeof OPERATIONS / sizeof *OPERATIONS; i++)
        if (strlen(OPERATIONS[i].name) == length && !strncmp(OPERATIONS[i].name, name, length) &&
            OPERATIONS[i].sized == (dash != NULL)) {
            at.size = dash ? (size_t)positive(dash + 1) : 1;
            return at.size && at.size <= MOST ? OPERATIONS[i].run : NULL;
        }
    return NULL;
}

static void prepare(const char *name, const char *folder)
{
    at.block =
        mmap(NULL, MOST, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (at.block == MAP_FAILED)
        fail("memory", errno);
    memset(at.block, 'm', MOST);
    snprintf(at.path, sizeof at.path, "%s/calls-%d", folder, getpid());
    at.file = open(at.path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (at.file < 0 || write(at.file, at.block, MOST) != MOST)
        fail(at.path, errno);
    lseek(at.file, 0, SEEK_SET);
    if (strcmp(name, "socket") ? pipe(at.pair) : socketpair(AF_UNIX, SOCK_STREAM, 0, at.pair))
        fail(name, errno);
}

int memsc_work_calls(const char *name, const char *folder,
                     long (*make)(long number, const long args[6]), uint64_t *array,
                     size_t operations)
{
    void (*run)(void) = find(name);
    if (!run)
        return -EINVAL;
    prepare(name, folder);
    at.make = make;
    size_t warm_up = operations / 20 + 1;
    for (size_t i = 0; i < warm_up + operations; i++) {
        uint64_t since = memsc_cycles();
        run();
        uint64_t took = memsc_cycles() - since;
        if (i >= warm_up)
            array[i - warm_up] = took;
    }
    unlink(at.path);
    return 0;
}
