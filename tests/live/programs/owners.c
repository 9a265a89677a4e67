/* SPDX-License-Identifier: MIT
 *
 * Who is told of signals, and what is read back of them.
 */
#include "tasks.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/uio.h>
#include <time.h>

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
    in_thread(watch, NULL);
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

const struct feature features[] = {
    {"signals-are-watched", signals_are_watched},
    {"mask-is-read-back", mask_is_read_back},
    {"owners-of-signals", owners},
    {NULL, NULL},
};
