/* SPDX-License-Identifier: MIT
 *
 * What a program can see of how its calls are carried, and the ways around the C library.
 */
#include "processor.h"
#include "tasks.h"

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

/* ---- its memory ---- */

/* No page is writable and executable, and none lies where no program may have one. */
static int bad_pages(void)
{
    char line[512];
    unsigned long first, lowest = 0;
    int bad = 0;
    FILE *limit = fopen("/proc/sys/vm/mmap_min_addr", "r"), *maps = fopen("/proc/self/maps", "r");
    if (limit && fscanf(limit, "%lu", &lowest) != 1)
        lowest = 0;
    while (maps && fgets(line, sizeof line, maps))
        if (sscanf(line, "%lx", &first) == 1)
            bad += strstr(line, " rwx") || first < lowest || first < 4096;
    if (limit)
        fclose(limit);
    return maps ? fclose(maps), bad : -1;
}

static int at_start = -1;

__attribute__((constructor)) static void starts(void)
{
    at_start = bad_pages();
}

static void *has_good_pages(void *unused)
{
    EXPECT(bad_pages() == 0);
    return unused;
}

static void pages(void)
{
    int status;
    EXPECT(at_start == 0 && bad_pages() == 0);
    in_thread(has_good_pages, NULL);
    EXPECT(dlopen("libresolv.so.2", RTLD_NOW) && bad_pages() == 0);
    pid_t child = fork();
    if (child == 0) {
        EXPECT(access("/", F_OK) == 0);
        exit(bad_pages());
    }
    EXPECT(waitpid(child, &status, 0) == child && status == 0);
    fflush(stdout);
    execl("/bin/grep", "grep", "-c", " rwx", "/proc/self/maps", (char *)NULL);
}

/* Calling nothing is an error as ever: there is no page at 0 that would take it for a system call. */
static void calls_nothing(void)
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        void (*volatile nothing)(void) = NULL;
        nothing();
        _exit(0);
    }
    EXPECT(waitpid(child, &status, 0) == child);
    EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

/* ---- libraries that come later ---- */

static void *opens_library(void *name)
{
    void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    EXPECT(library);
    if (library)
        EXPECT(dlclose(library) == 0);
    return NULL;
}

static void *opens_libraries(void *unused)
{
    static const char *const names[] = {"libm.so.6", "libresolv.so.2", "libutil.so.1",
                                        "librt.so.1"};
    for (int i = 0; i < 50; i++)
        opens_library((void *)names[i % 4]);
    return unused;
}

static void libraries(void)
{
    pthread_t thread[4];
    void *library = dlopen("libm.so.6", RTLD_NOW);
    double (*root)(double) = library ? (double (*)(double))dlsym(library, "sqrt") : NULL;
    EXPECT(root && root(1764) == 42);
    EXPECT(!dlopen("/nonexistent.so", RTLD_NOW) && strstr(dlerror(), "No such file"));
    for (int i = 0; i < 4; i++)
        pthread_create(&thread[i], NULL, opens_libraries, NULL);
    for (int i = 0; i < 4; i++)
        pthread_join(thread[i], NULL);
    /* A second C library beside the first one, with all of its system calls. */
    void *second = dlmopen(LM_ID_NEWLM, "libc.so.6", RTLD_NOW);
    pid_t (*parent)(void) = second ? (pid_t (*)(void))dlsym(second, "getppid") : NULL;
    EXPECT(parent && parent() == getppid());
}

/* ---- no system calls at all ---- */

static void clocks(void)
{
    struct timespec before = {0, 0}, now;
    struct timeval day;
    unsigned cpu;
    for (int i = 0; i < 10000; i++) {
        EXPECT(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
        EXPECT(now.tv_sec > before.tv_sec ||
               (now.tv_sec == before.tv_sec && now.tv_nsec >= before.tv_nsec));
        before = now;
    }
    EXPECT(gettimeofday(&day, NULL) == 0 && labs(time(NULL) - day.tv_sec) <= 1);
    EXPECT(getcpu(&cpu, NULL) == 0);
    EXPECT(clock_gettime(-1, &now) == -1 && errno == EINVAL);
    EXPECT(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now) == 0);
    EXPECT(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) == 0);
}

/* ---- dying ---- */

static void dumps_core(void)
{
    struct rlimit all;
    int status = 0, found = 0;
    EXPECT(getrlimit(RLIMIT_CORE, &all) == 0);
    all.rlim_cur = all.rlim_max;
    EXPECT(setrlimit(RLIMIT_CORE, &all) == 0);
    pid_t child = fork();
    if (child == 0) {
        EXPECT(access("/", F_OK) == 0);
        abort();
    }
    EXPECT(waitpid(child, &status, 0) == child);
    printf("signal %d, core %d\n", WTERMSIG(status), WCOREDUMP(status) != 0);
    DIR *here = opendir(".");
    for (struct dirent *file; here && (file = readdir(here));)
        if (strncmp(file->d_name, "core", 4) == 0) {
            char magic[4] = "";
            int core = open(file->d_name, O_RDONLY);
            found += read(core, magic, 4) == 4 && memcmp(magic, "\177ELF", 4) == 0;
            close(core);
            unlink(file->d_name);
        }
    printf("%d files\n", found);
}

/* ---- signals that the C library keeps for itself ---- */

struct action {
    void (*handler)(int, siginfo_t *, void *);
    unsigned long flags;
    void (*restorer)(void);
    uint64_t mask;
};

void returns(void);
RETURNS(returns);

enum { RESTORER = 0x04000000, FIRST_KEPT = 32, KEPT = 2 };

static _Atomic int count, foreign;
static int pipe_ends[2];

static void counts(int signal, siginfo_t *info, void *context)
{
    (void)context;
    count++;
    foreign += syscall(SYS_gettid) != getpid() || info->si_signo != signal ||
               info->si_code != SI_USER || info->si_pid != getpid();
}

static void alarms(int signal)
{
    (void)signal;
    if (++count % 2 == 0)
        write(pipe_ends[1], "x", 1);
}

/* To any thread that takes it; there is only one. And no call that a handler interrupts hangs. */
static void takes_kept_signals(long (*sigaction_by)(long, long, long, long, long))
{
    EXPECT(pipe(pipe_ends) == 0 && access("/", F_OK) == 0);
    for (int signal = FIRST_KEPT; signal < FIRST_KEPT + KEPT; signal++) {
        struct action action = {counts, SA_SIGINFO | RESTORER, returns, 0};
        EXPECT(sigaction_by(SYS_rt_sigaction, signal, (long)&action, 0, 8) == 0);
        count = 0;
        for (int i = 0; i < 200; i++) {
            EXPECT(kill(getpid(), signal) == 0);
            EXPECT(access("/", F_OK) == 0);
            while (count <= i)
                EXPECT(getppid() > 0);
        }
        EXPECT(count == 200 && foreign == 0);
    }
    struct sigaction action = {.sa_handler = alarms, .sa_flags = SA_RESTART};
    struct itimerval timer = {{0, 3000}, {0, 3000}};
    EXPECT(sigaction(SIGALRM, &action, NULL) == 0 && setitimer(ITIMER_REAL, &timer, NULL) == 0);
    for (int i = 0; i < 20; i++) {
        char byte;
        EXPECT(read(pipe_ends[0], &byte, 1) == 1 && byte == 'x');
    }
}

static void kept_signals(void)
{
    takes_kept_signals((long (*)(long, long, long, long, long))syscall);
}

static void kept_signals_bare(void)
{
    takes_kept_signals(bare);
}

/* ---- filters that nobody is told of ---- */

static void filter_bare(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getpgid, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EXDEV),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {4, code};
    EXPECT(getpgid(0) > 0);
    EXPECT(bare(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0) == 0);
    EXPECT(bare(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, (long)&program, 0) == 0);
    EXPECT(bare(SYS_getpgid, 0, 0, 0, 0) == -EXDEV);
    for (int i = 0; i < 100; i++)
        EXPECT(access("/", F_OK) == 0);
}

const struct feature features[] = {
    {"pages", pages},
    {"calls-nothing", calls_nothing},
    {"libraries", libraries},
    {"clocks", clocks},
    {"dumps-core", dumps_core},
    {"kept-signals", kept_signals},
    {"kept-signals-bare", kept_signals_bare},
    {"filter-bare", filter_bare},
    {NULL, NULL},
};
