/* SPDX-License-Identifier: MIT
 * Several processes share a service CPU: each gets its results, whatever the others do, which is to
 * be killed, to be stopped, to write nonsense into the registry, and to come and go. */
#include "check.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <time.h>

#include "registry.h"

#ifdef THREAD_SANITIZER
enum { ROUNDS = 30 };
#else
enum { ROUNDS = 120 };
#endif
enum { WORKERS = 4, THREADS = 4 };

/* Calls made by each worker, seen by all. */
static _Atomic uint64_t *made;

static unsigned seed = 1; /* the same each time; MEMSC_TEST_SEED another */

static unsigned any(unsigned below)
{
    seed = seed * 1103515245 + 12345;
    return (seed >> 16) % below;
}

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

static void one_call(int pipes[2], unsigned kind)
{
    char byte = 'x';
    switch (kind % 4) {
    case 0:
        CHECK_EQUAL(CALL(SYS_write, pipes[1], (long)&byte, 1), 1);
        CHECK_EQUAL(CALL(SYS_read, pipes[0], (long)&byte, 1), 1);
        break;
    case 1: { /* only posted, for a while: nobody spins for it */
        int index = memsc_add(SYS_getppid, NO_ARGS);
        long result;
        CHECK(index >= 0);
        while (!memsc_ready(index))
            pause_ms(1);
        CHECK_EQUAL(memsc_retval(index, &result), 0);
        CHECK_EQUAL(result, getppid());
        break;
    }
    default:
        CHECK_EQUAL(call(SYS_getppid, NO_ARGS), getppid());
    }
}

static struct memsc_options worker_options;

static _Noreturn void work(int number, unsigned with)
{
    int pipes[2];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    CHECK_EQUAL(pipe(pipes), 0);
    struct memsc_options options = worker_options;
    if (options.service_mode > MEMSC_SCANNER)
        options.service_mode = with % 2; /* mixed */
    CHECK_EQUAL(memsc_start(&options), 0);
    CHECK_EQUAL(memsc_register(), 0);
    for (unsigned i = with;; i++) {
        one_call(pipes, i % 64 ? 2 : i / 64);
        atomic_fetch_add(&made[number], 1);
        if (i % 2048 == 0)
            pause_ms(with % 3); /* long enough to park, or not */
    }
}

static pid_t start_worker(int number)
{
    unsigned with = any(1 << 15);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0)
        work(number, with);
    return pid;
}

/* Returns when all, or all but one, have made calls since: a call that hangs keeps it for ever. */
static void all_go_on(int but)
{
    uint64_t before[WORKERS];
    for (int i = 0; i < WORKERS; i++)
        before[i] = atomic_load(&made[i]);
    for (int i = 0; i < WORKERS; i++)
        while (i != but && atomic_load(&made[i]) < before[i] + 3)
            pause_ms(1);
}

static struct memsc_registry *registry_of_cpu_0(int *id)
{
    *id = shmget((key_t)memsc_registry_key_of(geteuid(), 0, 0), sizeof(struct memsc_registry), 0);
    struct memsc_registry *registry = *id < 0 ? (void *)-1 : shmat(*id, NULL, 0);
    return registry == (void *)-1 ? NULL : registry;
}

/* The kernel has told of every death: nobody dead is still a member. Others may use this registry, too. */
static void nobody_dead_is_a_member(void)
{
    int id;
    struct memsc_registry *registry = registry_of_cpu_0(&id);
    if (!registry)
        return;
    for (int i = 0; i < MEMSC_MEMBERS; i++) {
        struct memsc_member *member = &registry->members[i];
        uint32_t owner = atomic_load(&member->owner);
        pid_t pid = (pid_t)atomic_load(&member->pid);
        if (!memsc_member_gone(member) && kill(pid, 0) && errno == ESRCH)
            /* Unless it has died, or somebody sat down, since. */
            CHECK(atomic_load(&member->owner) != owner ||
                  atomic_load(&member->pid) != (uint32_t)pid);
    }
    shmdt(registry);
}

static void kills(uint32_t mode, int rounds)
{
    pid_t worker[WORKERS];
    worker_options.service_mode = mode;
    for (int i = 0; i < WORKERS; i++)
        worker[i] = start_worker(i);
    all_go_on(-1);
    for (int round = 0; round < rounds; round++) {
        int victim = (int)any(WORKERS);
        if (any(4) == 0) {
            CHECK_EQUAL(kill(worker[victim], SIGSTOP), 0);
            all_go_on(victim);
            CHECK_EQUAL(kill(worker[victim], SIGCONT), 0);
        } else {
            CHECK_EQUAL(kill(worker[victim], SIGKILL), 0);
            CHECK_EQUAL(waitpid(worker[victim], NULL, 0), worker[victim]);
            if (any(2))
                all_go_on(victim);
            worker[victim] = start_worker(victim);
        }
        if (any(4) == 0)
            all_go_on(-1);
    }
    all_go_on(-1);
    nobody_dead_is_a_member();
    for (int i = 0; i < WORKERS; i++) {
        kill(worker[i], SIGKILL);
        waitpid(worker[i], NULL, 0);
    }
}

/* Nothing that stands in the registry is believed in a way that hurts. */
static void scribbles(uint32_t mode)
{
    pid_t worker[WORKERS];
    worker_options.service_mode = mode;
    for (int i = 0; i < WORKERS; i++)
        worker[i] = start_worker(i);
    all_go_on(-1);
    int id;
    struct memsc_registry *registry = registry_of_cpu_0(&id);
    if (registry) {
        for (int round = 0; round < 200; round++) {
            volatile uint32_t *words = (volatile uint32_t *)&registry->holder;
            size_t most = (size_t)((char *)&registry->members[8] - (char *)words) / sizeof *words;
            for (int i = 0; i < 40; i++)
                words[any((unsigned)most)] = any(3) ? any(8) : any(1 << 15) << 17;
            if (round % 20 == 0)
                all_go_on(-1);
        }
        shmctl(id, IPC_RMID, NULL); /* the next processes do not meet the nonsense */
        shmdt(registry);
    }
    for (int i = 0; i < WORKERS; i++) {
        CHECK_EQUAL(waitpid(worker[i], NULL, WNOHANG), 0); /* none has died of it */
        kill(worker[i], SIGKILL);
        waitpid(worker[i], NULL, 0);
    }
}

/* A segment that another user put where ours would be is left alone. */
static void squatter(void)
{
    if (geteuid() != 0)
        return;
    int id;
    struct memsc_registry *registry = registry_of_cpu_0(&id);
    if (registry) {
        shmctl(id, IPC_RMID, NULL);
        shmdt(registry);
    }
    pid_t other = fork();
    if (other == 0) {
        key_t key = (key_t)memsc_registry_key_of(0, 0, 0);
        CHECK_EQUAL(setresuid(65534, 65534, 65534), 0);
        CHECK(shmget(key, sizeof(struct memsc_registry), IPC_CREAT | 0666) >= 0);
        _exit(0);
    }
    int status;
    CHECK_EQUAL(waitpid(other, &status, 0), other);
    CHECK_EQUAL(status, 0);
    id = shmget((key_t)memsc_registry_key_of(0, 0, 0), sizeof(struct memsc_registry), 0);
    struct shmid_ds theirs;
    struct memsc_options options = options_for(MEMSC_MEMSC, MEMSC_INLINE);
    CHECK_EQUAL(memsc_start(&options), 0);
    CHECK_EQUAL(memsc_register(), 0);
    CHECK_EQUAL(call(SYS_getppid, NO_ARGS), getppid());
    CHECK_EQUAL(shmctl(id, IPC_STAT, &theirs), 0);
    CHECK_EQUAL(theirs.shm_nattch, 0);
    CHECK(shmget((key_t)memsc_registry_key_of(0, 0, 1), sizeof(struct memsc_registry), 0) >= 0);
    CHECK_EQUAL(memsc_unregister(), 0);
    CHECK_EQUAL(memsc_stop(), 0);
    CHECK_EQUAL(shmctl(id, IPC_RMID, NULL), 0);
}

/* ---- many ---- */

static void *some_calls(void *count)
{
    CHECK_EQUAL(memsc_register(), 0);
    for (long i = 0; i < (long)count; i++)
        CHECK_EQUAL(call(SYS_getppid, NO_ARGS), getppid());
    CHECK_EQUAL(memsc_unregister(), 0);
    return NULL;
}

/* Sixteen processes of four threads each finish, and the last one removes the registry. */
static void many(uint32_t mode)
{
    enum { PROCESSES = 16 };
    pid_t child[PROCESSES];
    for (int i = 0; i < PROCESSES; i++) {
        child[i] = fork();
        CHECK(child[i] >= 0);
        if (child[i])
            continue;
        struct memsc_options options = options_for(MEMSC_MEMSC, mode);
        CHECK_EQUAL(memsc_start(&options), 0);
        pthread_t thread[THREADS];
        for (int k = 0; k < THREADS; k++)
            CHECK_EQUAL(pthread_create(&thread[k], NULL, some_calls, (void *)2000l), 0);
        for (int k = 0; k < THREADS; k++)
            pthread_join(thread[k], NULL);
        CHECK_EQUAL(memsc_stop(), 0);
        exit(0);
    }
    for (int i = 0; i < PROCESSES; i++) {
        int status;
        CHECK_EQUAL(waitpid(child[i], &status, 0), child[i]);
        CHECK_EQUAL(status, 0);
    }
}

/* An emulator of programs tells of no death. */
static bool deaths_are_told(void)
{
    void *list;
    size_t size;
    return syscall(SYS_get_robust_list, 0, &list, &size) == 0;
}

/* Whose death nobody would be told of does not join: others would take it for a member for ever. */
static void keeps_to_itself(void)
{
    struct memsc_options options = options_for(MEMSC_MEMSC, MEMSC_INLINE);
    CHECK_EQUAL(memsc_start(&options), 0);
    CHECK_EQUAL(memsc_register(), 0);
    CHECK_EQUAL(CALL(SYS_getppid), getppid());
    int id;
    struct memsc_registry *registry = registry_of_cpu_0(&id);
    for (int i = 0; registry && i < MEMSC_MEMBERS; i++)
        CHECK(memsc_member_gone(&registry->members[i]) ||
              atomic_load(&registry->members[i].pid) != (uint32_t)getpid());
    CHECK_EQUAL(memsc_unregister(), 0);
    CHECK_EQUAL(memsc_stop(), 0);
}

int main(void)
{
#ifdef ADDRESS_SANITIZER
    fprintf(stderr, "the address sanitizer cannot fork while another thread allocates\n");
    return 77;
#endif
    if (getenv("MEMSC_TEST_SEED"))
        seed = (unsigned)atoi(getenv("MEMSC_TEST_SEED"));
    two_cpus();
    if (!deaths_are_told()) {
        keeps_to_itself();
        fprintf(stderr, "nobody tells of a thread's death: this is no Linux, or an emulated one\n");
        return 77;
    }
    made = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(made != MAP_FAILED);
    worker_options = options_for(MEMSC_MEMSC, MEMSC_INLINE);
    static const char *const names[] = {"inline", "scanner", "mixed"};
    for (uint32_t mode = MEMSC_INLINE; mode <= MEMSC_SCANNER + 1; mode++) {
        fprintf(stderr, "%s: kills\n", names[mode]);
        kills(mode, ROUNDS);
        fprintf(stderr, "%s: scribbles\n", names[mode]);
        scribbles(mode);
        if (mode <= MEMSC_SCANNER) {
            fprintf(stderr, "%s: many\n", names[mode]);
            many(mode);
        }
    }
    squatter();
    return 0;
}
