/* SPDX-License-Identifier: MIT
 *
 * Files that are not the same for all who open them: of the thread that looks, of the task that alone may write
 * them, those that tell in which call it is.
 */
#include "shown.h"
#include "tasks.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

/* ---- of the thread that looks ---- */

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

const struct feature features[] = {
    {"thread-spellings", thread_spellings},
    {"own-files-are-written", own_files},
    {"own-call-is-read", own_call},
    {NULL, NULL},
};
