/* SPDX-License-Identifier: MIT
 *
 * Tracers as people write them for programs of one thread: what they are told must not hang on who makes the calls.
 */
#include "feature.h"

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { WRITES = 70 /* more than a process makes itself at first */, NOWHERE = -1, LACKING = 9 };

enum how {
    EXECUTED, /* asks to be traced, and executes */
    ITSELF,   /* asks to be traced, and goes on */
    SEIZED,   /* stops itself, is seized, and executes */
};

static void makes_calls(void)
{
    for (int i = 0; i < WRITES; i++)
        write(NOWHERE, "", 0);
}

static void execute(void)
{
    execl("/proc/self/exe", "tracers", "makes-calls", NULL);
    _exit(2);
}

static pid_t start(enum how how)
{
    fflush(stdout);
    pid_t child = fork();
    if (child)
        return child;
    if (how != SEIZED && ptrace(PTRACE_TRACEME, 0, 0, 0) != 0)
        _exit(LACKING);
    if (how == EXECUTED)
        execute();
    raise(SIGSTOP);
    if (how == SEIZED)
        execute();
    makes_calls();
    _exit(0);
}

/* As soon as it stops: where it has executed, or where it stops itself. 0: this system has no tracers. */
static pid_t stopped(enum how how)
{
    int status;
    pid_t child = start(how);
    if (how == SEIZED) {
        EXPECT(waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status));
        ptrace(PTRACE_SEIZE, child, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC);
        kill(child, SIGCONT);
    }
    EXPECT(waitpid(child, &status, 0) == child);
    if (WIFSTOPPED(status))
        return child;
    EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == LACKING);
    puts("needs ptrace");
    return 0;
}

/* Calls that its one thread begins, and what of threads it makes. */
static void count(enum how how)
{
    int status, writes = 0, threads = 0;
    struct __ptrace_syscall_info call;
    pid_t child = stopped(how);
    if (!child)
        return;
    if (how != SEIZED)
        EXPECT(ptrace(PTRACE_SETOPTIONS, child, 0, PTRACE_O_TRACESYSGOOD) == 0);
    do {
        EXPECT(ptrace(PTRACE_SYSCALL, child, 0, 0) == 0);
        EXPECT(waitpid(child, &status, 0) == child);
        if (!WIFSTOPPED(status) ||
            ptrace(PTRACE_GET_SYSCALL_INFO, child, sizeof call, &call) <= 0 ||
            call.op != PTRACE_SYSCALL_INFO_ENTRY)
            continue;
        writes += call.entry.nr == SYS_write && (int)call.entry.args[0] == NOWHERE;
        threads += call.entry.nr == SYS_clone || call.entry.nr == SYS_clone3;
    } while (WIFSTOPPED(status));
    printf("%d of %d calls, %d threads, status %x\n", writes, WRITES, threads, status);
}

static void counts_executed(void)
{
    count(EXECUTED);
}

static void counts_itself(void)
{
    count(ITSELF);
}

static void counts_seized(void)
{
    count(SEIZED);
}

/* Waits for the one that it started, whoever else it is told of. */
static void follows_clones(void)
{
    int status;
    pid_t child = stopped(EXECUTED);
    if (!child)
        return;
    EXPECT(ptrace(PTRACE_SETOPTIONS, child, 0, PTRACE_O_TRACEEXIT | PTRACE_O_TRACECLONE) == 0);
    do {
        EXPECT(ptrace(PTRACE_CONT, child, 0, 0) == 0);
        EXPECT(waitpid(child, &status, __WALL) == child);
        printf("%x\n", status);
    } while (WIFSTOPPED(status));
}

static void on_child(int number)
{
    (void)number;
}

/* When SIGCHLD comes for a child of one thread, it can be waited for. */
static void is_not_interrupted(void)
{
    struct sigaction action = {.sa_handler = on_child};
    int wrong = 0;
    sigaction(SIGCHLD, &action, NULL);
    for (int i = 0; i < 10; i++) {
        int status;
        pid_t child = start(EXECUTED);
        while (waitpid(child, &status, 0) != child)
            EXPECT(errno == EINTR);
        if (!WIFSTOPPED(status)) {
            puts("needs ptrace");
            return;
        }
        EXPECT(ptrace(PTRACE_CONT, child, 0, 0) == 0);
        wrong += waitpid(child, &status, 0) != child;
    }
    printf("%d interrupted\n", wrong);
}

/* Who was asked once stays traced; others of its family are not, and are carried. */
static void has_children_untraced(void)
{
    int status;
    pid_t child = stopped(ITSELF);
    if (!child)
        return;
    EXPECT(ptrace(PTRACE_DETACH, child, 0, 0) == 0);
    EXPECT(waitpid(child, &status, 0) == child && status == 0);
    makes_calls();
    EXPECT(getppid() > 0);
}

const struct feature features[] = {
    {"makes-calls", makes_calls},
    {"counts-executed", counts_executed},
    {"counts-itself", counts_itself},
    {"counts-seized", counts_seized},
    {"follows-clones", follows_clones},
    {"is-not-interrupted", is_not_interrupted},
    {"has-children-untraced", has_children_untraced},
    {NULL, NULL},
};
