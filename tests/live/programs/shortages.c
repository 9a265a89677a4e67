/* SPDX-License-Identifier: MIT
 *
 * What runs out for a while: a call or two may suffer, and then all goes on.
 */
#include "feature.h"

#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

enum { NAPS = 1200, READERS = 8, NOBODY_ELSE = 64321 /* a user who runs nothing */ };

static void nap(long microseconds)
{
    struct timespec time = {microseconds / 1000000, microseconds % 1000000 * 1000};
    EXPECT(nanosleep(&time, NULL) == 0);
}

static int pipes[READERS][2];

static void *reader(void *number)
{
    char byte = 0;
    EXPECT(read(pipes[(long)number][0], &byte, 1) == 1 && byte == 'x');
    return NULL;
}

/* Readers that all wait at once, and are woken in the other order. */
static void readers_wait(void)
{
    pthread_t threads[READERS];
    for (long i = 0; i < READERS; i++) {
        EXPECT(pipe(pipes[i]) == 0);
        EXPECT(pthread_create(&threads[i], NULL, reader, (void *)i) == 0);
    }
    nap(50000);
    for (int i = READERS - 1; i >= 0; i--) {
        nap(1000);
        EXPECT(write(pipes[i][1], "x", 1) == 1);
    }
    for (int i = 0; i < READERS; i++)
        pthread_join(threads[i], NULL);
}

static void become_an_ordinary_user(void)
{
    if (geteuid() == 0)
        EXPECT(setresgid(NOBODY_ELSE, NOBODY_ELSE, NOBODY_ELSE) == 0 &&
               setresuid(NOBODY_ELSE, NOBODY_ELSE, NOBODY_ELSE) == 0);
}

/* From the first call on that may wait, there is none to be had for it. */
static void no_threads(void)
{
    struct rlimit before, none;
    become_an_ordinary_user();
    EXPECT(getrlimit(RLIMIT_NPROC, &before) == 0);
    none = before;
    none.rlim_cur = 1;
    EXPECT(setrlimit(RLIMIT_NPROC, &none) == 0);
    for (int i = 0; i < NAPS; i++)
        nap(50);
    EXPECT(setrlimit(RLIMIT_NPROC, &before) == 0);
    readers_wait();
}

static void no_threads_from_the_start(void)
{
    struct rlimit before, none;
    become_an_ordinary_user();
    EXPECT(getrlimit(RLIMIT_NPROC, &before) == 0);
    none = before;
    none.rlim_cur = 1;
    EXPECT(setrlimit(RLIMIT_NPROC, &none) == 0);
    fflush(stdout);
    pid_t child = vfork(); /* fails as the limit has it, and the program goes on */
    if (child == 0)
        _exit(0);
    EXPECT(child < 0 && errno == EAGAIN);
    for (int i = 0; i < NAPS; i++)
        nap(10);
    EXPECT(setrlimit(RLIMIT_NPROC, &before) == 0);
    readers_wait();
}

static void no_memory(void)
{
    struct rlimit before, none;
    nap(1000);
    EXPECT(getrlimit(RLIMIT_AS, &before) == 0);
    none = before;
    none.rlim_cur = 1 << 20;
    EXPECT(setrlimit(RLIMIT_AS, &none) == 0);
    for (int i = 0; i < NAPS; i++)
        nap(50);
    EXPECT(mmap(NULL, 1 << 16, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED);
    EXPECT(setrlimit(RLIMIT_AS, &before) == 0);
    readers_wait();
}

static void no_descriptors(void)
{
    struct rlimit before, none;
    nap(1000);
    EXPECT(getrlimit(RLIMIT_NOFILE, &before) == 0);
    none = before;
    none.rlim_cur = 3;
    EXPECT(setrlimit(RLIMIT_NOFILE, &none) == 0);
    EXPECT(open("/", O_RDONLY) == -1 && errno == EMFILE);
    for (int i = 0; i < NAPS; i++)
        nap(50);
    EXPECT(setrlimit(RLIMIT_NOFILE, &before) == 0);
    readers_wait();
}

/* The kernel ends who goes beyond, and a program that writes nothing never does. */
static void no_large_files(void)
{
    const struct rlimit little = {4096, 4096}; /* also the hard one */
    EXPECT(setrlimit(RLIMIT_FSIZE, &little) == 0);
    fflush(stdout);
    pid_t child = fork(); /* which starts anew, under the limit */
    if (child == 0) {
        for (int i = 0; i < NAPS; i++)
            EXPECT(getppid() > 0);
        struct rlimit after;
        EXPECT(getrlimit(RLIMIT_FSIZE, &after) == 0 && after.rlim_cur == 4096);
        fflush(stdout);
        _exit(0);
    }
    int status = -1;
    EXPECT(waitpid(child, &status, 0) == child && status == 0);
    readers_wait();
}

enum {
    ROOM = 1 << 20, /* of a stack: a fourth is for arguments */
    PIECE = 100,
    PIECES = ROOM / 4 / PIECE,
};

static char *given[PIECES + 2];
static char piece[PIECE + 1], last[PIECE + 1];

static bool spawns(char *const environment[])
{
    pid_t child;
    int status;
    return posix_spawn(&child, "/bin/true", NULL, NULL, given, environment) == 0 &&
           waitpid(child, &status, 0) == child && status == 0;
}

static bool executes(char *const environment[])
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        execve("/bin/true", given, environment);
        _exit(errno == E2BIG ? 7 : 8);
    }
    EXPECT(waitpid(child, &status, 0) == child && (status == 0 || WEXITSTATUS(status) == 7));
    return status == 0;
}

/* So many bytes of arguments, in pieces. */
static void fill(int bytes)
{
    int whole = bytes / PIECE;
    for (int i = 0; i < whole; i++)
        given[i] = piece;
    memset(last, 'b', PIECE);
    last[bytes % PIECE] = 0;
    given[whole] = last;
    given[whole + 1] = NULL;
}

static int most(bool (*starts)(char *const environment[]), char *const environment[])
{
    int good = ROOM / 8, bad = ROOM / 4;
    while (bad - good > 1) {
        int bytes = (good + bad) / 2;
        fill(bytes);
        *(starts(environment) ? &good : &bad) = bytes;
    }
    return good;
}

/* To the last byte that the kernel takes. */
static void fills_arguments(void)
{
    struct rlimit room = {ROOM, ROOM};
    char *own[] = {"A=1", "PATH=/bin", NULL}, *none[] = {NULL};
    EXPECT(setrlimit(RLIMIT_STACK, &room) == 0);
    memset(piece, 'a', PIECE);
    printf("execve %d %d %d\n", most(executes, own), most(executes, none), most(executes, environ));
    printf("posix_spawn %d\n", most(spawns, own));
    EXPECT(most(executes, own) > ROOM / 8);
    char *preloading[] = {"LD_PRELOAD=/nonexistent/a.so:/nonexistent/b.so", NULL};
    int null = open("/dev/null", O_WRONLY);
    dup2(null, STDERR_FILENO); /* what the loader says of these */
    printf("others' libraries %d\n", most(executes, preloading));
}

const struct feature features[] = {
    {"fills-arguments", fills_arguments},
    {"no-large-files", no_large_files},
    {"no-threads-for-a-while", no_threads},
    {"no-threads-from-the-start", no_threads_from_the_start},
    {"no-memory-for-a-while", no_memory},
    {"no-descriptors-for-a-while", no_descriptors},
    {NULL, NULL},
};
