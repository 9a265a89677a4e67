/* SPDX-License-Identifier: MIT
 *
 * memsc: the command. It is written in Python, whose start takes some 50 ms; this front saves them
 * to `memsc run` where Python has nothing new to find out (docs/decisions/0008-programs.md).
 *
 * What Python chose when it started a program is on record. If the record still holds, the front
 * starts the program by it. Else, and for every other sub-command, it becomes Python, and tells it
 *
 *   MEMSC_FRONT_KEY       the record's key, MEMSC_FRONT_RECORD the name of the file to write
 *   MEMSC_FRONT_IGNORED   signals that Python itself ignores and that were ignored before
 *   MEMSC_FRONT_HELD      set if SIGINT is blocked until Python can end in order by it
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "record.h"
#include "words.h"

enum { FAILURE = 1, LARGEST_CPU = 8192 };

extern char **environ;

static bool is_ignored(int number)
{
    struct sigaction action;
    return sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

static int fail(const char *what, const char *why, const char *remedy)
{
    fprintf(stderr, "memsc: %s: %s; %s\n", what, why, remedy);
    return FAILURE;
}

/* Python is not ready for Ctrl-C before its handlers are, and would tell its user where it stood.
 * The signal is not lost: it stays pending. */
static void hold_interrupt(void)
{
    sigset_t interrupt, before;
    sigemptyset(&interrupt);
    sigaddset(&interrupt, SIGINT);
    if (sigprocmask(SIG_BLOCK, &interrupt, &before) == 0 && !sigismember(&before, SIGINT))
        setenv("MEMSC_FRONT_HELD", "1", 1);
    else
        unsetenv("MEMSC_FRONT_HELD");
}

/* Python cannot even say that it may not open its files. */
static bool may_open_files(void)
{
    int first = open("/dev/null", O_RDONLY | O_CLOEXEC), second = dup(first);
    bool may = second >= 0 || errno != EMFILE;
    close(first);
    close(second);
    return may;
}

/* Becomes the script that lies beside this file, by the Python that lies there, too, or its own:
 * `pip install --user` and packages put no Python there. */
static int become_python(char **argv)
{
    if (!may_open_files())
        return fail("memsc", strerror(EMFILE), "raise `ulimit -n`");
    hold_interrupt();
    char folder[PATH_MAX], python[PATH_MAX + 16], script[PATH_MAX + 16], ignored[16];
    ssize_t size = readlink("/proc/self/exe", folder, sizeof folder - 1);
    folder[size > 0 ? size : 0] = '\0';
    char *slash = strrchr(folder, '/');
    if (!slash)
        return fail("memsc", "it cannot tell where it lies", "mount /proc");
    *slash = '\0';
    snprintf(python, sizeof python, "%s/python", folder);
    snprintf(script, sizeof script, "%s/memsc-python", folder);
    snprintf(ignored, sizeof ignored, "%s%s", is_ignored(SIGPIPE) ? "p" : "",
             is_ignored(SIGXFSZ) ? "x" : "");
    setenv("MEMSC_FRONT_IGNORED", ignored, 1);
    argv[0] = script;
    size_t count = 0;
    while (argv[count])
        count++;
    char **words = malloc((count + 2) * sizeof *words);
    if (!words)
        return fail("memsc", strerror(errno), "free some memory");
    words[0] = python;
    memcpy(words + 1, argv, (count + 1) * sizeof *words);
    execv(python, words);
    execv(script, argv);
    return fail(script, strerror(errno), "install memsc again");
}

/* A message is no reason to die of: the program must run all the same. */
static void print_messages(const struct memsc_record *record)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN}, of_pipes, of_files;
    sigaction(SIGPIPE, &ignore, &of_pipes);
    sigaction(SIGXFSZ, &ignore, &of_files);
    for (const char *at = NULL; (at = memsc_record_next(record, at, 'm'));)
        dprintf(STDERR_FILENO, "%s\n", at);
    sigaction(SIGPIPE, &of_pipes, NULL);
    sigaction(SIGXFSZ, &of_files, NULL);
}

static void read_cpus(const struct memsc_record *record, char letter, cpu_set_t *set, size_t size)
{
    for (const char *at = NULL; (at = memsc_record_next(record, at, letter));)
        if (atoi(at) < LARGEST_CPU)
            CPU_SET_S((size_t)atoi(at), size, set);
}

/* Moves to the application's CPUs, having tried all that are to be used: a cpuset may have lost one
 * since. False: nothing has changed. */
static bool take_place(const struct memsc_record *record)
{
    size_t size = CPU_ALLOC_SIZE(LARGEST_CPU);
    cpu_set_t *sets = calloc(4, size);
    if (!sets)
        return false;
    cpu_set_t *apps = sets, *all = (cpu_set_t *)((char *)sets + size),
              *granted = (cpu_set_t *)((char *)sets + 2 * size),
              *before = (cpu_set_t *)((char *)sets + 3 * size);
    read_cpus(record, 'a', apps, size);
    read_cpus(record, 'a', all, size);
    read_cpus(record, 's', all, size);
    bool done = sched_getaffinity(0, size, before) == 0 && sched_setaffinity(0, size, all) == 0;
    if (done) {
        done = sched_getaffinity(0, size, granted) == 0 && CPU_EQUAL_S(size, all, granted) &&
               sched_setaffinity(0, size, apps) == 0;
        if (!done)
            sched_setaffinity(0, size, before);
    }
    free(sets);
    return done;
}

static bool set_variables(const struct memsc_record *record)
{
    char **kept = environ;
    for (char **at = environ; *at; at++)
        if (strncmp(*at, "MEMSC_", 6) != 0)
            *kept++ = *at;
    *kept = NULL;
    for (const char *at = NULL; (at = memsc_record_next(record, at, 'v'));)
        if (putenv((char *)at))
            return false;
    const char *library = memsc_record_next(record, NULL, 'l');
    const char *others = getenv("LD_PRELOAD");
    char *list;
    if (!library)
        return true;
    if (asprintf(&list, "%s%s%s", library, others && *others ? ":" : "", others ? others : "") < 0)
        return false;
    return setenv("LD_PRELOAD", list, 1) == 0;
}

/* Whether root has to undo what a killed session did to this machine, which Python does. */
static bool is_called_to_undo(void)
{
    DIR *folder = geteuid() == 0 ? opendir("/run/memsc") : NULL;
    if (!folder)
        return false;
    bool found = false;
    for (const struct dirent *entry; !found && (entry = readdir(folder));)
        found = strncmp(entry->d_name, "isolation-", 10) == 0;
    closedir(folder);
    return found;
}

int main(int argc, char **argv)
{
    static struct memsc_record record;
    char key[MEMSC_KEY_SIZE], name[MEMSC_NAME_SIZE], found[PATH_MAX];
    int index = memsc_program_index(argc, argv);
    if (!index || is_called_to_undo() || !memsc_key(key, index + 1, argv))
        return become_python(argv);
    memsc_record_name(name, key);
    const char *path = NULL;
    if (memsc_record_read(&record, name, key) && memsc_record_holds(&record))
        path = memsc_find_program(argv[index], found);
    if (!path || !take_place(&record)) {
        setenv("MEMSC_FRONT_KEY", key, 1);
        setenv("MEMSC_FRONT_RECORD", name, 1);
        return become_python(argv);
    }
    print_messages(&record);
    if (!set_variables(&record))
        return fail(path, strerror(errno), "free some memory");
    execv(path, argv + index);
    return fail(path, strerror(errno), "check the file");
}
