/* SPDX-License-Identifier: MIT
 *
 * One of the costs that a program would notice first: prints nanoseconds per operation, the least of its turns,
 * and where there is something to compare it with, those of that.
 *
 *   ratios ROW [SERVICE_CPU]
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PIPES = 9000, NAPPERS = 1000, TURNS = 5, READS = 20000 };

static void need(int good, const char *what)
{
    if (!good) {
        fprintf(stderr, "%s: %s\n", what, strerror(errno));
        exit(1);
    }
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static int sockets[2], zero;
static char block[16];

static void receive(void)
{
    recv(sockets[0], block, sizeof block, MSG_DONTWAIT);
}

static void receive_message(void)
{
    struct iovec part = {block, sizeof block};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    recvmsg(sockets[0], &message, MSG_DONTWAIT);
}

static void make_pipe(void)
{
    int ends[2];
    need(pipe(ends) == 0, "pipe");
    close(ends[0]);
    close(ends[1]);
}

static void read_zero(void)
{
    need(read(zero, block, sizeof block) == sizeof block, "read");
}

/* Of which the child makes one call that can be forwarded. */
static void fork_and_call(void)
{
    pid_t child = fork();
    if (child == 0) {
        getppid();
        _exit(0);
    }
    waitpid(child, NULL, 0);
}

/* The table of descriptors grows; they are closed at the end of the turn, which is timed, too. */
static void make_pipes(void)
{
    static int ends[PIPES][2];
    for (int i = 0; i < PIPES; i++)
        need(pipe(ends[i]) == 0, "pipe");
    for (int i = 0; i < PIPES; i++)
        close(ends[i][0]), close(ends[i][1]);
}

static int wake[NAPPERS], woken[2];

static void nap(int from)
{
    char byte;
    while (read(from, &byte, 1) == 1)
        need(write(woken[1], &byte, 1) == 1, "write");
    _exit(0);
}

static void start_nappers(void)
{
    need(pipe(woken) == 0, "pipe");
    for (int i = 0; i < NAPPERS; i++) {
        int ends[2];
        need(pipe2(ends, O_CLOEXEC) == 0, "pipe");
        if (fork() == 0) {
            close(ends[1]);
            for (int other = 0; other < i; other++)
                close(wake[other]);
            nap(ends[0]);
        }
        close(ends[0]);
        wake[i] = ends[1];
    }
}

static void wake_each(void)
{
    char byte = 'x';
    for (int i = 0; i < NAPPERS; i++) {
        need(write(wake[i], &byte, 1) == 1, "write");
        need(read(woken[0], &byte, 1) == 1, "read");
    }
}

static void stop_nappers(void)
{
    for (int i = 0; i < NAPPERS; i++)
        close(wake[i]);
    while (wait(NULL) > 0)
        ;
}

static void move_to(int cpu)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    need(sched_setaffinity(0, sizeof one, &one) == 0, "sched_setaffinity");
}

static void *read_on(void *cpu)
{
    move_to((int)(long)cpu);
    for (int i = 0; i < READS; i++)
        read_zero();
    return NULL;
}

/* As OpenMP and servers with a worker for each CPU place their threads. */
static void read_on_both(void)
{
    pthread_t threads[2];
    for (long cpu = 0; cpu < 2; cpu++)
        need(pthread_create(&threads[cpu], NULL, read_on, (void *)cpu) == 0, "pthread_create");
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
}

static const struct {
    const char *name;
    void (*run)(void);
    int times; /* a turn */
    double operations;
    void (*beside)(void); /* in the same process, to be compared with */
} rows[] = {
    {"recvmsg", receive_message, 5000, 1, receive},
    {"pipe", make_pipe, 2000, 1, NULL},
    {"read", read_zero, 5000, 1, NULL},
    {"pinned", read_zero, 5000, 1, NULL},
    {"fork", fork_and_call, 100, 1, NULL},
    {"pipes", make_pipes, 1, PIPES, NULL},
    {"naps", wake_each, 1, NAPPERS, NULL},
    {"both", read_on_both, 1, READS, NULL},
};

/* Nanoseconds each. */
static double timed(void (*run)(void), int times)
{
    double since = now();
    for (int i = 0; i < times; i++)
        run();
    return (now() - since) / times;
}

int main(int argc, char **argv)
{
    errno = EINVAL;
    need(argc > 1, "usage: ratios ROW [SERVICE_CPU]");
    size_t row = 0;
    while (row < sizeof rows / sizeof *rows && strcmp(rows[row].name, argv[1]))
        row++;
    need(row < sizeof rows / sizeof *rows, argv[1]);
    struct rlimit most;
    getrlimit(RLIMIT_NOFILE, &most);
    most.rlim_cur = most.rlim_max;
    setrlimit(RLIMIT_NOFILE, &most);
    if (!strcmp(argv[1], "pinned"))
        move_to(argc > 2 ? atoi(argv[2]) : 0);
    need((zero = open("/dev/zero", O_RDONLY)) >= 0, "/dev/zero");
    need(socketpair(AF_UNIX, SOCK_DGRAM, 0, sockets) == 0, "socketpair");
    if (rows[row].run == wake_each)
        start_nappers();
    double least = 1e18, compared = 1e18;
    for (int turn = 0; turn < TURNS; turn++) {
        double each = timed(rows[row].run, rows[row].times) / rows[row].operations;
        least = each < least ? each : least;
        if (rows[row].beside) {
            each = timed(rows[row].beside, rows[row].times);
            compared = each < compared ? each : compared;
        }
    }
    if (rows[row].run == wake_each)
        stop_nappers();
    if (rows[row].beside)
        printf("%.0f %.0f\n", least, compared);
    else
        printf("%.0f\n", least);
    return 0;
}
