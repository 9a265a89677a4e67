/* SPDX-License-Identifier: MIT
 *
 * Memory that is short, or that somebody has to bring first: the caller's stack, and what calls read and write.
 */
#include "feature.h"

#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { PAGE = 4096, PAGES = 3, SPARE = 8192 /* for a handler, beyond what the kernel needs */ };

/* Few calls, and more than a process makes itself before anybody carries them. */
static int makes_calls(void)
{
    char bytes[16];
    int file = open("/dev/zero", O_RDONLY), count = 0;
    for (int i = 0; i < 100; i++)
        count += read(file, bytes, sizeof bytes) == sizeof bytes && getppid() > 0;
    return close(file) == 0 ? count : -1;
}

static void *call_on(void *result)
{
    *(int *)result = makes_calls();
    return NULL;
}

static void *execute_on(void *unused)
{
    execl("/bin/true", "true", NULL);
    return unused;
}

static void on_small_stack(void *(*body)(void *), void *argument)
{
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    EXPECT(pthread_attr_setstacksize(&attributes, (size_t)sysconf(_SC_THREAD_STACK_MIN)) == 0);
    EXPECT(pthread_create(&thread, &attributes, body, argument) == 0);
    pthread_join(thread, NULL);
}

static void small_stacks(void)
{
    for (int i = 0; i < 2; i++) {
        int result = 0;
        on_small_stack(call_on, &result);
        EXPECT(result == 100);
    }
    fflush(stdout);
    int status = -1;
    pid_t child = fork();
    if (child == 0) {
        on_small_stack(execute_on, NULL);
        _exit(1);
    }
    EXPECT(waitpid(child, &status, 0) == child && status == 0);
}

static volatile int called;

static void handler(int signal)
{
    (void)signal;
    called = makes_calls();
}

static void small_alternate_stack(void)
{
    size_t size = (size_t)sysconf(_SC_MINSIGSTKSZ) + SPARE;
    size_t room = (size + PAGE - 1) / PAGE * PAGE;
    char *pages = mmap(NULL, room + PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(mprotect(pages + PAGE, room, PROT_READ | PROT_WRITE) == 0);
    stack_t stack = {.ss_sp = pages + PAGE, .ss_size = size}; /* behind the page that ends it */
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
    EXPECT(sigaltstack(&stack, NULL) == 0 && sigaction(SIGUSR1, &action, NULL) == 0);
    raise(SIGUSR1);
    EXPECT(called == 100);
    raise(SIGUSR1);
    EXPECT(called == 100);
}

static int faults;

/* Brings each page, with calls of its own, while another call waits inside the kernel for it. */
static void *bring_pages(void *unused)
{
    static char page[PAGE];
    for (int i = 0; i < PAGES; i++) {
        struct uffd_msg message;
        struct pollfd readable = {faults, POLLIN, 0};
        EXPECT(poll(&readable, 1, 10000) == 1);
        EXPECT(read(faults, &message, sizeof message) == sizeof message);
        EXPECT(makes_calls() == 100);
        memset(page, 'a' + i, sizeof page);
        uint64_t address = message.arg.pagefault.address / PAGE * PAGE;
        struct uffdio_copy copy = {.dst = address, .src = (uintptr_t)page, .len = PAGE};
        EXPECT(ioctl(faults, UFFDIO_COPY, &copy) == 0);
    }
    return unused;
}

static void pages_of_its_own(void)
{
    struct uffdio_api api = {.api = UFFD_API};
    faults = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
    if (faults < 0) /* not for everybody, nor in every container */
        return;
    char *pages =
        mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct uffdio_register range = {.range = {(uintptr_t)pages, PAGES * PAGE},
                                    .mode = UFFDIO_REGISTER_MODE_MISSING};
    EXPECT(ioctl(faults, UFFDIO_API, &api) == 0 && ioctl(faults, UFFDIO_REGISTER, &range) == 0);
    pthread_t thread;
    int ends[2], zero = open("/dev/zero", O_RDONLY);
    EXPECT(makes_calls() == 100 && pipe(ends) == 0);
    EXPECT(pthread_create(&thread, NULL, bring_pages, NULL) == 0);
    EXPECT(read(zero, pages + 100, 10) == 10 && pages[0] == 'a' && pages[100] == 0);
    EXPECT(write(ends[1], pages + PAGE, 1) == 1);
    EXPECT(read(ends[0], pages + 2 * PAGE, 1) == 1 && pages[2 * PAGE] == 'b');
    EXPECT(pages[2 * PAGE + 1] == 'c');
    pthread_join(thread, NULL);
}

const struct feature features[] = {
    {"small-stacks", small_stacks},
    {"small-alternate-stack", small_alternate_stack},
    {"pages-of-its-own", pages_of_its_own},
    {NULL, NULL},
};
