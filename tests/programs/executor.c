/* SPDX-License-Identifier: MIT
 *
 * executor OPERATIONS RESULTS: carries out operations, one a line (a name and numbers), and writes what
 * each returned. Descriptors are kept in slots, so that an operation can be thought up before it is
 * known which numbers there will be; the numbers are written, too, for programs rely on them.
 *
 * Nothing in it waits for ever: what might is asked beforehand whether it would.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SLOTS = 8, MAPS = 3, LARGEST = 1 << 16, PAGE = 4096 };

static int slots[SLOTS] = {-1, -1, -1, -1, -1, -1, -1, -1};
static struct {
    uint8_t *address;
    size_t size;
} maps[MAPS];
static uint8_t buffer[LARGEST];
static uint64_t seen; /* a hash of what the operation has got */
static volatile sig_atomic_t caught;
static void *volatile nowhere = (void *)8; /* so that the compiler does not know better */

static const char *const names[] = {"a", "b", "d", "d/c", "d/e", "none/x", "", "link"};

static const char *name(long index)
{
    return names[index % 8];
}

static int *slot(long index)
{
    return &slots[index % SLOTS];
}

static void see(const void *data, long size)
{
    for (long i = 0; i < size; i++)
        seen = (seen ^ ((const uint8_t *)data)[i]) * 0x100000001b3;
}

static void fill(long size, long seed)
{
    for (long i = 0; i < size; i++)
        buffer[i] = (uint8_t)(seed + i * 7 + i / 256);
}

static long keep(long index, int descriptor)
{
    if (descriptor >= 0)
        *slot(index) = descriptor;
    return descriptor;
}

static bool would_wait(int descriptor, short events)
{
    struct pollfd wanted = {descriptor, events, 0};
    return poll(&wanted, 1, 0) == 0;
}

static long got(long result)
{
    see(buffer, result);
    return result;
}

/* ---- operations ---- */

static long do_open(const long *a)
{
    static const int flags[] = {O_RDONLY,
                                O_WRONLY | O_CREAT,
                                O_RDWR | O_CREAT,
                                O_RDWR | O_CREAT | O_TRUNC,
                                O_WRONLY | O_CREAT | O_APPEND,
                                O_RDWR | O_CREAT | O_EXCL,
                                O_RDONLY | O_DIRECTORY,
                                O_RDWR | O_NOFOLLOW | O_CLOEXEC};
    return keep(a[0], open(name(a[1]), flags[a[2] % 8], 0666));
}

static long do_close(const long *a)
{
    int descriptor = *slot(a[0]);
    *slot(a[0]) = -1;
    return close(descriptor);
}

static long do_read(const long *a)
{
    return would_wait(*slot(a[0]), POLLIN) ? -7 : got(read(*slot(a[0]), buffer, a[1] % LARGEST));
}

static long do_readv(const long *a)
{
    struct iovec parts[] = {{buffer, (size_t)a[1] % 100}, {buffer + 100, (size_t)a[2] % 9000}};
    memset(buffer, 0, sizeof buffer);
    return would_wait(*slot(a[0]), POLLIN) ? -7 : got(readv(*slot(a[0]), parts, 2));
}

static long do_pread(const long *a)
{
    return got(pread(*slot(a[0]), buffer, a[1] % LARGEST, a[2]));
}

static long do_write(const long *a)
{
    fill(a[1] % LARGEST, a[2]);
    return would_wait(*slot(a[0]), POLLOUT) ? -7 : write(*slot(a[0]), buffer, a[1] % LARGEST);
}

static long do_writev(const long *a)
{
    struct iovec parts[] = {{buffer, (size_t)a[1] % 100}, {buffer + 7, (size_t)a[2] % 9000}};
    fill(LARGEST, a[1]);
    return would_wait(*slot(a[0]), POLLOUT) ? -7 : writev(*slot(a[0]), parts, 2);
}

static long do_pwrite(const long *a)
{
    fill(a[1] % LARGEST, a[2]);
    return pwrite(*slot(a[0]), buffer, a[1] % LARGEST, a[2] % (1 << 20));
}

static long do_bad_read(const long *a)
{
    return would_wait(*slot(a[0]), POLLIN) ? -7 : read(*slot(a[0]), nowhere, 10);
}

static long do_bad_name(const long *a)
{
    return a[0] % 2 ? open(nowhere, O_RDONLY) : stat(nowhere, (void *)buffer);
}

static long do_lseek(const long *a)
{
    static const int from[] = {SEEK_SET, SEEK_CUR, SEEK_END, SEEK_DATA, SEEK_HOLE, 77};
    return lseek(*slot(a[0]), a[1] - 1000, from[a[2] % 6]);
}

static long do_dup(const long *a)
{
    return keep(a[1], dup(*slot(a[0])));
}

static long do_dup2(const long *a)
{
    return dup2(*slot(a[0]), *slot(a[1]));
}

static long do_dupfd(const long *a)
{
    return keep(a[1], fcntl(*slot(a[0]), F_DUPFD_CLOEXEC, (int)(a[2] % 40)));
}

static long do_pipe(const long *a)
{
    int ends[2] = {-1, -1};
    long result = pipe2(ends, O_NONBLOCK);
    keep(a[0], ends[0]);
    keep(a[1], ends[1]);
    return result;
}

static long do_socketpair(const long *a)
{
    int ends[2] = {-1, -1};
    long result =
        socketpair(AF_UNIX, (a[2] % 2 ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK, 0, ends);
    keep(a[0], ends[0]);
    keep(a[1], ends[1]);
    return result;
}

static long do_eventfd(const long *a)
{
    return keep(a[0], eventfd((unsigned)a[1] % 9, EFD_NONBLOCK));
}

static long do_send(const long *a)
{
    fill(a[1] % 4000, a[2]);
    return send(*slot(a[0]), buffer, a[1] % 4000, a[2] % 2 ? MSG_DONTWAIT : MSG_NOSIGNAL);
}

static long do_recv(const long *a)
{
    return got(recv(*slot(a[0]), buffer, a[1] % 4000, MSG_DONTWAIT | (a[2] % 2 ? MSG_PEEK : 0)));
}

static long do_shutdown(const long *a)
{
    return shutdown(*slot(a[0]), (int)(a[1] % 4));
}

static long do_ftruncate(const long *a)
{
    return ftruncate(*slot(a[0]), a[1] % (1 << 18) - 5);
}

static long do_truncate(const long *a)
{
    return truncate(name(a[0]), a[1] % (1 << 18) - 5);
}

static long do_fallocate(const long *a)
{
    static const int modes[] = {0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE};
    return fallocate(*slot(a[0]), modes[a[1] % 3], a[2] % 9000, a[1] % 70000);
}

static long do_rename(const long *a)
{
    return rename(name(a[0]), name(a[1]));
}

static long do_link(const long *a)
{
    return a[2] % 2 ? link(name(a[0]), name(a[1])) : symlink(name(a[0]), name(a[1]));
}

static long do_unlink(const long *a)
{
    return a[1] % 2 ? unlink(name(a[0])) : remove(name(a[0]));
}

static long do_mkdir(const long *a)
{
    return a[1] % 3 ? mkdir(name(a[0]), 0777) : rmdir(name(a[0]));
}

static long saw_status(const struct stat *status, long result)
{
    if (result == 0) {
        uint64_t known[] = {status->st_mode, S_ISDIR(status->st_mode) ? 0 : status->st_size,
                            status->st_nlink};
        see(known, sizeof known);
    }
    return result;
}

static long do_stat(const long *a)
{
    struct stat status;
    return saw_status(&status, a[1] % 2 ? stat(name(a[0]), &status) : lstat(name(a[0]), &status));
}

static long do_fstat(const long *a)
{
    struct stat status;
    return saw_status(&status, fstat(*slot(a[0]), &status));
}

static long do_chmod(const long *a)
{
    return chmod(name(a[0]), (mode_t)a[1] % 01000 | 0600);
}

static long do_readlink(const long *a)
{
    return got(readlink(name(a[0]), (char *)buffer, 100));
}

static long do_access(const long *a)
{
    return access(name(a[0]), (int)(a[1] % 8));
}

static long do_umask(const long *a)
{
    return umask((mode_t)a[0] % 0100);
}

static long do_chdir(const long *a)
{
    long result = a[0] % 3 ? chdir("..") : chdir("d");
    /* Never out of the folder it was started in. */
    return getcwd((char *)buffer, PAGE) && strstr((char *)buffer, "/executor")
               ? result
               : -8 - chdir("executor");
}

static long do_flags(const long *a)
{
    int flags = fcntl(*slot(a[0]), F_GETFL);
    if (flags >= 0 && a[1] % 2)
        return fcntl(*slot(a[0]), F_SETFL, flags ^ O_APPEND);
    return flags;
}

static long do_available(const long *a)
{
    int count = -1;
    long result = ioctl(*slot(a[0]), FIONREAD, &count);
    see(&count, sizeof count);
    return result;
}

static long do_lock(const long *a)
{
    struct flock lock = {.l_type = (short)(a[1] % 3), .l_start = a[2], .l_len = 10};
    return fcntl(*slot(a[0]), F_SETLK, &lock);
}

static long do_poll(const long *a)
{
    struct pollfd both[] = {{*slot(a[0]), POLLIN | POLLOUT, 0}, {*slot(a[1]), POLLIN, 0}};
    long result = poll(both, 2, (int)(a[2] % 2));
    see(both, 0);
    see(&both[0].revents, sizeof both[0].revents);
    see(&both[1].revents, sizeof both[1].revents);
    return result;
}

static long do_sendfile(const long *a)
{
    return would_wait(*slot(a[1]), POLLOUT)
               ? -7
               : sendfile(*slot(a[1]), *slot(a[0]), NULL, (size_t)a[2] % 9000);
}

static long do_copy(const long *a)
{
    return copy_file_range(*slot(a[0]), NULL, *slot(a[1]), NULL, (size_t)a[2] % 9000, 0);
}

static long do_sync(const long *a)
{
    return a[1] % 2 ? fsync(*slot(a[0])) : fdatasync(*slot(a[0]));
}

static long do_mmap(const long *a)
{
    static const int protections[] = {PROT_READ, PROT_READ | PROT_WRITE, PROT_NONE, PROT_WRITE};
    size_t at = (size_t)a[0] % MAPS;
    if (maps[at].address)
        return -9;
    int descriptor = a[3] % 4 ? *slot(a[1]) : -1;
    struct stat status;
    size_t size = a[2] % 3 + 1;
    if (descriptor >= 0 && (fstat(descriptor, &status) || status.st_size < (off_t)(size * PAGE)))
        return -10;
    int flags = (descriptor < 0 ? MAP_ANONYMOUS : 0) | (a[3] % 2 ? MAP_SHARED : MAP_PRIVATE);
    int protection = protections[a[2] % 4];
    void *address = mmap(NULL, size * PAGE, protection, flags, descriptor, 0);
    if (address == MAP_FAILED)
        return -1;
    maps[at].address = address;
    maps[at].size = size * PAGE;
    return 0;
}

static long do_munmap(const long *a)
{
    size_t at = (size_t)a[0] % MAPS;
    long result = munmap(maps[at].address, maps[at].size);
    maps[at].address = NULL;
    return result;
}

static long do_mprotect(const long *a)
{
    size_t at = (size_t)a[0] % MAPS;
    return mprotect(maps[at].address, maps[at].size, (int)(a[1] % 4));
}

static long do_mremap(const long *a)
{
    size_t at = (size_t)a[0] % MAPS;
    if (!maps[at].address)
        return -9;
    void *address = mremap(maps[at].address, maps[at].size, PAGE, MREMAP_MAYMOVE);
    if (address == MAP_FAILED)
        return -1;
    maps[at].address = address;
    maps[at].size = PAGE;
    return 0;
}

/* The kernel reads and writes mapped memory, whatever protection it has. */
static long do_map_io(const long *a)
{
    size_t at = (size_t)a[0] % MAPS;
    int descriptor = *slot(a[1]);
    uint8_t *address = maps[at].address ? maps[at].address : (uint8_t *)(uintptr_t)PAGE;
    if (a[2] % 2)
        return would_wait(descriptor, POLLOUT) ? -7 : write(descriptor, address, 100);
    return would_wait(descriptor, POLLIN) ? -7 : read(descriptor, address + 200, 100);
}

/* By the kernel's hand: what lies behind the end of a file that has become shorter is an error then,
 * and no signal. */
static long do_poke(const long *a)
{
    size_t at = (size_t)a[0] % MAPS;
    uint8_t value = (uint8_t)a[2];
    struct iovec from = {&value, 1}, to = {maps[at].address + (size_t)a[1] % PAGE, 1};
    return process_vm_writev(getpid(), &from, 1, &to, 1, 0);
}

static long do_peek(const long *a)
{
    size_t at = (size_t)a[0] % MAPS;
    struct iovec from = {maps[at].address, PAGE}, to = {buffer, PAGE};
    long result = got(process_vm_readv(getpid(), &to, 1, &from, 1, 0));
    return result < 0 ? result : msync(maps[at].address, PAGE, MS_SYNC);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static long do_list(const long *a)
{
    struct dirent **entries;
    int count = scandir(name(a[0]), &entries, NULL, by_name);
    for (int i = 0; i < count; i++) {
        see(entries[i]->d_name, (long)strlen(entries[i]->d_name));
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
    return count;
}

static long do_stdio(const long *a)
{
    FILE *file = fopen(name(a[0]), a[1] % 2 ? "a+" : "r");
    if (!file)
        return -1;
    fprintf(file, "%ld\n", a[2]);
    rewind(file);
    while (fgets((char *)buffer, 80, file))
        see(buffer, (long)strlen((char *)buffer));
    return fclose(file);
}

/* The child has its parent's files and goes on by itself. */
static long do_fork(const long *a)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        long wrote = would_wait(*slot(a[0]), POLLOUT) ? -7 : write(*slot(a[0]), "child", 5);
        _exit(wrote == 5 ? 5 : wrote == -7 ? 7 : errno % 100);
    }
    pid_t ended = waitpid(child, &status, 0);
    return ended == child ? status : -1;
}

static long do_spawn(const long *a)
{
    char *const arguments[] = {"sh", "-c", a[0] % 2 ? "ls d 2>/dev/null | wc -l >b" : "exit 3",
                               NULL};
    char *const nothing[] = {"PATH=/usr/bin:/bin", NULL};
    pid_t child;
    int status = 0,
        error = posix_spawn(&child, "/bin/sh", NULL, NULL, arguments, a[1] % 2 ? nothing : environ);
    return error || waitpid(child, &status, 0) != child ? -1 : status;
}

static void catch(int number)
{
    caught = caught + number;
}

static long do_handler(const long *a)
{
    struct sigaction action = {.sa_handler = a[0] % 2 ? catch : SIG_IGN};
    return sigaction(SIGPIPE, &action, NULL);
}

static long do_raise(const long *a)
{
    struct sigaction action = {.sa_handler = catch, .sa_flags = a[0] % 2 ? SA_RESTART : 0};
    return sigaction(SIGUSR1, &action, NULL) ? -1 : raise(SIGUSR1);
}

#define OPERATION(name_) {#name_, do_##name_}

static const struct {
    const char *name;
    long (*run)(const long *a);
} operations[] = {
    OPERATION(open),      OPERATION(close),    OPERATION(read),      OPERATION(readv),
    OPERATION(pread),     OPERATION(write),    OPERATION(writev),    OPERATION(pwrite),
    OPERATION(bad_read),  OPERATION(bad_name), OPERATION(lseek),     OPERATION(dup),
    OPERATION(dup2),      OPERATION(dupfd),    OPERATION(pipe),      OPERATION(socketpair),
    OPERATION(eventfd),   OPERATION(send),     OPERATION(recv),      OPERATION(shutdown),
    OPERATION(ftruncate), OPERATION(truncate), OPERATION(fallocate), OPERATION(rename),
    OPERATION(link),      OPERATION(unlink),   OPERATION(mkdir),     OPERATION(stat),
    OPERATION(fstat),     OPERATION(chmod),    OPERATION(readlink),  OPERATION(access),
    OPERATION(umask),     OPERATION(chdir),    OPERATION(flags),     OPERATION(available),
    OPERATION(lock),      OPERATION(poll),     OPERATION(sendfile),  OPERATION(copy),
    OPERATION(sync),      OPERATION(mmap),     OPERATION(munmap),    OPERATION(mprotect),
    OPERATION(mremap),    OPERATION(map_io),   OPERATION(poke),      OPERATION(peek),
    OPERATION(list),      OPERATION(stdio),    OPERATION(fork),      OPERATION(spawn),
    OPERATION(handler),   OPERATION(raise),
};

enum { OPERATIONS = sizeof operations / sizeof *operations };

static void run_line(const char *line, FILE *results)
{
    char word[32];
    long a[4] = {0};
    if (sscanf(line, "%31s %ld %ld %ld %ld", word, &a[0], &a[1], &a[2], &a[3]) < 1)
        return;
    for (int i = 0; i < OPERATIONS; i++)
        if (strcmp(operations[i].name, word) == 0) {
            seen = 0xcbf29ce484222325;
            errno = 0;
            long result = operations[i].run(a);
            int error = result == -1 ? errno : 0;
            fprintf(results, "%s %ld %ld %ld %ld: %ld %s %016llx, caught %d\n", word, a[0], a[1],
                    a[2], a[3], result, strerrorname_np(error), (unsigned long long)seen, caught);
            return;
        }
    fprintf(results, "%s is no operation\n", word);
}

int main(int argc, char **argv)
{
    char *text = NULL, *line = NULL, *written = NULL;
    size_t size = 0, length = 0;
    if (argc < 3) {
        for (int i = 0; i < OPERATIONS; i++)
            puts(operations[i].name);
        return 0;
    }
    signal(SIGPIPE, SIG_IGN);
    FILE *input = fopen(argv[1], "r"), *results = open_memstream(&written, &length);
    if (!input || !results || getdelim(&text, &size, 0, input) < 0 || fclose(input))
        return 2;
    for (char *rest = text; (line = strtok_r(rest, "\n", &rest));)
        run_line(line, results);
    fclose(results);
    int output = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC, 0600);
    return output < 0 || write(output, written, length) != (ssize_t)length ? 3 : 0;
}
