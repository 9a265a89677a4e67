/* SPDX-License-Identifier: MIT
 *
 * Programs that forbid themselves system calls: nothing they do may get past their own filter, and nothing
 * that is done for them may meet it.
 */
#include "tasks.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { FORBIDDEN = SYS_getpgid }; /* forwarded, and nobody else needs it */

static long filter(uint32_t answer, unsigned flags)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, FORBIDDEN, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, answer),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {4, code};
    EXPECT(getpgid(0) > 0);
    EXPECT(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

static void forbidden(void)
{
    EXPECT(getpgid(0) == -1 && errno == EXDEV);
    EXPECT(access("/", F_OK) == 0);
}

static void *forbidden_there(void *unused)
{
    forbidden();
    return unused;
}

static void answers_errno(void)
{
    EXPECT(filter(SECCOMP_RET_ERRNO | EXDEV, 0) == 0);
    forbidden();
    in_thread(forbidden_there, NULL);
    pid_t child = fork();
    if (child == 0) {
        forbidden();
        fflush(stdout);
        _exit(0);
    }
    EXPECT(waitpid(child, NULL, 0) == child);
    EXPECT(prctl(PR_GET_SECCOMP) == 2);
}

/* ---- one thread among others ---- */

static pthread_barrier_t barrier;

static void *filters_alone(void *unused)
{
    EXPECT(filter(SECCOMP_RET_ERRNO | EXDEV, 0) == 0);
    forbidden();
    in_thread(forbidden_there, NULL);
    pthread_barrier_wait(&barrier);
    return unused;
}

static void in_one_thread(void)
{
    pthread_t thread;
    pthread_barrier_init(&barrier, NULL, 2);
    EXPECT(access("/", F_OK) == 0);
    pthread_create(&thread, NULL, filters_alone, NULL);
    pthread_barrier_wait(&barrier);
    pthread_join(thread, NULL);
    EXPECT(getpgid(0) > 0); /* the others are as free as before */
}

static void *waits_for_filter(void *unused)
{
    EXPECT(getpgid(0) > 0);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    forbidden();
    return unused;
}

static void in_all_threads(void)
{
    pthread_t thread;
    pthread_barrier_init(&barrier, NULL, 2);
    pthread_create(&thread, NULL, waits_for_filter, NULL);
    pthread_barrier_wait(&barrier);
    EXPECT(filter(SECCOMP_RET_ERRNO | EXDEV, SECCOMP_FILTER_FLAG_TSYNC) == 0);
    forbidden();
    pthread_barrier_wait(&barrier);
    pthread_join(thread, NULL);
}

/* ---- other answers ---- */

static volatile int trapped, came;

static void traps(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)context;
    trapped = info->si_syscall;
}

static void answers_trap(void)
{
    struct sigaction action = {.sa_sigaction = traps, .sa_flags = SA_SIGINFO}, before;
    EXPECT(sigaction(SIGSYS, &action, NULL) == 0);
    EXPECT(filter(SECCOMP_RET_TRAP, 0) == 0);
    getpgid(0);
    EXPECT(trapped == FORBIDDEN);
    EXPECT(sigaction(SIGSYS, NULL, &before) == 0 && before.sa_sigaction == traps);
}

static void dies(uint32_t answer)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        EXPECT(filter(answer, 0) == 0);
        EXPECT(access("/", F_OK) == 0);
        getpgid(0);
        _exit(7);
    }
    EXPECT(waitpid(child, &status, 0) == child);
    EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
}

static void answers_kill(void)
{
    dies(SECCOMP_RET_KILL_PROCESS);
    dies(SECCOMP_RET_KILL_THREAD);
}

static void arrives(int signal)
{
    (void)signal;
    came++;
}

/* What a careful program allows itself, and no more: any call that memsc added would end it. */
static void allows_little(void)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        struct sock_filter code[] = {
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_write, 4, 0),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_kill, 3, 0),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigreturn, 2, 0),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 1, 0),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        struct sock_fprog program = {7, code};
        int null = open("/dev/null", O_WRONLY);
        pid_t self = getpid();
        signal(SIGUSR1, arrives);
        kill(self, SIGUSR1);
        EXPECT(write(null, "x", 1) == 1);
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
            _exit(1);
        kill(self, SIGUSR1); /* its handler, too, runs with nothing added */
        _exit(write(null, "x", 1) == 1 && came == 2 ? 0 : 2);
    }
    EXPECT(waitpid(child, &status, 0) == child);
    EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void strict_mode(void)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        int null = open("/dev/null", O_WRONLY);
        EXPECT(write(null, "x", 1) == 1);
        if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT))
            _exit(1);
        syscall(SYS_exit, write(null, "x", 1) == 1 ? 0 : 2);
    }
    EXPECT(waitpid(child, &status, 0) == child);
    EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* ---- somebody else answers ---- */

struct asked {
    int listener, thread, number;
};

static void *supervises(void *argument)
{
    struct asked *asked = argument;
    struct seccomp_notif notice = {0};
    struct seccomp_notif_resp answer = {0};
    if (ioctl(asked->listener, SECCOMP_IOCTL_NOTIF_RECV, &notice))
        return NULL;
    asked->thread = (int)notice.pid;
    asked->number = notice.data.nr;
    answer.id = notice.id;
    answer.val = 4711;
    ioctl(asked->listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
    return NULL;
}

static void asks_supervisor(void)
{
    struct asked asked = {0};
    pthread_t thread;
    asked.listener = (int)filter(SECCOMP_RET_USER_NOTIF, SECCOMP_FILTER_FLAG_NEW_LISTENER);
    EXPECT(asked.listener >= 0);
    pthread_create(&thread, NULL, supervises, &asked);
    EXPECT(getpgid(0) == 4711);
    pthread_join(thread, NULL);
    EXPECT(asked.thread == gettid() && asked.number == FORBIDDEN);
}

/* ---- what comes after ---- */

/* Whatever is executed inherits the filter, knows nothing of it, and must not get past it. */
static void executes(void)
{
    EXPECT(filter(SECCOMP_RET_ERRNO | EXDEV, 0) == 0);
    fflush(stdout);
    execlp("python3", "python3", "-c",
           "import os\n"
           "try: print(os.getpgid(0))\n"
           "except OSError as e: print(e.strerror)",
           (char *)NULL);
}

/* Asks whether there are filters, the way libraries do; that changes nothing. */
static void only_asks(void)
{
    uint32_t action = SECCOMP_RET_TRAP;
    EXPECT(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL) == -1 && errno == EFAULT);
    EXPECT(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, NULL) == -1 && errno == EFAULT);
    EXPECT(syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0);
    EXPECT(prctl(PR_GET_SECCOMP) == 0);
    EXPECT(getpgid(0) > 0);
}

static void *has_none(void *result)
{
    *(int *)result = open(SECRET, O_RDONLY) >= 0 ? 0 : errno;
    return NULL;
}

/* A thread that gives root up by itself makes another, which has none either. */
static void *gives_up(void *unused)
{
    int result = 0;
    EXPECT(close(open(SECRET, O_RDONLY)) == 0);
    EXPECT(syscall(SYS_setresgid, 65534, 65534, 65534) == 0);
    EXPECT(syscall(SYS_setresuid, 65534, 65534, 65534) == 0);
    in_thread(has_none, &result);
    EXPECT(result == EACCES);
    return unused;
}

static void made_by_changed_thread(void)
{
    if (geteuid() != 0)
        return;
    EXPECT(access("/", F_OK) == 0 && make_secret() == 0);
    in_thread(gives_up, NULL);
    EXPECT(close(open(SECRET, O_RDONLY)) == 0);
}

const struct feature features[] = {
    {"filter-errno", answers_errno},
    {"filter-in-one-thread", in_one_thread},
    {"filter-in-all-threads", in_all_threads},
    {"filter-trap", answers_trap},
    {"filter-kill", answers_kill},
    {"filter-allows-little", allows_little},
    {"filter-strict", strict_mode},
    {"filter-supervisor", asks_supervisor},
    {"filter-executes", executes},
    {"filter-only-asks", only_asks},
    {"made-by-changed-thread", made_by_changed_thread},
    {NULL, NULL},
};
