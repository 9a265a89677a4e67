/* SPDX-License-Identifier: MIT
 *
 * Descriptors and name spaces of its own.
 */
#include "tasks.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static void own_table(void)
{
    char path[64], link[64], byte = 1;
    work();
    int fd = open("/dev/null", O_RDONLY);
    EXPECT(syscall(SYS_close_range, fd, fd, 2 /* CLOSE_RANGE_UNSHARE */) == 0);
    EXPECT(lseek(fd, 0, SEEK_CUR) == -1 && errno == EBADF);
    int next = open("/dev/zero", O_RDONLY);
    EXPECT(next == fd);
    snprintf(path, sizeof path, "/proc/self/fd/%d", next);
    ssize_t size = readlink(path, link, sizeof link - 1);
    link[size > 0 ? size : 0] = 0;
    EXPECT(strcmp(link, "/dev/zero") == 0);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0)
        _exit(read(next, &byte, 1) == 1 && byte == 0 && open("/dev/full", O_RDONLY) == next + 1);
    EXPECT(ended(child) == 1);
}

static void *own_table_of_thread(void *fd)
{
    work();
    EXPECT(syscall(SYS_close_range, *(int *)fd, *(int *)fd, 2) == 0);
    EXPECT(fcntl(*(int *)fd, F_GETFD) == -1 && errno == EBADF);
    EXPECT(open("/dev/zero", O_RDONLY) == *(int *)fd);
    return NULL;
}

static void own_tables(void)
{
    int fd = open("/dev/null", O_RDONLY);
    in_thread(own_table_of_thread, &fd);
    char byte;
    EXPECT(read(fd, &byte, 1) == 0);
    close(fd);
    own_table();
}

static void own_users(void)
{
    for (int i = 0; i < 3; i++)
        in_thread(works, NULL);
    work();
    printf("%s\n", unshare(CLONE_NEWUSER) == 0 ? "unshared" : strerror(errno));
    printf("again %s\n", unshare(CLONE_NEWUSER) == 0 ? "unshared" : strerror(errno));
    work();
}

static void joins_name_space(void)
{
    in_thread(works, NULL);
    work();
    int fd = open("/proc/self/ns/mnt", O_RDONLY);
    printf("%s\n", setns(fd, CLONE_NEWNS) == 0 ? "joined" : strerror(errno));
    work();
}

extern const ptrdiff_t __rseq_offset __attribute__((weak));
static int kept_open;

static int closes(void *unused)
{
    (void)unused;
    return close(kept_open);
}

static void work_as_first(void)
{
    for (int i = 0; i < 20; i++)
        EXPECT(getpid() == 1);
}

/* Both it and its child, which borrows its memory, are the first of their PID namespaces. */
static int first_of_all(void)
{
    static char stack[1 << 16] __attribute__((aligned(16)));
    work_as_first();
    kept_open = open("/dev/null", O_RDONLY);
    int flags = CLONE_VM | CLONE_VFORK | CLONE_NEWPID | SIGCHLD;
    EXPECT(ended(clone(closes, stack + sizeof stack, flags, NULL)) == 0);
    EXPECT(fcntl(kept_open, F_GETFD) == 0);
    return 0;
}

/* In a child that is the first of a PID namespace. */
static void in_own_numbers(int (*run)(void))
{
    fflush(stdout);
    long child = syscall(SYS_clone, CLONE_NEWPID | SIGCHLD, 0, 0, 0, 0);
    if (child == 0) {
        int failed = run();
        fflush(stdout);
        _exit(failed);
    }
    if (child < 0) /* only root may */
        EXPECT(errno == EPERM);
    else
        EXPECT(ended((pid_t)child) == 0);
}

static void nested_first_tasks(void)
{
    in_own_numbers(first_of_all);
}

/* The second of its PID namespace lends its memory to the second of another. */
static int second_of_all(void)
{
    static char stack[1 << 16] __attribute__((aligned(16)));
    pid_t second = fork();
    if (second != 0)
        return ended(second);
    EXPECT(getpid() == 2);
    work();
    kept_open = open("/dev/null", O_RDONLY);
    EXPECT(unshare(CLONE_NEWPID) == 0);
    pid_t first = fork();
    if (first == 0)
        _exit(pause());
    work();
    EXPECT(ended(clone(closes, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, NULL)) == 0);
    EXPECT(fcntl(kept_open, F_GETFD) == 0);
    EXPECT(kill(first, SIGKILL) == 0 && ended(first) == -SIGKILL);
    fflush(stdout);
    _exit(0);
}

static void nested_second_tasks(void)
{
    in_own_numbers(second_of_all);
}

/* Another process with the same number lives in the memory of one, with thread-local storage of its own. */
static int lodger_of_all(void)
{
    static char stack[1 << 16] __attribute__((aligned(16)));
    static char storage[1 << 16] __attribute__((aligned(64)));
    void **block = (void **)(storage + sizeof storage / 2);
    block[0] = block[2] = block;
    if (&__rseq_offset) /* as the C library has it for a thread whose CPU nobody tells */
        *(int *)((char *)block + __rseq_offset + 4) = -1;
    work_as_first();
    kept_open = open("/dev/null", O_RDONLY);
    int flags = CLONE_VM | CLONE_SETTLS | CLONE_NEWPID | SIGCHLD;
    EXPECT(ended(clone(closes, stack + sizeof stack, flags, NULL, NULL, block)) == 0);
    EXPECT(fcntl(kept_open, F_GETFD) == 0);
    work_as_first();
    return 0;
}

static void nested_lodgers(void)
{
    in_own_numbers(lodger_of_all);
}

/* Its threads, by the number that /proc knows it by, which is another's where it lives. */
static int counts_own_threads(void)
{
    char number[32] = "", path[64];
    work_as_first();
    EXPECT(readlink("/proc/self", number, sizeof number - 1) > 0 && atoi(number) != getpid());
    snprintf(path, sizeof path, "/proc/%s/task", number);
    struct stat status;
    EXPECT(stat(path, &status) == 0);
    printf("%d threads\n", (int)status.st_nlink - 2);
    work_as_first();
    return 0;
}

static void threads_by_number(void)
{
    in_own_numbers(counts_own_threads);
}

const struct feature features[] = {
    {"nested-first-tasks", nested_first_tasks},
    {"nested-second-tasks", nested_second_tasks},
    {"nested-lodgers", nested_lodgers},
    {"threads-by-number", threads_by_number},
    {"own-tables", own_tables},
    {"own-users", own_users},
    {"joins-name-space", joins_name_space},
    {NULL, NULL},
};
