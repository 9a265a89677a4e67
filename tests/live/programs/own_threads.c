/* SPDX-License-Identifier: MIT
 *
 * A program that counts its own threads, in every way, finds no other: by whatever call, whyever that is made
 * where it is, and from every CPU.
 */
#include "shown.h"
#include "tasks.h"

#include <dirent.h>
#include <linux/openat2.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>

static int listed(const char *path)
{
    int count = 0;
    DIR *folder = opendir(path);
    struct dirent *found;
    while (folder && (found = readdir(folder)))
        count += found->d_name[0] != '.';
    if (folder)
        closedir(folder);
    return count;
}

static long in_stat(const char *path)
{
    char text[1024] = "";
    int fd = open(path, O_RDONLY);
    ssize_t size = read(fd, text, sizeof text - 1);
    char *at = size > 0 ? strrchr(text, ')') : NULL;
    for (int field = 2; at && field < 20; field++)
        at = strchr(at + 1, ' ');
    close(fd);
    return at ? atol(at) : -1;
}

static long with_stdio(void)
{
    char line[256];
    long count = -1;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        sscanf(line, "Threads: %ld", &count);
    if (file)
        fclose(file);
    return count;
}

static void counts(void)
{
    char path[64];
    struct stat found;
    int proc = open("/proc", O_RDONLY | O_DIRECTORY);
    work();
    EXPECT(listed("/proc/self/task") == 1);
    work();
    EXPECT(stat("/proc/self/task", &found) == 0 && found.st_nlink == 3);
    for (int i = 0; i < 10; i++)
        work();
    EXPECT(fstatat(proc, "self/task/", &found, 0) == 0 && found.st_nlink == 3);
    for (int i = 0; i < 10; i++)
        work();
    EXPECT(in_stat("/proc/self/stat") == 1);
    snprintf(path, sizeof path, "/proc/%d/stat", getpid());
    for (int i = 0; i < 10; i++)
        work();
    EXPECT(in_stat(path) == 1);
    for (int i = 0; i < 10; i++)
        work();
    EXPECT(with_stdio() == 1);
    for (int i = 0; i < 10; i++)
        work();
    snprintf(path, sizeof path, "/proc/%d/task", getpid());
    EXPECT(listed(path) == 1);
    close(proc);
}

static void counts_by_other_ways(void)
{
    char path[80];
    struct stat found;
    int proc = open("/proc", O_RDONLY | O_DIRECTORY), here = open(".", O_RDONLY | O_DIRECTORY);
    int self = open("/proc/self", O_RDONLY | O_DIRECTORY);
    static const char *const folders[] = {"/proc/./self/task", "/proc/self/./task",
                                          "/proc/self/../self/task//", "//proc//self//task"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        for (int j = 0; j < 3; j++)
            work();
        EXPECT(stat(folders[i], &found) == 0 && found.st_nlink == 3);
        for (int j = 0; j < 3; j++)
            work();
        EXPECT(listed(folders[i]) == 1);
    }
    for (int way = 0; way < 8; way++) {
        for (int j = 0; j < 3; j++)
            work();
        snprintf(path, sizeof path, "/proc/self/task/%d/status", gettid());
        int fd = way == 0   ? openat(self, "status", O_RDONLY)
                 : way == 1 ? openat(proc, "self/./status", O_RDONLY)
                 : way == 2 ? open("/proc/thread-self/status", O_RDONLY)
                 : way == 3 ? open(path, O_RDONLY)
                 : way == 4 ? openat(self, "../self/status", O_RDONLY)
                            : -1;
        if (way == 5) {
            EXPECT(fchdir(self) == 0);
            fd = open("status", O_RDONLY);
            EXPECT(fchdir(here) == 0);
        } else if (way == 6) {
            EXPECT(fstatat(self, "task", &found, 0) == 0 && found.st_nlink == 3);
            continue;
        } else if (way == 7) { /* where the kernel has it */
            fd = open("/proc/self/sched", O_RDONLY);
            EXPECT(fd < 0 || number_behind(fd, "#threads: ") == 1);
            continue;
        }
        if (number_behind(fd, "\nThreads:") != 1)
            printf("not so: counted by way %d\n", way);
    }
    close(self), close(here), close(proc);
}

/* By calls that the runtime leaves to their caller, each for a reason of its own. */
static void counts_by_kept_calls(void)
{
    struct open_how how = {.flags = O_RDONLY};
    for (int i = 0; i < 10; i++)
        work();
    int fd = (int)syscall(SYS_openat2, AT_FDCWD, "/proc/self/status", &how, sizeof how);
    EXPECT(number_behind(fd, "\nThreads:") == 1);
    static const unsigned rights[] = {0, PKEY_DISABLE_WRITE, PKEY_DISABLE_ACCESS};
    int key = pkey_alloc(0, 0); /* fails where the processor has none */
    for (int i = 0; key >= 0 && i < 9; i++) {
        EXPECT(pkey_set(key, rights[i / 3]) == 0);
        for (int j = 0; j < 10; j++)
            work();
        EXPECT(pkey_set(key, rights[i % 3]) == 0);
        EXPECT(listed("/proc/self/task") == 1);
    }
}

static void *works_until_told(void *end)
{
    char byte;
    work();
    EXPECT(read(*(int *)end, &byte, 1) == 1);
    return end;
}

/* Its calls are its own for good, for it was not alone when it left its process's credentials. */
static void counts_by_a_changed_thread(void)
{
    pthread_t thread;
    int ends[2];
    EXPECT(pipe(ends) == 0 && pthread_create(&thread, NULL, works_until_told, &ends[0]) == 0);
    for (int i = 0; i < 10; i++)
        work();
    EXPECT(syscall(SYS_setfsgid, getgid()) >= 0);
    EXPECT(write(ends[1], "x", 1) == 1);
    pthread_join(thread, NULL);
    EXPECT(listed("/proc/self/task") == 1);
    close(ends[0]), close(ends[1]);
}

static volatile long counted;

static void count_in_handler(int signal)
{
    counted = in_stat("/proc/self/stat");
    EXPECT(signal == SIGALRM);
}

static void counts_in_handlers(void)
{
    struct itimerval soon = {.it_value = {.tv_usec = 20000}};
    struct sigaction action = {.sa_handler = count_in_handler};
    char byte;
    int ends[2];
    EXPECT(pipe(ends) == 0 && sigaction(SIGALRM, &action, NULL) == 0);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 10; i++)
            work();
        counted = 0;
        EXPECT(setitimer(ITIMER_REAL, &soon, NULL) == 0);
        EXPECT(read(ends[0], &byte, 1) == -1 && errno == EINTR);
        EXPECT(counted == 1);
    }
    close(ends[0]), close(ends[1]);
}

static void own_threads(void)
{
    counts();
    counts_by_other_ways();
    counts_by_kept_calls();
    counts_in_handlers();
    for (int i = 0; i < 5; i++)
        in_thread(works, NULL);
    for (int i = 0; i < 10; i++)
        work();
    counts();
    fflush(stdout);
    if (fork() == 0) {
        counts();
        counts_by_a_changed_thread();
        fflush(stdout);
        _exit(0);
    }
    wait(NULL);
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

/* From the service's, too, where the program's own calls would have to wait for it. */
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
            EXPECT(listed("/proc/self/task") == 1);
            fflush(stdout);
            pid_t child = fork();
            if (child == 0) {
                on_this_cpu(NULL);
                _exit(listed("/proc/self/task"));
            }
            EXPECT(ended(child) == 1);
        }
    in_thread(on_this_cpu, NULL);
    EXPECT(visited > 0);
    printf("visited %d\n", visited);
}

const struct feature features[] = {
    {"own-threads-are-counted", own_threads},
    {"visits-every-cpu", visits_every_cpu},
    {NULL, NULL},
};
