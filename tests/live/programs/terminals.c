/* SPDX-License-Identifier: MIT
 *
 * Job control: what a background process does to its terminal stops it, unless it ignores or blocks that, or
 * nobody could make it go on.
 */
#include "feature.h"

#include <fcntl.h>
#include <pthread.h>
#include <pty.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <termios.h>

enum { PATIENCE = 200, PAUSE_US = 25000 };

/* ---- what is done in the background ---- */

static long reads(void)
{
    char bytes[8];
    return read(0, bytes, sizeof bytes);
}

static long reads_parts(void)
{
    char bytes[8];
    struct iovec part = {bytes, sizeof bytes};
    return readv(0, &part, 1);
}

static long writes(void)
{
    return write(0, "x\n", 2);
}

static long writes_parts(void)
{
    struct iovec part = {"x\n", 2};
    return writev(0, &part, 1);
}

static long sets(void)
{
    struct termios settings;
    if (tcgetattr(0, &settings) != 0)
        return -2;
    return tcsetattr(0, TCSANOW, &settings);
}

static long takes(void)
{
    return tcsetpgrp(0, getpgrp());
}

static long flushes(void)
{
    return tcflush(0, TCIFLUSH);
}

static long drains(void)
{
    return tcdrain(0);
}

static long asks(void)
{
    struct winsize size;
    int waiting;
    return ioctl(0, TIOCGWINSZ, &size) | ioctl(0, FIONREAD, &waiting) | (tcgetpgrp(0) <= 0);
}

static const struct act {
    const char *name;
    long (*run)(void);
} acts[] = {
    {"read", reads},          {"readv", reads_parts}, {"write", writes},
    {"writev", writes_parts}, {"tcsetattr", sets},    {"tcsetpgrp", takes},
    {"tcflush", flushes},     {"tcdrain", drains},    {"only asks", asks},
};
enum { ACTS = sizeof acts / sizeof *acts };

enum way { PLAIN, IGNORES, BLOCKS, HANDLES, IN_THREAD, WAYS };
static const char *const ways[] = {"", ", ignored", ", blocked", ", handled", ", in a thread"};

static volatile sig_atomic_t handled;

static void handles(int signal)
{
    handled = signal;
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigaction(signal, &ignore, NULL);
}

static void prepare(enum way way)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN}, handle = {.sa_handler = handles};
    sigset_t both;
    sigemptyset(&both);
    sigaddset(&both, SIGTTIN);
    sigaddset(&both, SIGTTOU);
    if (way == BLOCKS)
        sigprocmask(SIG_BLOCK, &both, NULL);
    if (way == IGNORES || way == HANDLES) {
        sigaction(SIGTTIN, way == IGNORES ? &ignore : &handle, NULL);
        sigaction(SIGTTOU, way == IGNORES ? &ignore : &handle, NULL);
    }
}

static int report_to;

static void *act_now(void *act)
{
    errno = 0;
    long result = ((const struct act *)act)->run();
    dprintf(report_to, "returned %ld %s%s%s", result, result < 0 ? strerror(errno) : "",
            handled ? ", handled " : "", handled ? sigabbrev_np(handled) : "");
    return NULL;
}

static void act_in_background(const struct act *act, enum way way)
{
    setpgid(0, 0);
    prepare(way);
    for (int i = 0; i < 20; i++)
        EXPECT(getppid() > 0);
    if (way == IN_THREAD) {
        pthread_t thread;
        pthread_create(&thread, NULL, act_now, (void *)act);
        pthread_join(thread, NULL);
    } else {
        act_now((void *)act);
    }
    _exit(0);
}

/* ---- what becomes of it ---- */

static void watch(pid_t child, int from, const char *name, const char *way, int to)
{
    int status = 0;
    pid_t changed = 0;
    char said[128] = "";
    for (int i = 0; i < PATIENCE && !changed; i++) {
        changed = waitpid(child, &status, WUNTRACED | WNOHANG);
        if (!changed)
            usleep(PAUSE_US);
    }
    if (changed && WIFSTOPPED(status))
        snprintf(said, sizeof said, "stopped by %s", sigabbrev_np(WSTOPSIG(status)));
    else if (changed)
        EXPECT(read(from, said, sizeof said - 1) >= 0);
    else
        strcpy(said, "hangs");
    if (!changed || WIFSTOPPED(status)) {
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
    }
    dprintf(to, "%s%s: %s\n", name, way, said);
}

static void want_stops(bool wanted)
{
    struct termios settings;
    tcgetattr(0, &settings);
    settings.c_lflag = wanted ? settings.c_lflag | TOSTOP : settings.c_lflag & ~(tcflag_t)TOSTOP;
    tcsetattr(0, TCSANOW, &settings);
}

/* The shell's part: the leader of a session, with a terminal that it holds in the foreground. */
static void lead(int slave, int to)
{
    setsid();
    ioctl(slave, TIOCSCTTY, 0);
    dup2(slave, 0);
    struct sigaction ignore = {.sa_handler = SIG_IGN}, usual = {.sa_handler = SIG_DFL};
    for (int stops = 0; stops < 2; stops++) {
        want_stops(stops);
        dprintf(to, "%s\n", stops ? "with TOSTOP" : "without");
        for (int i = 0; i < ACTS; i++)
            for (enum way way = PLAIN; way < WAYS; way++) {
                int ends[2];
                EXPECT(pipe(ends) == 0);
                report_to = ends[1];
                pid_t child = fork();
                if (child == 0)
                    act_in_background(&acts[i], way);
                setpgid(child, child);
                watch(child, ends[0], acts[i].name, ways[way], to);
                close(ends[0]);
                close(ends[1]);
                sigaction(SIGTTOU, &ignore, NULL);
                tcsetpgrp(0, getpgrp());
                sigaction(SIGTTOU, &usual, NULL);
            }
    }
    _exit(0);
}

static pid_t with_terminal(void (*leader)(int slave, int to))
{
    int master, slave;
    fflush(stdout);
    EXPECT(openpty(&master, &slave, NULL, NULL, NULL) == 0);
    pid_t child = fork();
    if (child == 0) {
        close(master);
        leader(slave, 1);
    }
    close(slave);
    return child;
}

static void background(void)
{
    EXPECT(waitpid(with_terminal(lead), NULL, 0) > 0);
}

/* A job that is made to go on in the foreground makes the call once more. */
static void lead_one_that_goes_on(int slave, int to)
{
    setsid();
    ioctl(slave, TIOCSCTTY, 0);
    dup2(slave, 0);
    want_stops(true);
    int ends[2], status = 0;
    EXPECT(pipe(ends) == 0);
    report_to = ends[1];
    pid_t child = fork();
    if (child == 0)
        act_in_background(&acts[2], PLAIN);
    setpgid(child, child);
    EXPECT(waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status));
    EXPECT(tcsetpgrp(0, child) == 0);
    EXPECT(kill(child, SIGCONT) == 0);
    char said[128] = "";
    EXPECT(waitpid(child, &status, WUNTRACED) == child && WIFEXITED(status));
    EXPECT(read(ends[0], said, sizeof said - 1) > 0);
    dprintf(to, "%s\n", said);
    fflush(stdout);
    _exit(0);
}

static void goes_on(void)
{
    EXPECT(waitpid(with_terminal(lead_one_that_goes_on), NULL, 0) > 0);
}

/* Nobody of its session could make an orphan go on: it is not stopped. */
static void lead_an_orphan(int slave, int to)
{
    int ends[2];
    setsid();
    ioctl(slave, TIOCSCTTY, 0);
    dup2(slave, 0);
    for (int i = 0; i < ACTS; i++) {
        EXPECT(pipe(ends) == 0);
        report_to = ends[1];
        pid_t parent = fork();
        if (parent == 0) {
            setpgid(0, 0);
            if (fork() == 0) {
                while (getppid() == parent || getppid() == getpgrp())
                    usleep(1000);
                for (int k = 0; k < 20; k++)
                    EXPECT(getppid() > 0);
                act_now((void *)&acts[i]);
                _exit(0);
            }
            _exit(0);
        }
        waitpid(parent, NULL, 0);
        close(ends[1]);
        char said[128] = "";
        EXPECT(read(ends[0], said, sizeof said - 1) > 0);
        dprintf(to, "%s, orphaned: %s\n", acts[i].name, said);
        close(ends[0]);
    }
    _exit(0);
}

static void orphans(void)
{
    EXPECT(waitpid(with_terminal(lead_an_orphan), NULL, 0) > 0);
}

const struct feature features[] = {
    {"background-jobs", background},
    {"background-job-goes-on", goes_on},
    {"orphaned-jobs", orphans},
    {NULL, NULL},
};
