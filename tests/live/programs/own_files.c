/* SPDX-License-Identifier: MIT
 *
 * Files that are not the same for all who open them: of the thread that looks, of the task that alone may write
 * them, those that count a process's threads or tell its call; looked at from every CPU, too.
 */
#include "tasks.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

/* ---- of the thread that looks ---- */

static long number_behind(int fd, const char *name)
{
    char text[4096] = "";
    ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    const char *at = size > 0 ? strstr(text, name) : NULL;
    if (fd >= 0)
        close(fd);
    return at ? atol(at + strlen(name)) : -1;
}

static void is_own(int fd, const char *how)
{
    long found = number_behind(fd, "\nPid:");
    if (found != gettid())
        printf("not so: %s: %s\n", how, found < 0 ? strerror(errno) : "another thread's");
}

static void *spellings(void *unused)
{
    static const char *const paths[] = {
        "/proc/thread-self/status",          "/proc/./thread-self/status",
        "//proc//thread-self//status",       "/proc/self/../thread-self/status",
        "/usr/../proc/thread-self/./status", "/proc/thread-self/fd/../status",
        "../proc/thread-self/status"};
    char link[64] = "", expected[64];
    struct stat mine, found;
    work();
    EXPECT(chdir("/tmp") == 0);
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        is_own(open(paths[i], O_RDONLY), paths[i]);
    int proc = open("/proc", O_RDONLY | O_DIRECTORY);
    is_own(openat(proc, "thread-self/status", O_RDONLY), "by a descriptor");
    int self = openat(proc, "thread-self", O_RDONLY | O_DIRECTORY);
    is_own(openat(self, "status", O_RDONLY), "by its folder");
    snprintf(expected, sizeof expected, "%d/task/%d", getpid(), gettid());
    EXPECT(readlinkat(proc, "thread-self", link, sizeof link - 1) > 0);
    EXPECT(strcmp(link, expected) == 0);
    snprintf(expected, sizeof expected, "/proc/self/task/%d/comm", gettid());
    EXPECT(stat(expected, &mine) == 0);
    EXPECT(fstatat(proc, "thread-self/comm", &found, 0) == 0 && found.st_ino == mine.st_ino);
    EXPECT(faccessat(proc, "thread-self/none", F_OK, 0) == -1 && errno == ENOENT);
    close(self);
    close(proc);
    EXPECT(chdir("/proc") == 0);
    is_own(open("thread-self/status", O_RDONLY), "from /proc");
    EXPECT(chdir("thread-self") == 0);
    is_own(open("status", O_RDONLY), "from its own folder");
    EXPECT(chdir("../../../thread-self/fd") == 0);
    is_own(open("../status", O_RDONLY), "from a folder below");
    EXPECT(chdir("/proc/thread-self/none") == -1 && errno == ENOENT);
    EXPECT(chdir((const char *)8) == -1 && errno == EFAULT);
    EXPECT(chdir("/tmp") == 0);
    return unused;
}

static void thread_spellings(void)
{
    char folder[] = "/tmp/own-files-XXXXXX";
    spellings(NULL);
    in_thread(spellings, NULL);
    /* A file of that name elsewhere is like any other. */
    EXPECT(mkdtemp(folder) && chdir(folder) == 0);
    int fd = open("thread-self", O_CREAT | O_EXCL | O_RDWR, 0600);
    EXPECT(fd >= 0 && write(fd, "x", 1) == 1);
    EXPECT(open("thread-self", O_CREAT | O_EXCL | O_RDWR, 0600) == -1 && errno == EEXIST);
    EXPECT(unlink("thread-self") == 0 && chdir("/") == 0 && rmdir(folder) == 0);
}

/* ---- that only the task itself may write ---- */

static void put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY);
    struct iovec part = {(char *)text, strlen(text)};
    if (fd < 0) {
        printf("%s: open: %s\n", path, strerror(errno));
        return;
    }
    for (int i = 0; i < 3; i++) {
        errno = 0;
        ssize_t size = i == 0   ? write(fd, text, strlen(text))
                       : i == 1 ? writev(fd, &part, 1)
                                : pwrite(fd, text, strlen(text), 0);
        printf("%s: %zd %s\n", path, size, size < 0 ? strerror(errno) : "");
    }
    close(fd);
}

static void get(const char *path)
{
    char text[64] = "";
    int fd = open(path, O_RDONLY);
    ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    printf("%s: %s\n", path, size < 0 ? strerror(errno) : text);
    if (fd >= 0)
        close(fd);
}

static void *write_all(void *unused)
{
    static const char *const ours[] = {
        "/proc/self/loginuid",       "/proc/self/attr/current",    "/proc/self/attr/exec",
        "/proc/self/attr/keycreate", "/proc/self/oom_score_adj",   "/proc/self/coredump_filter",
        "/proc/thread-self/comm",    "/proc/self/task/1/comm",     "/proc/self/autogroup",
        "/proc/self/setgroups",      "/proc/thread-self/loginuid", "/proc/thread-self/attr/exec"};
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        put(ours[i], "7");
    put("/proc/self/timerslack_ns", "60000");
    get("/proc/self/timerslack_ns");
    return unused;
}

static void own_files(void)
{
    work();
    fflush(stdout);
    if (fork() == 0) {
        write_all(NULL);
        in_thread(write_all, NULL);
        fflush(stdout);
        _exit(0);
    }
    wait(NULL);
    if (fork() == 0) {
        EXPECT(setgid(65534) == 0 && setuid(65534) == 0);
        work();
        put("/proc/self/timerslack_ns", "70000");
        get("/proc/self/timerslack_ns");
        get("/proc/self/loginuid");
        fflush(stdout);
        _exit(0);
    }
    wait(NULL);
}

/* ---- that count threads ---- */

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
    for (int i = 0; i < 100; i++)
        work();
    EXPECT(fstatat(proc, "self/task/", &found, 0) == 0 && found.st_nlink == 3);
    for (int i = 0; i < 100; i++)
        work();
    EXPECT(in_stat("/proc/self/stat") == 1);
    snprintf(path, sizeof path, "/proc/%d/stat", getpid());
    for (int i = 0; i < 100; i++)
        work();
    EXPECT(in_stat(path) == 1);
    for (int i = 0; i < 100; i++)
        work();
    EXPECT(with_stdio() == 1);
    for (int i = 0; i < 100; i++)
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

/* ---- that tell in which call their task is ---- */

static void own_call(void)
{
    static const char *const paths[] = {"/proc/self/syscall", "/proc/thread-self/syscall",
                                        "/proc/self/wchan", "/proc/self/stack"};
    char text[256];
    struct iovec part = {text, sizeof text - 1};
    work();
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        for (int way = 0; way < 3; way++) {
            int fd = open(paths[i], O_RDONLY);
            memset(text, 0, sizeof text);
            if (fd >= 0)
                EXPECT((way == 0   ? read(fd, text, sizeof text - 1)
                        : way == 1 ? pread(fd, text, sizeof text - 1, 0)
                                   : readv(fd, &part, 1)) > 0);
            if (fd >= 0 && i < 2)
                EXPECT(atoi(text) == (way == 0 ? SYS_read : way == 1 ? SYS_pread64 : SYS_readv));
            printf("%s: %.*s\n", paths[i], i == 3 ? 1 : (int)strcspn(text, " \n"), text);
            close(fd);
        }
}

static void own_threads(void)
{
    counts();
    counts_by_other_ways();
    for (int i = 0; i < 5; i++)
        in_thread(works, NULL);
    for (int i = 0; i < 100; i++)
        work();
    counts();
    fflush(stdout);
    if (fork() == 0) {
        counts();
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
    {"thread-spellings", thread_spellings},   {"own-files-are-written", own_files},
    {"own-threads-are-counted", own_threads}, {"own-call-is-read", own_call},
    {"visits-every-cpu", visits_every_cpu},   {NULL, NULL},
};
