/* SPDX-License-Identifier: MIT
 *
 * What newer kernels, processors and C libraries bring: where one is not there, "needs" says so.
 */
#include "processor.h"
#include "tasks.h"

#include <dlfcn.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <sys/time.h>

/* ---- restartable sequences ---- */

#define RSEQ_BUSY_AGAIN(area) syscall(SYS_rseq, area, 32, 0, RSEQ_SIG)

static struct rseq *own_area(void)
{
    return (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);
}

/* The kernel writes there where the thread runs; it may move while it is asked. */
static void area_is_kept(void)
{
    int tries = 0;
    work();
    while (tries < 1000 && own_area()->cpu_id != (uint32_t)sched_getcpu())
        tries++;
    EXPECT(tries < 1000);
    EXPECT(RSEQ_BUSY_AGAIN(own_area()) == -1 && errno == EBUSY);
}

static void calls(int number)
{
    (void)number;
    work();
}

/* A sequence that ends only by being interrupted: true when it went on where it is to be begun anew. */
static bool is_restarted(void)
{
    static struct {
        uint32_t version, flags;
        uint64_t start, length, anew;
    } sequence __attribute__((aligned(32)));
    struct itimerval soon = {.it_value = {.tv_usec = 1000}};
    int restarted = 0;
    EXPECT(signal(SIGALRM, calls) != SIG_ERR && setitimer(ITIMER_REAL, &soon, NULL) == 0);
    ENDLESS_SEQUENCE(sequence, own_area(), restarted);
    return restarted;
}

static void *restartable_there(void *unused)
{
    area_is_kept();
    return unused;
}

static void restartable(void)
{
    if (__rseq_size == 0) {
        puts("needs restartable sequences, Linux 4.18 and glibc.pthread.rseq=1");
        return;
    }
    area_is_kept();
    in_thread(restartable_there, NULL);
    for (int i = 0; i < 5; i++)
        EXPECT(is_restarted());
    pid_t child = fork();
    if (child == 0) {
        area_is_kept();
        EXPECT(is_restarted());
        fflush(stdout);
        _exit(0);
    }
    EXPECT(ended(child) == 0);
}

/* ---- random numbers without a call ---- */

typedef ssize_t random_call(void *to, size_t size, unsigned int flags, void *state,
                            size_t state_size);
static random_call *vdso_random;

struct random_state {
    uint32_t size, protection, flags, reserved[13];
};

static void *random_state(size_t *size)
{
    struct random_state kind;
    EXPECT(vdso_random(NULL, 0, 0, &kind, ~0ul) == 0);
    *size = kind.size;
    return mmap(NULL, 4096, kind.protection, kind.flags, -1, 0);
}

static void *random_there(void *seen)
{
    size_t size;
    void *state = random_state(&size);
    unsigned char numbers[3][32];
    EXPECT(state != MAP_FAILED);
    for (int i = 0; i < 3; i++) {
        EXPECT(vdso_random(numbers[i], 32, 0, state, size) == 32);
        work();
    }
    EXPECT(memcmp(numbers[0], numbers[1], 32) != 0 && memcmp(numbers[1], numbers[2], 32) != 0);
    /* A child does not go on where its parent was. */
    unsigned char *others =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t child = fork();
    if (child == 0)
        _exit(vdso_random(others, 32, 0, state, size) != 32);
    EXPECT(ended(child) == 0);
    EXPECT(vdso_random(numbers[0], 32, 0, state, size) == 32);
    EXPECT(memcmp(numbers[0], others, 32) != 0);
    memcpy(seen, numbers[0], 32);
    return NULL;
}

static void random_without_call(void)
{
    unsigned char here[32], there[32], called[32];
    void *vdso = dlopen("linux-vdso.so.1", RTLD_LAZY | RTLD_NOLOAD);
    vdso_random = vdso ? (random_call *)dlsym(vdso, "__vdso_getrandom") : NULL;
    EXPECT(getrandom(called, 32, 0) == 32); /* glibc 2.41 takes the vDSO's */
    if (!vdso_random) {
        puts("needs the vDSO's getrandom, Linux 6.11");
        return;
    }
    random_there(here);
    in_thread(random_there, there);
    EXPECT(memcmp(here, there, 32) != 0 && memcmp(here, called, 32) != 0);
}

/* ---- shadow stacks ---- */

/* Returns from no frame that was there before: there its stack would be empty. */
static void shadowed(void)
{
#ifdef SYS_arch_prctl
    enum { ENABLE = 0x5001, SHADOW_STACK = 1 };
    if (bare(SYS_arch_prctl, ENABLE, SHADOW_STACK, 0, 0) != 0)
#endif
        _exit(77);
    work();
    if (signal(SIGUSR1, calls) == SIG_ERR || raise(SIGUSR1) != 0)
        _exit(1);
    pid_t child = fork();
    if (child == 0) {
        work();
        _exit(3);
    }
    _exit(ended(child) != 3);
}

static void shadow_stack(void)
{
    work();
    pid_t child = fork();
    if (child == 0)
        shadowed();
    int status = ended(child);
    if (status == 77)
        puts("needs shadow stacks: a processor with them, and Linux 6.6 with "
             "CONFIG_X86_USER_SHADOW_STACK");
    else
        EXPECT(status == 0);
}

/* ---- indirect branches ---- */

static void branches_anywhere(void)
{
    _exit(branch_unmarked() ? 0 : 9);
}

static void indirect_branches(void)
{
    static void (*volatile pointed)(void) = work;
    pointed();
    in_thread(works, NULL);
    EXPECT(signal(SIGUSR1, calls) != SIG_ERR && raise(SIGUSR1) == 0);
    pid_t child = fork();
    if (child == 0)
        branches_anywhere();
    int status = ended(child);
    if (status == 0)
        puts("needs a processor and a kernel that check indirect branches (IBT, BTI)");
    else
        EXPECT(status == -SIGSEGV || status == -SIGILL);
}

/* ---- sealed memory ---- */

static long seal(void *from, void *to)
{
    enum { NUMBER = 462 };
    return syscall(NUMBER, from, (char *)to - (char *)from, 0);
}

/* All text, as a C library that its loader seals. */
static void sealed(void)
{
    char line[512];
    void *from, *to, *last = NULL;
    int count = 0;
    work();
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && fgets(line, sizeof line, maps)) {
        if (!strstr(line, " r-xp ") || !strstr(line, "/lib") ||
            sscanf(line, "%p-%p", &from, &to) != 2)
            continue;
        if (seal(from, to) != 0) {
            EXPECT(errno == ENOSYS);
            puts("needs mseal, Linux 6.10");
            return;
        }
        count++;
        last = from;
    }
    EXPECT(maps && fclose(maps) == 0 && count > 0);
    EXPECT(mprotect(last, 4096, PROT_READ | PROT_EXEC | PROT_WRITE) == -1 && errno == EPERM);
    EXPECT(munmap(last, 4096) == -1 && errno == EPERM);
    work();
    in_thread(works, NULL);
    pid_t child = fork();
    if (child == 0) {
        work();
        execl("/bin/true", "true", NULL);
        _exit(9);
    }
    EXPECT(ended(child) == 0);
}

const struct feature features[] = {
    {"restartable", restartable},
    {"random-without-call", random_without_call},
    {"shadow-stack", shadow_stack},
    {"indirect-branches", indirect_branches},
    {"sealed", sealed},
    {NULL, NULL},
};
