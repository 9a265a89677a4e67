/* SPDX-License-Identifier: MIT
 *
 * What a system call takes from the thread that makes it, besides its arguments.
 */
#include "processor.h"
#include "tasks.h"

#include <fcntl.h>
#include <linux/membarrier.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <time.h>
#include <ucontext.h>

/* ---- what is each thread's ---- */

static void personalities(void)
{
    struct utsname before, after;
    char line[512];
    work();
    EXPECT(personality(0xffffffff) == 0);
    EXPECT(uname(&before) == 0);
    EXPECT(personality(0x0020000 /* UNAME26 */) == 0);
    EXPECT(uname(&after) == 0);
    EXPECT(strncmp(after.release, "2.6.", 4) == 0 && strncmp(before.release, "2.6.", 4) != 0);
    EXPECT(personality(READ_IMPLIES_EXEC) == 0x0020000);
    void *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    FILE *maps = fopen("/proc/self/maps", "r");
    bool found = false;
    while (maps && fgets(line, sizeof line, maps)) {
        unsigned long first, last;
        char rights[5];
        if (sscanf(line, "%lx-%lx %4s", &first, &last, rights) == 3 &&
            first <= (unsigned long)page && (unsigned long)page < last)
            found = rights[2] == 'x';
    }
    EXPECT(found);
    EXPECT(personality(0) == READ_IMPLIES_EXEC);
}

static long number_in(const char *format, int tid, const char *scanned)
{
    char path[64], text[4096] = {0};
    long number = -1;
    snprintf(path, sizeof path, format, tid);
    int fd = open(path, O_RDONLY);
    if (fd >= 0 && read(fd, text, sizeof text - 1) > 0) {
        const char *at = strstr(text, scanned);
        number = at ? atol(at + strlen(scanned)) : -1;
    }
    if (fd >= 0)
        close(fd);
    return number;
}

/* How long naps take is chance; whoever naps for the program must have its slack. Others of its threads are
 * looked for by their numbers, which follow. */
static void slack_of_all(void)
{
    int pid = getpid();
    for (int tid = pid; tid < pid + 100; tid++)
        if (number_in("/proc/%d/status", tid, "Tgid:") == pid) {
            long found = number_in("/proc/%d/timerslack_ns", tid, "");
            EXPECT(found == 100000000 || found == -1);
        }
}

static void slack(void)
{
    struct timespec nap = {0, 1000000};
    work();
    nanosleep(&nap, NULL);
    EXPECT(prctl(PR_SET_TIMERSLACK, 100000000ul, 0, 0, 0) == 0);
    EXPECT(prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0) == 100000000);
    EXPECT(nanosleep(&nap, NULL) == 0);
    slack_of_all();
}

enum { BEST_EFFORT = 2 << 13, ONE_THREAD = 1 /* IOPRIO_WHO_PROCESS */, BIND = 2 /* MPOL_BIND */ };

static void priorities(void)
{
    int pid = getpid();
    unsigned long node = 1;
    work();
    EXPECT(syscall(SYS_ioprio_set, ONE_THREAD, 0, BEST_EFFORT | 6) == 0);
    work();
    EXPECT(syscall(SYS_ioprio_get, ONE_THREAD, 0) == (BEST_EFFORT | 6));
    for (int tid = pid; tid < pid + 100; tid++)
        if (number_in("/proc/%d/status", tid, "Tgid:") == pid)
            EXPECT(syscall(SYS_ioprio_get, ONE_THREAD, tid) == (BEST_EFFORT | 6));
    long bound = syscall(SYS_set_mempolicy, BIND, &node, 64);
    printf("memory policy: %s\n", bound == 0 ? "bound" : strerror(errno));
    work();
    for (int tid = pid; bound == 0 && tid < pid + 100; tid++)
        if (number_in("/proc/%d/status", tid, "Tgid:") == pid) {
            char path[64], text[256] = "";
            snprintf(path, sizeof path, "/proc/%d/numa_maps", tid);
            int fd = open(path, O_RDONLY);
            EXPECT(fd < 0 || (read(fd, text, sizeof text - 1) > 0 && strstr(text, "bind:0")));
            close(fd);
        }
}

static bool is_in_list_of_keys(const char *name)
{
    char line[512];
    bool found = false;
    FILE *keys = fopen("/proc/keys", "r");
    while (keys && fgets(line, sizeof line, keys))
        found |= strstr(line, name) != NULL;
    if (keys)
        fclose(keys);
    return found;
}

/* Only who has a key in its keyrings may see it. */
static void keyrings(void)
{
    enum { JOIN = 1, SET_RIGHTS = 5, SESSION = -3, POSSESSOR_ALL = 0x3f000000 };
    work();
    long ring = syscall(SYS_keyctl, JOIN, NULL);
    if (ring < 0) {
        puts(strerror(errno));
        return;
    }
    long key = syscall(SYS_add_key, "user", "memsc-own-key", "x", 1, SESSION);
    EXPECT(key > 0);
    EXPECT(syscall(SYS_keyctl, SET_RIGHTS, key, POSSESSOR_ALL) == 0);
    work();
    printf("sees it: %d\n", is_in_list_of_keys("memsc-own-key"));
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        EXPECT(syscall(SYS_keyctl, JOIN, NULL) > 0);
        work();
        printf("child with another ring: %d\n", is_in_list_of_keys("memsc-own-key"));
        fflush(stdout);
        _exit(0);
    }
    EXPECT(ended(child) == 0);
}

static void *clocks_of_thread(void *unused)
{
    clockid_t clock;
    struct timespec time = {0, 1000000}, now;
    work();
    EXPECT(pthread_getcpuclockid(pthread_self(), &clock) == 0);
    alarm(20);
    EXPECT(clock_nanosleep(clock, 0, &time, NULL) == EINVAL);
    EXPECT(clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &time, NULL) == EINVAL);
    EXPECT(clock_gettime(clock, &now) == 0 && now.tv_sec < 10);
    EXPECT(clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL) == 0);
    EXPECT(clock_nanosleep(CLOCK_BOOTTIME, 0, &time, NULL) == 0);
    EXPECT(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL) == 0);
    alarm(0);
    return unused;
}

static void thread_clocks(void)
{
    clocks_of_thread(NULL);
    in_thread(clocks_of_thread, NULL);
}

static void barriers(void)
{
    work();
    EXPECT(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == -1 && errno == EPERM);
    EXPECT(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 9, 0) == -1 &&
           errno == EINVAL);
    long registrations = syscall(SYS_membarrier, 1 << 9, 0, 0);
    EXPECT(registrations == 0 || (registrations == -1 && errno == EINVAL));
    EXPECT(syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0);
    EXPECT(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0);
    if (registrations >= 0)
        EXPECT(syscall(SYS_membarrier, 1 << 9, 0, 0) == MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0)
        _exit(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0 ? 0 : errno);
    printf("after fork: %d\n", ended(child));
}

/* Fails where direct calls fail, too: then the same is printed. */
static void keys(void)
{
    char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    work();
    int key = pkey_alloc(0, 0);
    if (key < 0) {
        puts(strerror(errno));
        return;
    }
    EXPECT(pkey_mprotect(page, 4096, PROT_READ | PROT_WRITE, key) == 0);
    strcpy(page, "hi");
    int fd = open("keys", O_CREAT | O_RDWR, 0600);
    for (int i = 0; i < 100; i++) {
        EXPECT(pwrite(fd, page, 2, 0) == 2);
        EXPECT(pkey_set(key, PKEY_DISABLE_WRITE) == 0);
        EXPECT(pwrite(fd, page, 2, 0) == 2);
        EXPECT(pread(fd, page, 2, 0) == -1 && errno == EFAULT);
        EXPECT(pkey_set(key, PKEY_DISABLE_ACCESS) == 0);
        EXPECT(pwrite(fd, page, 2, 0) == -1 && errno == EFAULT);
        EXPECT(pkey_set(key, 0) == 0);
    }
    close(fd);
}

/* ---- what the runtime could not stand ---- */

static void no_counter(void)
{
    work();
    EXPECT(prctl(PR_SET_TSC, PR_TSC_SIGSEGV, 0, 0, 0) == 0);
    work();
    usleep(1000);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        work();
        usleep(1000);
        _exit(0);
    }
    EXPECT(ended(child) == 0);
    EXPECT(prctl(PR_SET_TSC, PR_TSC_ENABLE, 0, 0, 0) == 0);
    work();
}

static volatile char blocked;
static volatile sig_atomic_t dispatched;

static void answer(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    blocked = 0;
    dispatched += info->si_syscall == SYS_getppid;
    set_result(context, 77);
}

static void dispatches(void)
{
    struct sigaction action = {.sa_sigaction = answer, .sa_flags = SA_SIGINFO};
    EXPECT(sigaction(SIGSYS, &action, NULL) == 0);
    work();
    if (prctl(59 /* PR_SET_SYSCALL_USER_DISPATCH */, 1, 0, 0, &blocked) != 0) {
        puts(strerror(errno));
        return;
    }
    for (int i = 0; i < 10; i++) {
        blocked = 1;
        EXPECT(getppid() == 77);
        EXPECT(dispatched == i + 1 && !blocked);
    }
    EXPECT(prctl(59, 0, 0, 0, 0) == 0);
    work();
}

const struct feature features[] = {
    {"personalities", personalities}, {"timer-slack", slack},
    {"own-priorities", priorities},   {"own-keyrings", keyrings},
    {"thread-clocks", thread_clocks}, {"barriers", barriers},
    {"protection-keys", keys},        {"no-counter", no_counter},
    {"dispatches", dispatches},       {NULL, NULL},
};
