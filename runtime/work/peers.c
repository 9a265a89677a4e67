/* SPDX-License-Identifier: MIT
 *
 * memsc-peers: the same two calls as memsc's, handed to another CPU by what Linux offers today.
 *
 *   memsc-peers PEER null|read CALLS HERE THERE FILE
 *
 * `null` is getppid (a NOP under io_uring, which has no cheaper request), `read` is 4 KiB of a file
 * in memory, FILE's neighbour. The caller runs on CPU HERE, who executes on THERE. FILE gets one
 * interval per call in cycles, taken by the caller, as memsc-work does.
 *
 *   eventfd, pipe, futex   a thread sleeps until told, executes, tells
 *   signal                 the same as eventfd by real-time signals
 *   same-cpu               eventfd, with both threads on HERE: no interrupt, two switches
 *   seccomp, seccomp-sync  user notification, without and with the hint that the waker waits
 *   uring                  io_uring, its kernel thread polling on THERE (SQPOLL)
 *
 * Exit status 77: this machine has no such peer; the reason is on stderr.
 */
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef MEMSC_LIBURING
#include <liburing.h>
#endif

#include "common.h"
#include "cpu.h"

enum { UNAVAILABLE = 77, BLOCK = 4096 };

static struct {
    bool read;
    int file, here, there;
    char block[BLOCK];
} work;

static _Noreturn void unavailable(const char *why)
{
    fprintf(stderr, "memsc-peers: %s\n", why);
    exit(UNAVAILABLE);
}

static void execute(void)
{
    long result =
        work.read ? syscall(SYS_pread64, work.file, work.block, BLOCK, 0) : syscall(SYS_getppid);
    if (work.read && result != BLOCK)
        fail("read", errno);
}

/* ---- two threads, and a way to tell each other ---- */

struct way {
    void (*tell_server)(void), (*wait_server)(void); /* the caller's side */
    void (*tell_caller)(void), (*wait_caller)(void); /* the server's side */
};

static int request[2], reply[2]; /* descriptors to read from and to write to */

static void put(int fd)
{
    uint64_t one = 1;
    if (write(fd, &one, sizeof one) != sizeof one)
        fail("write", errno);
}

static void take(int fd)
{
    uint64_t got;
    if (read(fd, &got, sizeof got) != sizeof got)
        fail("read", errno);
}

static void put_request(void)
{
    put(request[1]);
}
static void take_reply(void)
{
    take(reply[0]);
}
static void put_reply(void)
{
    put(reply[1]);
}
static void take_request(void)
{
    take(request[0]);
}

/* A word that counts: 0 nothing to do, 1 requested; and back. */
static alignas(64) _Atomic uint32_t word;

static void wake(uint32_t value)
{
    /* Release: what the other side is to find, before the word that says it is there. */
    atomic_store_explicit(&word, value, memory_order_release);
    syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void sleep_while(uint32_t value)
{
    while (atomic_load_explicit(&word, memory_order_acquire) == value)
        syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void futex_request(void)
{
    wake(1);
}
static void futex_reply(void)
{
    wake(0);
}
static void futex_await_request(void)
{
    sleep_while(0);
}
static void futex_await_reply(void)
{
    sleep_while(1);
}

static _Atomic pid_t caller_tid, server_tid;

static void signal_to(pid_t tid)
{
    if (syscall(SYS_tgkill, getpid(), tid, SIGRTMIN))
        fail("signal", errno);
}

static void await_signal(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    while (sigwaitinfo(&set, NULL) < 0)
        if (errno != EINTR)
            fail("signal", errno);
}

static void signal_server(void)
{
    signal_to(atomic_load(&server_tid));
}
static void signal_caller(void)
{
    signal_to(atomic_load(&caller_tid));
}

static const struct way BY_DESCRIPTOR = {put_request, take_reply, put_reply, take_request};
static const struct way BY_FUTEX = {futex_request, futex_await_reply, futex_reply,
                                    futex_await_request};
static const struct way BY_SIGNAL = {signal_server, await_signal, signal_caller, await_signal};

static void *serve(void *way)
{
    const struct way *by = way;
    pin(work.there);
    atomic_store(&server_tid, (pid_t)syscall(SYS_gettid));
    for (;;) {
        by->wait_caller();
        execute();
        by->tell_caller();
    }
    return NULL;
}

static void by_threads(const struct way *by, uint64_t *array, size_t calls)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    atomic_store(&caller_tid, (pid_t)syscall(SYS_gettid));
    pthread_t thread;
    int error = pthread_create(&thread, NULL, serve, (void *)(uintptr_t)by);
    if (error)
        fail("thread", error);
    pin(work.here);
    while (!atomic_load(&server_tid))
        sched_yield();
    for (size_t i = 0; i < WARM_UP / 10 + calls; i++) {
        uint64_t since = memsc_cycles();
        by->tell_server();
        by->wait_server();
        uint64_t took = memsc_cycles() - since;
        if (i >= WARM_UP / 10)
            array[i - WARM_UP / 10] = took;
    }
}

static void descriptors(bool pipes)
{
    if (pipes) {
        if (pipe(request) || pipe(reply))
            fail("pipe", errno);
        return;
    }
    request[0] = request[1] = eventfd(0, 0);
    reply[0] = reply[1] = eventfd(0, 0);
    if (request[0] < 0 || reply[0] < 0)
        fail("eventfd", errno);
}

/* ---- seccomp: the caller makes the call, and another process answers it ---- */

#ifndef SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1UL << 0)
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS _IOW('!', 4, uint64_t)
#endif

static int listen_for(uint32_t number)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        fail("seccomp", errno);
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER,
                        &program);
}

static int listener;
static pid_t supervisor;

/* The filter is the calling thread's alone, so a thread without it can answer. */
static void *answer(void *sync)
{
    (void)sync;
    pin(work.there);
    atomic_store(&server_tid, (pid_t)syscall(SYS_gettid));
    take(request[0]); /* until the filter stands */
    for (;;) {
        struct seccomp_notif got = {0};
        struct seccomp_notif_resp answer = {0};
        if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &got)) {
            if (errno == EINTR || errno == ENOENT)
                continue;
            fail("seccomp", errno);
        }
        execute();
        answer.id = got.id;
        answer.val = work.read ? BLOCK : supervisor;
        if (ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer) && errno != ENOENT)
            fail("seccomp", errno);
    }
    return NULL;
}

static void by_seccomp(bool sync, uint64_t *array, size_t calls)
{
    descriptors(false);
    supervisor = getppid();
    pthread_t thread;
    int error = pthread_create(&thread, NULL, answer, NULL);
    if (error)
        fail("thread", error);
    pin(work.here);
    while (!atomic_load(&server_tid))
        sched_yield();
    listener = listen_for(SYS_getpgid);
    if (listener < 0)
        unavailable("seccomp: no user notification; use Linux 5.0 or newer, outside a sandbox");
    if (sync && ioctl(listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP))
        unavailable("seccomp: no synchronous wake-up; use Linux 6.6 or newer");
    put(request[1]);
    for (size_t i = 0; i < WARM_UP / 10 + calls; i++) {
        uint64_t since = memsc_cycles();
        syscall(SYS_getpgid); /* stands for the call: the server itself makes the real one */
        uint64_t took = memsc_cycles() - since;
        if (i >= WARM_UP / 10)
            array[i - WARM_UP / 10] = took;
    }
}

/* ---- io_uring ---- */

#ifdef MEMSC_LIBURING
static void by_uring(uint64_t *array, size_t calls)
{
    struct io_uring ring;
    struct io_uring_params params = {
        .flags = IORING_SETUP_SQPOLL | IORING_SETUP_SQ_AFF,
        .sq_thread_cpu = (uint32_t)work.there,
        .sq_thread_idle = 1000,
    };
    int error = io_uring_queue_init_params(64, &ring, &params);
    if (error == -ENOSYS || error == -EPERM)
        unavailable("io_uring is switched off (sysctl kernel.io_uring_disabled) or not there");
    if (error)
        fail("io_uring", -error);
    pin(work.here);
    for (size_t i = 0; i < WARM_UP + calls; i++) {
        uint64_t since = memsc_cycles();
        struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
        if (work.read)
            io_uring_prep_read(sqe, work.file, work.block, BLOCK, 0);
        else
            io_uring_prep_nop(sqe);
        io_uring_submit(&ring); /* enters the kernel only if the polling thread sleeps */
        struct io_uring_cqe *cqe;
        while (io_uring_peek_cqe(&ring, &cqe))
            memsc_pause();
        int result = cqe->res;
        io_uring_cqe_seen(&ring, cqe);
        uint64_t took = memsc_cycles() - since;
        if (result != (work.read ? BLOCK : 0))
            fail("io_uring", result < 0 ? -result : EIO);
        if (i >= WARM_UP)
            array[i - WARM_UP] = took;
    }
    io_uring_queue_exit(&ring);
}
#else
static void by_uring(uint64_t *array, size_t calls)
{
    (void)array, (void)calls;
    unavailable("built without liburing; install Debian's liburing-dev, then run make setup");
}
#endif

/* ---- the command line ---- */

static void open_block(const char *beside)
{
    char *path;
    if (asprintf(&path, "%s.block", beside) < 0)
        fail("memory", ENOMEM);
    work.file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (work.file < 0 || unlink(path) || pwrite(work.file, work.block, BLOCK, 0) != BLOCK)
        fail(path, errno);
    free(path);
}

int main(int argc, char **argv)
{
    if (argc != 7 || (strcmp(argv[2], "null") && strcmp(argv[2], "read"))) {
        fprintf(stderr, "usage: memsc-peers PEER null|read CALLS HERE THERE FILE\n");
        return 2;
    }
    const char *peer = argv[1], *path = argv[6];
    size_t calls = (size_t)positive(argv[3]);
    work.read = !strcmp(argv[2], "read");
    work.here = (int)positive(argv[4]);
    work.there = (int)positive(argv[5]);
    if (work.read)
        open_block(path);
    uint64_t *array = intervals(calls);
    if (!strcmp(peer, "uring"))
        by_uring(array, calls);
    else if (!strcmp(peer, "seccomp") || !strcmp(peer, "seccomp-sync"))
        by_seccomp(strlen(peer) > strlen("seccomp"), array, calls);
    else if (!strcmp(peer, "futex"))
        by_threads(&BY_FUTEX, array, calls);
    else if (!strcmp(peer, "signal"))
        by_threads(&BY_SIGNAL, array, calls);
    else if (!strcmp(peer, "eventfd") || !strcmp(peer, "pipe") || !strcmp(peer, "same-cpu")) {
        if (!strcmp(peer, "same-cpu"))
            work.there = work.here;
        descriptors(!strcmp(peer, "pipe"));
        by_threads(&BY_DESCRIPTOR, array, calls);
    } else {
        fprintf(stderr, "memsc-peers: %s: no such peer\n", peer);
        return 2;
    }
    save(path, array, calls);
    /* The other thread waits for ever. */
    _exit(0);
}
