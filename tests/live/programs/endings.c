/* SPDX-License-Identifier: MIT
 *
 * A process ends with its last thread, whichever way that ends: exit(2) ends one thread only.
 */
#include "feature.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { STACK = 1 << 16, LIMIT_S = 20 };

static void leave(long status)
{
    syscall(SYS_exit, status);
}

/* Makes calls of its own, so that whoever carries them is at work. */
static void work(void)
{
    for (int i = 0; i < 50; i++)
        EXPECT(getppid() > 0);
}

static void report(const char *what, pid_t child)
{
    int status = -1;
    EXPECT(waitpid(child, &status, __WALL) == child);
    printf("%s: %d\n", what, WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
    fflush(stdout);
}

/* A child that runs `body`; an alarm ends it if nothing else does. */
static void ends(const char *what, void (*body)(void))
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        alarm(LIMIT_S);
        work();
        body();
        _exit(99);
    }
    report(what, child);
}

static void only(void)
{
    leave(3);
}

static void *idle(void *unused)
{
    work();
    return unused;
}

static void after_threads(void)
{
    for (int i = 0; i < 5; i++) {
        pthread_t thread;
        pthread_create(&thread, NULL, idle, NULL);
        pthread_join(thread, NULL);
    }
    leave(4);
}

static int late_tid;

static int load_tid(void)
{
    return __atomic_load_n(&late_tid, __ATOMIC_ACQUIRE);
}

static void *late(void *status)
{
    __atomic_store_n(&late_tid, gettid(), __ATOMIC_RELEASE);
    work();
    usleep(20000);
    leave((long)status);
    return NULL;
}

static void leader_first(void)
{
    pthread_t thread;
    pthread_create(&thread, NULL, late, (void *)5);
    leave(6);
}

static void leader_last(void)
{
    pthread_t thread;
    pthread_create(&thread, NULL, late, (void *)7);
    while (!load_tid() || syscall(SYS_tgkill, getpid(), load_tid(), 0) == 0)
        usleep(1000);
    leave(8);
}

static void waits_meanwhile(void)
{
    int ends_of[2];
    char byte;
    EXPECT(pipe(ends_of) == 0);
    if (fork() == 0) {
        usleep(20000);
        EXPECT(write(ends_of[1], "x", 1) == 1);
        leave(9);
    }
    EXPECT(read(ends_of[0], &byte, 1) == 1);
    leave(10);
}

static void by_pthread_exit(void)
{
    pthread_t thread;
    pthread_create(&thread, NULL, idle, NULL);
    pthread_exit(NULL);
}

static void exits(void)
{
    ends("the only thread", only);
    ends("after threads came and went", after_threads);
    ends("the leader first", leader_first);
    ends("the leader last", leader_last);
    ends("after a wait", waits_meanwhile);
    ends("by pthread_exit", by_pthread_exit);
}

static int returns(void *status)
{
    work();
    return (int)(long)status;
}

static pid_t cloned(int flags, long status)
{
    char *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return clone(returns, stack + STACK, flags, (void *)status);
}

static void clone_returns(void)
{
    work();
    report("a copy", cloned(SIGCHLD, 11));
    report("shared files", cloned(CLONE_FILES | CLONE_FS | SIGCHLD, 12));
    work();
}

static void shares_memory(void)
{
    report("shared memory", cloned(CLONE_VM | SIGCHLD, 13));
    leave(14);
}

static void clone_shares(void)
{
    ends("its maker", shares_memory);
}

/* The last two at the same moment, again and again. */
static pthread_barrier_t together;

static void *one_of_several(void *status)
{
    work();
    pthread_barrier_wait(&together);
    leave((long)status);
    return NULL;
}

static void several(void)
{
    enum { THREADS = 6 };
    pthread_barrier_init(&together, NULL, THREADS + 1);
    for (int i = 0; i < THREADS; i++) {
        pthread_t thread;
        pthread_create(&thread, NULL, one_of_several, (void *)15);
    }
    pthread_barrier_wait(&together);
    leave(15);
}

static void at_once(void)
{
    for (int i = 0; i < 30; i++)
        ends("several at once", several);
}

enum { AROUND = 2048, KINDS = 8 };
static _Alignas(4096) uint64_t storage[2 * AROUND];

static int change_folder(void *unused)
{
    (void)unused;
    return chdir("/proc/self/fdinfo") == 0 && chdir("/") == 0 && getppid() > 0 ? 12 : 13;
}

/* As Chromium's sandbox does: the child's thread-local storage is a few zeros, and anything before them. */
static void bare_storage(void)
{
    char *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char folder[64];
    for (int kind = 0; kind < KINDS; kind++) {
        for (int i = 0; i < AROUND; i++)
            storage[i] = i % KINDS == kind ? 0x4141414141414141 : 0;
        fflush(stdout);
        pid_t child = clone(change_folder, stack + STACK,
                            CLONE_VM | CLONE_FS | CLONE_VFORK | CLONE_SETTLS | SIGCHLD, NULL, NULL,
                            storage + AROUND);
        EXPECT(child > 0);
        report("bare storage", child);
        EXPECT(getcwd(folder, sizeof folder) && strcmp(folder, "/") == 0);
        work(); /* from the second time on somebody carries the calls */
        work();
    }
}

static int reads(void *descriptor)
{
    char byte;
    return read((int)(long)descriptor, &byte, 1) == 1 && byte == 'x' ? 12 : 13;
}

static void *takes_byte(void *descriptor)
{
    work();
    EXPECT(reads(descriptor) == 12);
    return NULL;
}

/* Where the C library looks for its thread there is something, but not its own storage: nothing of anybody else's may
 * be looked for beside it, which is no memory at all. */
static void foreign_storage(void)
{
    char *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *pages = mmap(NULL, 4 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    void **block = (void **)(pages + 2 * 4096);
    EXPECT(mprotect(block, 2 * 4096, PROT_READ | PROT_WRITE) == 0);
    block[2] = (char *)block + 4096;
    int ends_of[2], other[2];
    EXPECT(pipe(ends_of) == 0 && pipe(other) == 0 && write(ends_of[1], "x", 1) == 1);
    pthread_t thread; /* with one, the C library looks whether it is cancelled */
    EXPECT(pthread_create(&thread, NULL, takes_byte, (void *)(long)other[0]) == 0);
    fflush(stdout);
    pid_t child =
        clone(reads, stack + STACK, CLONE_VM | CLONE_FS | CLONE_VFORK | CLONE_SETTLS | SIGCHLD,
              (void *)(long)ends_of[0], NULL, block);
    EXPECT(child > 0);
    report("foreign storage", child);
    EXPECT(write(other[1], "x", 1) == 1 && pthread_join(thread, NULL) == 0);
    work();
}

static bool leader_is_leaving;

static void *leave_late(void *unused)
{
    work();
    while (!__atomic_load_n(&leader_is_leaving, __ATOMIC_ACQUIRE))
        usleep(1000);
    usleep(20000);
    leave(0);
    return unused;
}

static void leader_leaves(void)
{
    pthread_t thread;
    EXPECT(pthread_create(&thread, NULL, leave_late, NULL) == 0);
    work();
    __atomic_store_n(&leader_is_leaving, true, __ATOMIC_RELEASE);
    leave(7);
}

/* Then nobody says how many threads there are. */
static void without_proc(void)
{
    EXPECT(mkdir("empty", 0755) == 0);
    if (chroot("empty") != 0 || chdir("/") != 0) /* only root may */
        return;
    ends("the only thread", only);
    for (int i = 0; i < 3; i++)
        ends("the leader first", leader_leaves);
}

/* What cannot be read is no empty environment: the program that executes it goes on. */
static void nonsense(void)
{
    char **volatile nothing = (char **)8, *words[] = {"/bin/true", NULL};
    char *bad[] = {(char *)nothing, NULL};
    char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char **no_end = (char **)(pages + 4096) - 1;
    *no_end = "A=b";
    EXPECT(mprotect(pages + 4096, 4096, PROT_NONE) == 0);
    EXPECT(execve("/bin/true", words, nothing) == -1 && errno == EFAULT);
    EXPECT(execve("/bin/true", words, bad) == -1 && errno == EFAULT);
    EXPECT(execve("/bin/true", words, no_end) == -1 && errno == EFAULT);
    EXPECT(execve((char *)nothing, words, words) == -1 && errno == EFAULT);
    EXPECT(execve("/bin/true", nothing, words) == -1 && errno == EFAULT);
}

const struct feature features[] = {
    {"exits-thread-by-thread", exits},
    {"exits-without-proc", without_proc},
    {"clone-returns", clone_returns},
    {"clone-shares-memory", clone_shares},
    {"clone-with-bare-storage", bare_storage},
    {"clone-with-foreign-storage", foreign_storage},
    {"several-exit-at-once", at_once},
    {"executes-nonsense", nonsense},
    {NULL, NULL},
};
