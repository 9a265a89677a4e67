/* SPDX-License-Identifier: MIT
 *
 * What belongs to the process or to the thread, and what a program does to it.
 */
#include "tasks.h"

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static char folder[] = "/tmp/identity-XXXXXX";

static void thread_self(void)
{
    char link[64], expected[64], text[256];
    long tid = syscall(SYS_gettid);
    ssize_t size = readlink("/proc/thread-self", link, sizeof link - 1);
    EXPECT(size > 0);
    link[size > 0 ? size : 0] = 0;
    snprintf(expected, sizeof expected, "%d/task/%ld", getpid(), tid);
    EXPECT(strcmp(link, expected) == 0);
    FILE *file = fopen("/proc/thread-self/status", "r");
    long found = 0;
    while (file && fgets(text, sizeof text, file))
        sscanf(text, "Pid: %ld", &found);
    EXPECT(found == tid);
    if (file)
        fclose(file);
    size = readlink("/proc/self", link, sizeof link - 1);
    link[size > 0 ? size : 0] = 0;
    EXPECT(atoi(link) == getpid());
}

static void *thread_self_there(void *unused)
{
    thread_self();
    return unused;
}

static void thread_self_everywhere(void)
{
    thread_self();
    in_thread(thread_self_there, NULL);
}

static void surroundings(void)
{
    struct stat status;
    char cwd[64];
    EXPECT(mkdtemp(folder) && chdir(folder) == 0);
    EXPECT(getcwd(cwd, sizeof cwd) && strcmp(cwd, folder) == 0);
    umask(027);
    int fd = open("file", O_CREAT | O_RDWR, 0666);
    EXPECT(fd >= 0 && fstat(fd, &status) == 0 && (status.st_mode & 0777) == 0640);
    EXPECT(umask(0) == 027);
    struct rlimit limit = {20, 20};
    EXPECT(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    int last = fd;
    for (int more = dup(fd); more >= 0; more = dup(fd))
        last = more;
    EXPECT(errno == EMFILE && last == 19);
    limit = (struct rlimit){4096, 4096};
    EXPECT(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    signal(SIGXFSZ, SIG_IGN);
    EXPECT(ftruncate(fd, 8192) == -1 && errno == EFBIG);
    EXPECT(unlink("file") == 0 && rmdir(folder) == 0);
}

static void closes_all(void)
{
    int out = dup(1);
    closefrom(out + 1);
    for (int fd = 3; fd < 1024; fd++)
        if (fd != out)
            close(fd);
    EXPECT(close_range(out + 1, ~0u, 0) == 0);
    DIR *open_ones = opendir("/proc/self/fd");
    int entries = 0;
    while (open_ones && readdir(open_ones))
        entries++;
    printf("%d\n", entries); /* . .. 0 1 2 out and the folder itself */
    closedir(open_ones);
}

static void *reads_secret(void *result)
{
    *(int *)result = open(SECRET, O_RDONLY) >= 0 ? 0 : errno;
    return NULL;
}

/* Only root can give something up. */
static void gives_up_root(void)
{
    int result = 0;
    if (geteuid() != 0)
        return;
    EXPECT(make_secret() == 0 && close(open(SECRET, O_RDONLY)) == 0);
    EXPECT(setgroups(0, NULL) == 0 && setresgid(65534, 65534, 65534) == 0);
    EXPECT(setresuid(65534, 65534, 65534) == 0);
    EXPECT(geteuid() == 65534);
    EXPECT(open(SECRET, O_RDONLY) == -1 && errno == EACCES);
    in_thread(reads_secret, &result);
    EXPECT(result == EACCES);
}

static pthread_barrier_t barrier;

static void *waits_for_setuid(void *result)
{
    reads_secret(result);
    EXPECT(*(int *)result == 0);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    return reads_secret(result);
}

static void gives_up_root_in_threads(void)
{
    int result = 0;
    pthread_t thread;
    if (geteuid() != 0)
        return;
    EXPECT(make_secret() == 0);
    pthread_barrier_init(&barrier, NULL, 2);
    pthread_create(&thread, NULL, waits_for_setuid, &result);
    pthread_barrier_wait(&barrier);
    EXPECT(setresgid(65534, 65534, 65534) == 0 && setresuid(65534, 65534, 65534) == 0);
    EXPECT(open(SECRET, O_RDONLY) == -1 && errno == EACCES);
    pthread_barrier_wait(&barrier);
    pthread_join(thread, NULL);
    EXPECT(result == EACCES);
}

static void filters_itself(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getpgid, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EXDEV),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {4, filter};
    EXPECT(getpgid(0) > 0);
    EXPECT(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    EXPECT(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
    EXPECT(getpgid(0) == -1 && errno == EXDEV);
    EXPECT(access("/", F_OK) == 0);
}

static void *unshares(void *fd)
{
    EXPECT(unshare(CLONE_FILES) == 0);
    EXPECT(close(*(int *)fd) == 0);
    EXPECT(fcntl(*(int *)fd, F_GETFD) == -1 && errno == EBADF);
    return NULL;
}

static void own_files(void)
{
    int fd = open("/dev/null", O_RDONLY);
    in_thread(unshares, &fd);
    EXPECT(fcntl(fd, F_GETFD) >= 0);
    unshares(&fd);
}

static void becomes_daemon(void)
{
    int ends[2];
    char text[32] = "";
    EXPECT(pipe(ends) == 0);
    pid_t child = fork();
    if (child == 0) {
        pid_t before = getpid();
        EXPECT(daemon(0, 0) == 0);
        int size = snprintf(text, sizeof text, "%s", getpid() != before ? "daemon" : "same");
        write(ends[1], text, (size_t)size);
        _exit(0);
    }
    close(ends[1]);
    EXPECT(read(ends[0], text, sizeof text) == 6);
    waitpid(child, NULL, 0);
    puts(text);
}

const struct feature features[] = {
    {"thread-self", thread_self_everywhere},
    {"surroundings", surroundings},
    {"closes-all", closes_all},
    {"gives-up-root", gives_up_root},
    {"gives-up-root-in-threads", gives_up_root_in_threads},
    {"filters-itself", filters_itself},
    {"own-files", own_files},
    {"becomes-daemon", becomes_daemon},
    {NULL, NULL},
};
