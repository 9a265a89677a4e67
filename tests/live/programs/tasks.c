/* SPDX-License-Identifier: MIT
 *
 * Threads and processes, made in every way.
 */
#include "tasks.h"

#include <execinfo.h>
#include <fcntl.h>
#include <gnu/libc-version.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

extern char **environ;

static void forks(void)
{
    for (int depth = 0; depth < 3; depth++) {
        pid_t parent = getpid(), child = fork();
        EXPECT(child >= 0);
        if (child == 0) {
            EXPECT(getppid() == parent && getpid() != parent);
            printf("child %d\n", depth);
            fflush(stdout);
            if (depth == 2)
                _exit(7);
            continue;
        }
        int status = ended(child);
        printf("ended %d\n", status);
        fflush(stdout);
        _exit(status);
    }
}

static void many_forks(void)
{
    for (int i = 0; i < 100; i++) {
        pid_t child = fork();
        if (child == 0)
            _exit(access("/", F_OK) == 0 && getppid() > 1 ? i % 50 : 99);
        EXPECT(ended(child) == i % 50);
    }
}

static void vforks(void)
{
    for (int i = 0; i < 20; i++) {
        int parent_calls = getppid();
        pid_t child = vfork();
        if (child == 0) {
            int fd = open("/dev/null", O_WRONLY);
            if (fd < 0 || write(fd, "x", 1) != 1)
                _exit(1);
            execl("/bin/echo", "echo", "from vfork", (char *)NULL);
            _exit(127);
        }
        EXPECT(ended(child) == 0 && getppid() == parent_calls);
        child = vfork();
        if (child == 0)
            _exit(5);
        EXPECT(ended(child) == 5);
    }
}

static void spawns(void)
{
    for (int i = 0; i < 20; i++) {
        char *arguments[] = {"sh", "-c", "cat /dev/null; echo spawned", NULL};
        pid_t child;
        EXPECT(posix_spawn(&child, "/bin/sh", NULL, NULL, arguments, environ) == 0);
        EXPECT(ended(child) == 0);
    }
    pid_t child;
    char *none[] = {"none", NULL};
    EXPECT(posix_spawn(&child, "/nonexistent", NULL, NULL, none, environ) == ENOENT);
    EXPECT(system("exit 3") == 3 << 8);
}

static void *opens(void *result)
{
    int fd = open("/etc/passwd", O_RDONLY);
    char text[16];
    *(int *)result = fd >= 0 && read(fd, text, sizeof text) == sizeof text && close(fd) == 0;
    return NULL;
}

static void threads(void)
{
    enum { AT_ONCE = 20, TURNS = 100 };
    int good = 0;
    for (int turn = 0; turn < TURNS; turn++) {
        pthread_t thread[AT_ONCE];
        int result[AT_ONCE];
        for (int i = 0; i < AT_ONCE; i++)
            EXPECT(pthread_create(&thread[i], NULL, opens, &result[i]) == 0);
        for (int i = 0; i < AT_ONCE; i++) {
            pthread_join(thread[i], NULL);
            good += result[i];
        }
    }
    printf("%d\n", good);
}

static void *last(void *unused)
{
    (void)unused;
    usleep(20000);
    puts("last thread");
    return NULL;
}

static void main_exits_first(void)
{
    pthread_t thread;
    pthread_create(&thread, NULL, last, NULL);
    pthread_exit(NULL);
}

static int pipe_ends[2];
static _Atomic int cleaned, begun;

static void clean_up(void *what)
{
    cleaned += *(int *)what;
}

static void *waits(void *unused)
{
    int one = 1;
    char byte;
    (void)unused;
    pthread_cleanup_push(clean_up, &one);
    begun++;
    read(pipe_ends[0], &byte, 1);
    pthread_cleanup_pop(0);
    return NULL;
}

static void *writes(void *unused)
{
    int hundred = 100, fd = open("/dev/null", O_WRONLY);
    (void)unused;
    pthread_cleanup_push(clean_up, &hundred);
    begun++;
    for (;;)
        write(fd, "x", 1);
    pthread_cleanup_pop(0);
    return NULL;
}

static void cancelled(void)
{
    EXPECT(pipe(pipe_ends) == 0);
    for (int i = 0; i < 20; i++) {
        pthread_t waiting, writing;
        void *result;
        pthread_create(&waiting, NULL, waits, NULL);
        pthread_create(&writing, NULL, writes, NULL);
        while (begun < 2 * i + 2)
            usleep(500);
        usleep(i * 100);
        EXPECT(pthread_cancel(waiting) == 0 && pthread_cancel(writing) == 0);
        EXPECT(pthread_join(waiting, &result) == 0 && result == PTHREAD_CANCELED);
        EXPECT(pthread_join(writing, &result) == 0 && result == PTHREAD_CANCELED);
    }
    char byte;
    EXPECT(cleaned == 20 * 101);
    EXPECT(write(pipe_ends[1], "c", 1) == 1 && read(pipe_ends[0], &byte, 1) == 1 && byte == 'c');
}

/* Blocks in every way in which a call can wait, where a cancellation must end it. */
static sem_t never_posted;
static pthread_cond_t never_told = PTHREAD_COND_INITIALIZER;
static pthread_mutex_t mine = PTHREAD_MUTEX_INITIALIZER;

static void wait_read(void)
{
    char byte;
    read(pipe_ends[0], &byte, 1);
}

static void wait_poll(void)
{
    struct pollfd ready = {.fd = pipe_ends[0], .events = POLLIN};
    poll(&ready, 1, -1);
}

static void wait_sleep(void)
{
    sleep(1000);
}

static void wait_semaphore(void)
{
    sem_wait(&never_posted);
}

static void unlock(void *mutex)
{
    pthread_mutex_unlock(mutex);
}

static void wait_condition(void)
{
    pthread_mutex_lock(&mine);
    pthread_cleanup_push(unlock, &mine);
    pthread_cond_wait(&never_told, &mine);
    pthread_cleanup_pop(1);
}

static void wait_pause(void)
{
    pause();
}

static void wait_child(void)
{
    waitpid(-1, NULL, 0); /* of the process that sleeps below */
}

static void (*const waiting[])(void) = {wait_read,      wait_poll,  wait_sleep, wait_semaphore,
                                        wait_condition, wait_pause, wait_child};
enum { WAITS = sizeof waiting / sizeof waiting[0] };

static void *waits_somehow(void *how)
{
    int one = 1;
    pthread_cleanup_push(clean_up, &one);
    begun++;
    for (;;)
        waiting[(intptr_t)how]();
    pthread_cleanup_pop(0);
    return NULL;
}

/* At any instruction of a call: soon after it begins, while it waits, and in between. */
static void cancelled_anywhere(void)
{
    EXPECT(pipe(pipe_ends) == 0);
    sem_init(&never_posted, 0, 0);
    pid_t child = fork();
    if (child == 0) {
        pause();
        _exit(0);
    }
    enum { EACH = 40 };
    for (int i = 0; i < WAITS * EACH; i++) {
        pthread_t thread;
        void *result;
        pthread_create(&thread, NULL, waits_somehow, (void *)(intptr_t)(i % WAITS));
        while (begun < i + 1)
            sched_yield();
        for (volatile int spin = 0; spin < i * 97; spin++)
            ;
        EXPECT(pthread_cancel(thread) == 0);
        EXPECT(pthread_join(thread, &result) == 0 && result == PTHREAD_CANCELED);
    }
    EXPECT(cleaned == WAITS * EACH);
    kill(child, SIGKILL);
    EXPECT(ended(child) == -SIGKILL);
}

/* A call that was cancelled has had no effect, and one that had one returns: no byte is lost. glibc promises it
 * since 2.41. */
static _Atomic long taken;

static void *takes(void *unused)
{
    char bytes[7];
    (void)unused;
    for (;;) {
        begun++;
        ssize_t now = read(pipe_ends[0], bytes, sizeof bytes);
        taken += now > 0 ? now : 0;
    }
    return NULL;
}

static void no_byte_lost(void)
{
    enum { THREADS = 200 };
    const char *release = gnu_get_libc_version();
    long put = 0, left = 0;
    char bytes[4096] = {0};
    EXPECT(pipe(pipe_ends) == 0);
    for (int i = 0; i < THREADS; i++) {
        pthread_t thread;
        int before = begun;
        pthread_create(&thread, NULL, takes, NULL);
        while (begun == before)
            sched_yield();
        for (int j = 0; j < 20; j++)
            put += write(pipe_ends[1], bytes, (size_t)(1 + (i + j) % 11));
        EXPECT(pthread_cancel(thread) == 0 && pthread_join(thread, NULL) == 0);
    }
    EXPECT(fcntl(pipe_ends[0], F_SETFL, O_NONBLOCK) == 0);
    for (ssize_t now; (now = read(pipe_ends[0], bytes, sizeof bytes)) > 0;)
        left += now;
    if (atoi(release) > 2 || atoi(release + 2) >= 41)
        EXPECT(taken + left == put);
}

static int shares(void *result)
{
    *(int *)result = getppid() > 0 && syscall(SYS_gettid) > 0;
    for (int i = 0; i < 1000; i++)
        *(int *)result &= access("/", F_OK) == 0;
    return 11;
}

static void shared_memory_task(void)
{
    char *stack = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int result = 0;
    int child = clone(shares, stack + 65536, CLONE_VM | SIGCHLD, &result);
    EXPECT(child > 0);
    for (int i = 0; i < 1000; i++)
        EXPECT(access("/nonexistent", F_OK) == -1);
    EXPECT(ended(child) == 11 && result == 1);
    child = clone(shares, stack + 65536, CLONE_VM | CLONE_VFORK | SIGCHLD, &result);
    EXPECT(child > 0 && ended(child) == 11 && result == 1);
}

static void clone3_probes(void)
{
    EXPECT(syscall(SYS_clone3, NULL, 0) == -1 && errno == EINVAL);
    EXPECT(syscall(SYS_clone3, (void *)8, sizeof(struct clone_args)) == -1 && errno == EFAULT);
    EXPECT(syscall(SYS_rt_sigaction, SIGUSR1, (void *)8, NULL, 8) == -1 && errno == EFAULT);
    EXPECT(open((char *)8, O_RDONLY) == -1 && errno == EFAULT);
    EXPECT(syscall(100000) == -1 && errno == ENOSYS);
}

static volatile int found;

static void looks_back(int signal)
{
    void *frames[64];
    (void)signal;
    int depth = backtrace(frames, 64);
    char **names = backtrace_symbols(frames, depth);
    int seen = 0;
    for (int i = 0; i < depth; i++)
        seen |= strstr(names[i], "(main+") != NULL;
    free(names);
    found += seen ? 1 : 1000;
}

static void unwinds(void)
{
    void *once[1];
    backtrace(once, 1); /* loads the unwinder */
    signal(SIGALRM, looks_back);
    while (found < 200) {
        int before = found;
        int word = 0;
        struct timespec limit = {0, 20000000};
        ualarm(500, 0);
        while (found == before) /* one is made elsewhere, one waits on the caller */
            if (before < 100)
                syscall(SYS_getppid);
            else
                syscall(SYS_futex, &word, FUTEX_WAIT, 0, &limit, NULL, 0);
    }
    EXPECT(found == 200);
}

const struct feature features[] = {
    {"forks", forks},
    {"many-forks", many_forks},
    {"vforks", vforks},
    {"spawns", spawns},
    {"threads", threads},
    {"main-exits-first", main_exits_first},
    {"cancelled", cancelled},
    {"cancelled-anywhere", cancelled_anywhere},
    {"no-byte-lost", no_byte_lost},
    {"shared-memory-task", shared_memory_task},
    {"clone3-probes", clone3_probes},
    {"unwinds", unwinds},
    {NULL, NULL},
};
