/* SPDX-License-Identifier: MIT
 *
 * What a system call takes from the thread that makes it, besides its arguments.
 */
#include "feature.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>

static void work(void)
{
    for (int i = 0; i < 20; i++)
        EXPECT(getppid() > 0);
}

static void in_thread(void *(*body)(void *))
{
    pthread_t thread;
    EXPECT(pthread_create(&thread, NULL, body, NULL) == 0);
    pthread_join(thread, NULL);
}

static int ended(pid_t child)
{
    int status = -1;
    EXPECT(waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* ---- signals that wait for the thread ---- */

static void take(int fd, bool vector)
{
    struct signalfd_siginfo found = {0};
    struct iovec part = {&found, sizeof found};
    ssize_t size = vector ? readv(fd, &part, 1) : read(fd, &found, sizeof found);
    EXPECT(size == sizeof found && found.ssi_signo == SIGUSR1);
}

static void *watch(void *unused)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    work();
    int fd = signalfd(-1, &signals, SFD_NONBLOCK), early = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN};
    EXPECT(epoll_ctl(early, EPOLL_CTL_ADD, fd, &event) == 0);
    EXPECT(read(fd, &event, sizeof event) == -1 && errno == EINVAL);
    struct signalfd_siginfo none;
    EXPECT(read(fd, &none, sizeof none) == -1 && errno == EAGAIN);
    pthread_kill(pthread_self(), SIGUSR1);

    struct pollfd asked = {fd, POLLIN, 0};
    EXPECT(poll(&asked, 1, 0) == 1);
    EXPECT(poll(&asked, 1, 500) == 1 && asked.revents == POLLIN);
    struct timespec time = {1, 0};
    EXPECT(ppoll(&asked, 1, &time, NULL) == 1);
    fd_set set;
    FD_ZERO(&set);
    FD_SET(fd, &set);
    struct timeval limit = {1, 0};
    EXPECT(select(fd + 1, &set, NULL, NULL, &limit) == 1);
    EXPECT(epoll_wait(early, &event, 1, 500) == 1);
    int late = epoll_create1(0);
    event.events = EPOLLIN;
    EXPECT(epoll_ctl(late, EPOLL_CTL_ADD, fd, &event) == 0);
    EXPECT(epoll_wait(late, &event, 1, 500) == 1);
    take(fd, false);
    raise(SIGUSR1);
    take(fd, true);
    EXPECT(poll(&asked, 1, 0) == 0);
    close(early);
    close(late);
    close(fd);
    return unused;
}

static void signals_are_watched(void)
{
    watch(NULL);
    in_thread(watch);
    fflush(stdout);
    if (fork() == 0) {
        watch(NULL);
        fflush(stdout);
        _exit(0);
    }
    wait(NULL);
}

/* What sigaction reads back is what the kernel made of it. */
static void ignores(int signal)
{
    (void)signal;
}

static void mask_is_read_back(void)
{
    struct sigaction action = {.sa_handler = ignores}, found;
    sigfillset(&action.sa_mask);
    EXPECT(sigaction(SIGUSR1, &action, NULL) == 0);
    EXPECT(sigaction(SIGUSR1, &action, &found) == 0);
    EXPECT(sigismember(&found.sa_mask, SIGTERM) == 1);
    EXPECT(sigismember(&found.sa_mask, SIGKILL) == 0 && sigismember(&found.sa_mask, SIGSTOP) == 0);
    action.sa_flags = 0x400 | SA_RESTART; /* SA_UNSUPPORTED: never set in what is read back */
    EXPECT(sigaction(SIGUSR1, &action, NULL) == 0);
    EXPECT(sigaction(SIGUSR1, NULL, &found) == 0);
    printf("flags %x\n", (unsigned)found.sa_flags & ~0x04000000u);
}

/* ---- who is the owner of signals ---- */

static volatile sig_atomic_t caught;

static void catches(int signal)
{
    caught = signal;
}

static bool caught_soon(int signal)
{
    for (int i = 0; i < 200 && caught != signal; i++)
        usleep(10000);
    bool came = caught == signal;
    caught = 0;
    return came;
}

static void lease(bool identity_changes)
{
    char name[] = "lease-XXXXXX";
    int fd = mkstemp(name);
    close(fd);
    signal(SIGIO, catches);
    fd = open(name, O_RDONLY);
    EXPECT(fcntl(fd, F_SETLEASE, F_RDLCK) == 0);
    if (identity_changes)
        EXPECT(setgid(getgid()) == 0);
    work();
    fflush(stdout);
    pid_t child = fork();
    if (child == 0)
        _exit(open(name, O_WRONLY | O_NONBLOCK) < 0);
    EXPECT(ended(child) == 1);
    EXPECT(caught_soon(SIGIO));
    EXPECT(fcntl(fd, F_SETLEASE, F_UNLCK) == 0);
    close(fd);
    unlink(name);
}

static void notify(bool identity_changes)
{
    char folder[] = "notify-XXXXXX", path[64];
    EXPECT(mkdtemp(folder));
    int fd = open(folder, O_RDONLY);
    EXPECT(fcntl(fd, F_NOTIFY, DN_CREATE) == 0);
    EXPECT(fcntl(fd, F_GETOWN) == getpid());
    if (identity_changes)
        EXPECT(setgid(getgid()) == 0);
    snprintf(path, sizeof path, "%s/x", folder);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    EXPECT(caught_soon(SIGIO));
    close(fd);
    unlink(path);
    rmdir(folder);
}

static void readiness(void)
{
    int ends[2];
    EXPECT(pipe(ends) == 0);
    signal(SIGUSR2, catches);
    EXPECT(fcntl(ends[0], F_SETOWN, getpid()) == 0 && fcntl(ends[0], F_SETSIG, SIGUSR2) == 0);
    EXPECT(fcntl(ends[0], F_SETFL, O_ASYNC | O_NONBLOCK) == 0);
    EXPECT(fcntl(ends[0], F_GETFL) == (O_ASYNC | O_NONBLOCK));
    EXPECT(setgid(getgid()) == 0);
    EXPECT(write(ends[1], "x", 1) == 1);
    EXPECT(caught_soon(SIGUSR2));
}

static void owners(void)
{
    work();
    for (int changes = 0; changes < 2; changes++) {
        lease(changes);
        notify(changes);
    }
    readiness();
}

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
    in_thread(clocks_of_thread);
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
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_RAX] = 77;
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

/* ---- files and name spaces of its own ---- */

static void *nothing(void *unused)
{
    work();
    return unused;
}

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
    pthread_t thread;
    int fd = open("/dev/null", O_RDONLY);
    pthread_create(&thread, NULL, own_table_of_thread, &fd);
    pthread_join(thread, NULL);
    char byte;
    EXPECT(read(fd, &byte, 1) == 0);
    close(fd);
    own_table();
}

static void own_users(void)
{
    for (int i = 0; i < 3; i++)
        in_thread(nothing);
    work();
    printf("%s\n", unshare(CLONE_NEWUSER) == 0 ? "unshared" : strerror(errno));
    printf("again %s\n", unshare(CLONE_NEWUSER) == 0 ? "unshared" : strerror(errno));
    work();
}

static void joins_name_space(void)
{
    in_thread(nothing);
    work();
    int fd = open("/proc/self/ns/mnt", O_RDONLY);
    printf("%s\n", setns(fd, CLONE_NEWNS) == 0 ? "joined" : strerror(errno));
    work();
}

static int count_threads(void)
{
    DIR *folder = opendir("/proc/self/task");
    int count = 0;
    while (folder && readdir(folder))
        count++;
    closedir(folder);
    return count - 2; /* . and .. */
}

static void *on_this_cpu(void *unused)
{
    char byte = 'x', number[32] = "";
    int ends[2];
    work();
    EXPECT(pipe(ends) == 0 && write(ends[1], &byte, 1) == 1 && read(ends[0], &byte, 1) == 1);
    close(ends[0]), close(ends[1]);
    EXPECT(readlink("/proc/thread-self", number, sizeof number - 1) > 0);
    EXPECT(atoi(strrchr(number, '/') + 1) == gettid());
    return unused;
}

/* Also the service's, where the program's own calls would have to wait for it. */
static void visits_every_cpu(void)
{
    int visited = 0;
    for (int round = 0; round < 3; round++)
        for (int cpu = 0; cpu < 64; cpu++) {
            cpu_set_t one;
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            if (sched_setaffinity(0, sizeof one, &one) != 0)
                continue;
            visited++;
            on_this_cpu(NULL);
            EXPECT(count_threads() == 1);
            fflush(stdout);
            pid_t child = fork();
            if (child == 0) {
                on_this_cpu(NULL);
                _exit(count_threads());
            }
            EXPECT(ended(child) == 1);
        }
    in_thread(on_this_cpu);
    EXPECT(visited > 0);
    printf("visited %d\n", visited);
}

static const struct feature features[] = {
    {"signals-are-watched", signals_are_watched},
    {"mask-is-read-back", mask_is_read_back},
    {"owners-of-signals", owners},
    {"personalities", personalities},
    {"timer-slack", slack},
    {"own-priorities", priorities},
    {"own-keyrings", keyrings},
    {"thread-clocks", thread_clocks},
    {"barriers", barriers},
    {"protection-keys", keys},
    {"no-counter", no_counter},
    {"dispatches", dispatches},
    {"own-tables", own_tables},
    {"own-users", own_users},
    {"joins-name-space", joins_name_space},
    {"visits-every-cpu", visits_every_cpu},
    {NULL, NULL},
};

int main(int argc, char **argv)
{
    return run_feature(features, argc, argv);
}
