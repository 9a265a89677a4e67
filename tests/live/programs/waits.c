/* SPDX-License-Identifier: MIT
 *
 * Calls that wait, and what ends them early.
 */
#include "signalling.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

static volatile sig_atomic_t count;
static int pipe_ends[2], full[2], pair[2], listener, epoll, queue, semaphore;
static char fifo[] = "/tmp/waits-XXXXXX";

/* ---- one way to wait each: every one ends within a second or two by itself, or never ---- */

static long reads(void)
{
    char byte;
    return read(pipe_ends[0], &byte, 1);
}

static long writes(void)
{
    return write(full[1], "x", 1);
}

static long accepts(void)
{
    return accept(listener, NULL, NULL);
}

static long receives(void)
{
    char byte;
    return recv(pair[0], &byte, 1, 0);
}

static long receives_in_time(void)
{
    struct timeval limit = {60, 0}, none = {0, 0};
    char byte;
    setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    long result = recv(pair[0], &byte, 1, 0);
    int error = errno;
    setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &none, sizeof none);
    errno = error;
    return result;
}

static long polls(void)
{
    struct pollfd one = {pipe_ends[0], POLLIN, 0};
    return poll(&one, 1, -1);
}

static long selects(void)
{
    fd_set set;
    FD_ZERO(&set);
    FD_SET(pipe_ends[0], &set);
    return select(pipe_ends[0] + 1, &set, NULL, NULL, NULL);
}

static long waits_for_events(void)
{
    struct epoll_event event;
    return epoll_wait(epoll, &event, 1, -1);
}

static long sleeps(void)
{
    return nanosleep(&(struct timespec){60, 0}, NULL);
}

static long waits_for_child(void)
{
    pid_t child = fork();
    if (child == 0) {
        pause();
        _exit(0);
    }
    long result = waitpid(child, NULL, 0);
    int error = errno;
    kill(child, SIGKILL);
    while (waitpid(child, NULL, 0) == -1 && errno == EINTR)
        ;
    errno = error;
    return result == child ? 1 : result;
}

static long locks(void)
{
    int other = open(fifo, O_RDONLY);
    long result = flock(other, LOCK_EX);
    int error = errno;
    close(other);
    errno = error;
    return result;
}

static long takes_message(void)
{
    struct {
        long type;
        char text[8];
    } message;
    return msgrcv(queue, &message, sizeof message.text, 0, 0);
}

static long takes_semaphore(void)
{
    struct sembuf take = {0, -1, 0};
    return semop(semaphore, &take, 1);
}

static long opens_fifo(void)
{
    char path[64];
    snprintf(path, sizeof path, "%s.fifo", fifo);
    mkfifo(path, 0600);
    long result = open(path, O_WRONLY);
    int error = errno;
    unlink(path);
    errno = error;
    return result;
}

static const struct {
    const char *name;
    long (*wait)(void);
} ways[] = {
    {"read", reads},
    {"write", writes},
    {"accept", accepts},
    {"recv", receives},
    {"recv in time", receives_in_time},
    {"poll", polls},
    {"select", selects},
    {"epoll_wait", waits_for_events},
    {"nanosleep", sleeps},
    {"waitpid", waits_for_child},
    {"flock", locks},
    {"msgrcv", takes_message},
    {"semop", takes_semaphore},
    {"open", opens_fifo},
};
enum { WAYS = sizeof ways / sizeof ways[0] };

static void set_up(void)
{
    static char block[65536];
    EXPECT(pipe(pipe_ends) == 0 && pipe(full) == 0);
    EXPECT(write(full[1], block, sizeof block) == sizeof block);
    EXPECT(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    listener = socket(AF_UNIX, SOCK_STREAM, 0);
    EXPECT(bind(listener, (struct sockaddr *)&name, sizeof(sa_family_t)) == 0);
    EXPECT(listen(listener, 1) == 0);
    epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN};
    EXPECT(epoll_ctl(epoll, EPOLL_CTL_ADD, pipe_ends[0], &event) == 0);
    queue = msgget(IPC_PRIVATE, 0600);
    semaphore = semget(IPC_PRIVATE, 1, 0600);
    EXPECT(queue >= 0 && semaphore >= 0);
    int file = mkstemp(fifo);
    EXPECT(file >= 0 && flock(file, LOCK_EX) == 0);
}

static void tear_down(void)
{
    msgctl(queue, IPC_RMID, NULL);
    semctl(semaphore, 0, IPC_RMID);
    unlink(fifo);
}

static void counts(int signal)
{
    (void)signal;
    count++;
}

enum { RESTARTS = 8, TICK_US = 15000 }; /* long together: a busy machine must not seem to restart */

/* What restarts goes on until a signal comes that ends it. */
static void restarts(int signal)
{
    (void)signal;
    if (++count == RESTARTS)
        on(SIGALRM, counts, 0);
}

static void each_way(void (*handler)(int), int flags)
{
    set_up();
    for (size_t i = 0; i < WAYS; i++) {
        count = 0;
        on(SIGALRM, handler, flags);
        tick(TICK_US);
        long result = ways[i].wait();
        int error = errno;
        tick(0);
        printf("%s: %ld %s%s\n", ways[i].name, result, result < 0 ? strerrorname_np(error) : "",
               handler == restarts && count > RESTARTS ? ", restarted" : "");
    }
    tear_down();
}

static void interrupted_everywhere(void)
{
    each_way(counts, 0);
}

static void restarted_everywhere(void)
{
    each_way(restarts, SA_RESTART);
}

/* ---- what a call has done already ---- */

static void partial_write(void)
{
    static char block[300000], got[65536];
    EXPECT(pipe(pipe_ends) == 0);
    on(SIGALRM, counts, SA_RESTART);
    tick(20000);
    printf("%zd\n", write(pipe_ends[1], block, sizeof block));
    EXPECT(read(pipe_ends[0], got, sizeof got) == sizeof got);
    on(SIGALRM, counts, 0);
    EXPECT(write(pipe_ends[1], block, 40000) == 40000);
    printf("%zd\n", write(pipe_ends[1], block, sizeof block));
    EXPECT(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    EXPECT(write(pair[1], block, 1000) == 1000);
    on(SIGALRM, counts, SA_RESTART);
    printf("%zd\n", recv(pair[0], got, 2000, MSG_WAITALL));
}

/* Of a minute, some is left and some is gone; how much of it a busy machine decides. */
static int is_left(long seconds, long fraction)
{
    return seconds > 0 && seconds < 60 && fraction > 0;
}

static void remaining_time(void)
{
    struct timespec time = {60, 0}, left = {0, 0};
    on(SIGALRM, counts, SA_RESTART);
    tick(50000);
    EXPECT(nanosleep(&time, &left) == -1 && errno == EINTR && is_left(left.tv_sec, left.tv_nsec));
    left = (struct timespec){0, 0};
    EXPECT(clock_nanosleep(CLOCK_MONOTONIC, 0, &time, &left) == EINTR &&
           is_left(left.tv_sec, left.tv_nsec));
    struct timeval some = {60, 0};
    EXPECT(select(0, NULL, NULL, NULL, &some) == -1 && errno == EINTR &&
           is_left(some.tv_sec, some.tv_usec));
}

/* ---- stop and continue ---- */

static void stopped(void)
{
    int ready[2], result[2];
    EXPECT(pipe(ready) == 0 && pipe(result) == 0);
    pid_t child = fork();
    if (child == 0) {
        char byte;
        set_up();
        struct epoll_event event;
        write(ready[1], "r", 1);
        EXPECT(read(full[0], &byte, 1) == 1); /* at once */
        EXPECT(nanosleep(&(struct timespec){0, 300000000}, NULL) == 0);
        write(ready[1], "r", 1);
        printf("epoll_wait %d\n", epoll_wait(epoll, &event, 1, 60000));
        printf("%s\n", strerrorname_np(errno));
        write(ready[1], "r", 1);
        EXPECT(read(pair[0], &byte, 0) == 0);
        EXPECT(poll(&(struct pollfd){result[0], POLLIN, 0}, 1, 60000) == 1);
        EXPECT(read(result[0], &byte, 1) == 1 && byte == 'e');
        tear_down();
        fflush(stdout);
        _exit(0);
    }
    char byte;
    for (int i = 0; i < 3; i++) {
        int status;
        EXPECT(read(ready[0], &byte, 1) == 1);
        usleep(100000);
        kill(child, SIGSTOP);
        EXPECT(waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status));
        usleep(50000);
        kill(child, SIGCONT);
    }
    write(result[1], "e", 1);
    EXPECT(waitpid(child, NULL, 0) == child);
}

/* ---- threads ---- */

static void *waits_for_ever(void *way)
{
    ((long (*)(void))way)();
    return NULL;
}

static void start_waiting(void)
{
    pthread_t thread;
    set_up();
    tear_down(); /* the names; what is waited for stays */
    for (size_t i = 0; i < WAYS; i++)
        if (ways[i].wait != waits_for_child && ways[i].wait != locks && ways[i].wait != opens_fifo)
            pthread_create(&thread, NULL, waits_for_ever, (void *)ways[i].wait);
    usleep(20000);
}

static void exits_while_others_wait(void)
{
    start_waiting();
    puts("exits");
    fflush(stdout);
    exit(5);
}

static void executes_while_others_wait(void)
{
    start_waiting();
    execlp("echo", "echo", "executed", (char *)NULL);
}

static _Atomic int waiting;

static void *reads_until_told(void *result)
{
    char byte = 0;
    waiting++;
    *(long *)result = read(pipe_ends[0], &byte, 1) == 1 && geteuid() == 65534 ? 1 : errno;
    return NULL;
}

/* The C library changes credentials by a signal to every thread, which must reach one that waits. */
static void identity_while_others_wait(void)
{
    enum { THREADS = 4 };
    pthread_t thread[THREADS];
    long result[THREADS] = {0};
    if (geteuid() != 0)
        return;
    EXPECT(pipe(pipe_ends) == 0);
    for (int i = 0; i < THREADS; i++)
        pthread_create(&thread[i], NULL, reads_until_told, &result[i]);
    while (waiting < THREADS)
        usleep(100);
    usleep(5000);
    EXPECT(setresgid(65534, 65534, 65534) == 0 && setresuid(65534, 65534, 65534) == 0);
    EXPECT(write(pipe_ends[1], "abcd", 4) == 4);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(thread[i], NULL);
        EXPECT(result[i] == 1);
    }
}

const struct feature features[] = {
    {"interrupted-everywhere", interrupted_everywhere},
    {"restarted-everywhere", restarted_everywhere},
    {"partial-write", partial_write},
    {"remaining-time", remaining_time},
    {"stopped", stopped},
    {"exits-while-others-wait", exits_while_others_wait},
    {"executes-while-others-wait", executes_while_others_wait},
    {"identity-while-others-wait", identity_while_others_wait},
    {NULL, NULL},
};
