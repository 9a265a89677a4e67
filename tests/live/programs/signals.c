/* SPDX-License-Identifier: MIT
 *
 * Signals and the calls they meet.
 */
#include "signalling.h"

#include <fcntl.h>
#include <setjmp.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>

static volatile sig_atomic_t count;
static int pipe_ends[2];
static sigjmp_buf back;

static void counts(int signal)
{
    (void)signal;
    count++;
}

static void broken_pipe(void)
{
    struct iovec part = {"x", 1};
    on(SIGPIPE, counts, 0);
    EXPECT(pipe(pipe_ends) == 0);
    close(pipe_ends[0]);
    EXPECT(write(pipe_ends[1], "x", 1) == -1 && errno == EPIPE && count == 1);
    EXPECT(writev(pipe_ends[1], &part, 1) == -1 && errno == EPIPE && count == 2);

    int pair[2];
    EXPECT(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    close(pair[0]);
    EXPECT(send(pair[1], "x", 1, 0) == -1 && errno == EPIPE && count == 3);
    EXPECT(send(pair[1], "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE && count == 3);

    on(SIGPIPE, SIG_IGN, 0);
    EXPECT(write(pipe_ends[1], "x", 1) == -1 && errno == EPIPE && count == 3);
}

static void broken_pipe_kills(void)
{
    EXPECT(pipe(pipe_ends) == 0);
    close(pipe_ends[0]);
    fflush(stdout);
    write(pipe_ends[1], "x", 1);
    puts("still alive");
}

static void interrupted(void)
{
    char byte;
    on(SIGALRM, counts, 0);
    EXPECT(pipe(pipe_ends) == 0);
    tick(50000);
    EXPECT(read(pipe_ends[0], &byte, 1) == -1 && errno == EINTR && count > 0);
    int before = count;
    EXPECT(usleep(60000000) == -1 && errno == EINTR && count > before);
    tick(0);
}

static void writes_then(int signal)
{
    (void)signal;
    if (++count == 3)
        write(pipe_ends[1], "r", 1);
    else
        tick_once(20000);
}

static void restarted(void)
{
    char byte = 0;
    on(SIGALRM, writes_then, SA_RESTART);
    EXPECT(pipe(pipe_ends) == 0);
    tick_once(20000);
    EXPECT(read(pipe_ends[0], &byte, 1) == 1 && byte == 'r' && count == 3);
}

static void calls_itself(int signal)
{
    (void)signal;
    int saved = errno, fd = open("/dev/null", O_WRONLY);
    if (fd >= 0 && write(fd, "x", 1) == 1 && getppid() > 0 && close(fd) == 0)
        count++;
    else
        _exit(9);
    if (count < 100)
        tick_once(100); /* and not periodically: where calls are slow nothing else would run */
    errno = saved;
}

static void work_under(int rounds)
{
    char text[64], got[64];
    FILE *file = tmpfile();
    int fd = fileno(file), parent = getppid();
    for (int i = 0; i < rounds; i++) {
        int size = snprintf(text, sizeof text, "round %d", i);
        EXPECT(pwrite(fd, text, (size_t)size, i % 1000) == size);
        EXPECT(pread(fd, got, (size_t)size, i % 1000) == size);
        EXPECT(memcmp(text, got, (size_t)size) == 0);
        EXPECT(getppid() == parent);
        EXPECT(open("/nonexistent", O_RDONLY) == -1 && errno == ENOENT);
    }
    fclose(file);
}

static void handler_calls(void)
{
    on(SIGALRM, calls_itself, SA_RESTART);
    tick_once(100);
    do
        work_under(500);
    while (count < 100);
}

static void own_stack(void)
{
    size_t size = 64 * 1024;
    stack_t stack = {
        .ss_size = size,
        .ss_sp = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)};
    EXPECT(sigaltstack(&stack, NULL) == 0);
    on(SIGALRM, calls_itself, SA_RESTART | SA_ONSTACK);
    tick_once(100);
    do
        work_under(500);
    while (count < 100);
}

static void jumps(int signal)
{
    (void)signal;
    count++;
    siglongjmp(back, 1);
}

static void jump_out_of_wait(void)
{
    char byte;
    on(SIGALRM, jumps, SA_RESTART);
    EXPECT(pipe(pipe_ends) == 0);
    for (volatile int i = 0; i < 20; i++)
        if (sigsetjmp(back, 1) == 0) {
            tick_once(2000);
            read(pipe_ends[0], &byte, 1);
            puts("read returned");
        }
    EXPECT(count == 20);
    EXPECT(write(pipe_ends[1], "z", 1) == 1);
    EXPECT(read(pipe_ends[0], &byte, 1) == 1 && byte == 'z');
}

static void jump_out_of_calls(void)
{
    on(SIGALRM, jumps, 0);
    int parent = getppid(), zero = open("/dev/zero", O_RDONLY);
    for (volatile int i = 0; i < 200; i++)
        if (sigsetjmp(back, 1) == 0) {
            char bytes[64];
            tick_once(100 + i * 7 % 300);
            for (;;) {
                EXPECT(getppid() == parent);
                EXPECT(read(zero, bytes, sizeof bytes) == sizeof bytes);
            }
        }
    EXPECT(count == 200);
    close(zero);
    work_under(100);
}

static void aborts(void)
{
    fflush(stdout);
    abort();
}

const struct feature features[] = {
    {"broken-pipe", broken_pipe},
    {"broken-pipe-kills", broken_pipe_kills},
    {"interrupted", interrupted},
    {"restarted", restarted},
    {"handler-calls", handler_calls},
    {"own-stack", own_stack},
    {"jump-out-of-wait", jump_out_of_wait},
    {"jump-out-of-calls", jump_out_of_calls},
    {"aborts", aborts},
    {NULL, NULL},
};
