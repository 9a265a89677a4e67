/* SPDX-License-Identifier: MIT
 *
 * What signal handlers do, and how the calls that they interrupt go on.
 */
#include "signalling.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/wait.h>

static _Atomic int count;
static int pipe_ends[2];

static void counts(int signal)
{
    (void)signal;
    count++;
}

static void talks_to_itself(int signal)
{
    char byte = 0;
    (void)signal;
    if (++count == 3) {
        tick(0);
        write(pipe_ends[1], "z", 1);
    } else if (count < 3) {
        EXPECT(write(pipe_ends[1], "h", 1) == 1);
        EXPECT(read(pipe_ends[0], &byte, 1) == 1 && byte == 'h');
    }
}

/* The interrupted read has been given up before the handler runs, so that gets what it wrote. */
static void handler_goes_first(void)
{
    char byte;
    EXPECT(pipe(pipe_ends) == 0);
    on(SIGALRM, talks_to_itself, SA_RESTART);
    for (int i = 0; i < 20; i++) {
        count = 0;
        tick(5000);
        EXPECT(read(pipe_ends[0], &byte, 1) == 1 && byte == 'z');
    }
}

static volatile pid_t forked;

static void forks_and_returns(int signal)
{
    (void)signal;
    tick(0);
    forked = fork();
}

/* Parent and child both come back to the call that the handler interrupted. */
static void fork_in_handler(void)
{
    char byte;
    EXPECT(pipe(pipe_ends) == 0);
    for (int i = 0; i < 30; i++) {
        int status = -1;
        forked = -1;
        on(SIGALRM, forks_and_returns, i % 2 ? SA_RESTART : 0);
        tick(2000 + i * 100);
        if (i % 3 == 0) /* ends early if it was interrupted, and not if that came before it */
            poll(&(struct pollfd){pipe_ends[0], POLLIN, 0}, 1, 100);
        while (forked == -1)
            EXPECT(getppid() > 0 && access("/", F_OK) == 0);
        if (forked == 0)
            _exit(getppid() > 1 && access("/", F_OK) == 0 ? 7 : 8);
        EXPECT(waitpid(forked, &status, 0) == forked && status == 7 << 8);
    }
}

static void read_back(void)
{
    struct sigaction action = {.sa_handler = counts, .sa_flags = SA_RESTART}, old;
    sigaddset(&action.sa_mask, SIGUSR2);
    EXPECT(sigaction(SIGUSR1, &action, NULL) == 0);
    EXPECT(sigaction(SIGUSR1, NULL, &old) == 0);
    EXPECT(old.sa_handler == counts && (old.sa_flags & SA_RESTART));
    EXPECT(sigismember(&old.sa_mask, SIGUSR2) == 1 && sigismember(&old.sa_mask, SIGINT) == 0);
    EXPECT(signal(SIGUSR1, talks_to_itself) == counts);
    EXPECT(signal(SIGUSR1, SIG_IGN) == talks_to_itself);
    EXPECT(signal(SIGUSR1, counts) == SIG_IGN);
    EXPECT(signal(SIGUSR1, SIG_DFL) == counts);
    EXPECT(sigaction(SIGUSR1, NULL, &old) == 0 && old.sa_handler == SIG_DFL);
    on(SIGUSR1, counts, SA_RESETHAND);
    EXPECT(raise(SIGUSR1) == 0 && count == 1);
    EXPECT(sigaction(SIGUSR1, NULL, &old) == 0 && old.sa_handler == SIG_DFL);
    for (int signal = 1; signal <= 64; signal++)
        if (sigaction(signal, NULL, &old) == 0)
            EXPECT(old.sa_handler == SIG_DFL || old.sa_handler == SIG_IGN);
        else
            printf("%d: %s\n", signal, strerrorname_np(errno));
}

static void notes(int signal, siginfo_t *info, void *context)
{
    EXPECT(info->si_signo == signal && context);
}

/* Several at once: the call ends before the first of the handlers, and once. */
static void several_at_once(void)
{
    static const int signals[] = {SIGUSR1, SIGUSR2, SIGURG};
    char byte;
    EXPECT(pipe(pipe_ends) == 0);
    pid_t target = getpid();
    for (int i = 0; i < 20; i++) {
        for (int s = 0; s < 3; s++) {
            struct sigaction action = {.sa_sigaction = notes, .sa_flags = SA_SIGINFO};
            sigaction(signals[s], &action, NULL);
        }
        pid_t child = fork();
        while (child == 0) {
            usleep(5000);
            for (int s = 0; s < 3; s++)
                kill(target, signals[s]);
        }
        EXPECT(read(pipe_ends[0], &byte, 1) == -1 && errno == EINTR);
        kill(child, SIGKILL);
        while (waitpid(child, NULL, 0) == -1)
            EXPECT(errno == EINTR);
    }
}

static void *kills_main(void *thread)
{
    for (int i = 0; i < 300; i++) {
        pthread_kill(*(pthread_t *)thread, SIGUSR1);
        usleep(200 + i % 7 * 30);
    }
    return NULL;
}

/* Many signals into many calls: each byte arrives once and in order, whatever is interrupted. */
static void storm(int flags)
{
    pthread_t self = pthread_self(), killer;
    on(SIGUSR1, counts, flags);
    EXPECT(pipe(pipe_ends) == 0);
    pid_t child = fork();
    if (child == 0) {
        for (int i = 0; i < 400; i++) {
            char byte = (char)i;
            usleep(i % 5 * 40);
            write(pipe_ends[1], &byte, 1);
        }
        _exit(0);
    }
    pthread_create(&killer, NULL, kills_main, &self);
    int errors = 0;
    for (int i = 0; i < 400;) {
        char byte = 0;
        ssize_t size = read(pipe_ends[0], &byte, 1);
        if (size == 1)
            EXPECT(byte == (char)i++);
        else if (size != -1 || errno != EINTR || (flags & SA_RESTART))
            errors++;
    }
    pthread_join(killer, NULL);
    int status;
    while (waitpid(child, &status, 0) == -1 && errno == EINTR)
        ;
    EXPECT(errors == 0 && count > 0); /* those that come too fast become one */
}

static void storm_restarted(void)
{
    storm(SA_RESTART);
}

static void storm_interrupted(void)
{
    storm(0);
}

const struct feature features[] = {
    {"handler-goes-first", handler_goes_first},
    {"fork-in-handler", fork_in_handler},
    {"read-back", read_back},
    {"several-at-once", several_at_once},
    {"storm-restarted", storm_restarted},
    {"storm-interrupted", storm_interrupted},
    {NULL, NULL},
};
