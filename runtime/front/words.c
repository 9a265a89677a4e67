/* SPDX-License-Identifier: MIT */
#include "words.h"

#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct option {
    const char *name;
    bool has_value;
};

/* A test holds this to the parser of `memsc run`. What is not in it goes to Python: --stats, which
 * stays behind as the program's parent, and --help. */
static const struct option options[] = {
    {"--transport", true},    {"--service", true}, {"--app-cpus", true},
    {"--service-cpus", true}, {"--idle", true},    {"--spin", false},
    {"--handoff", true},      {"--quiet", false},  {"-q", false},
};

static const struct option *option_of(const char *word)
{
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        if (strcmp(options[i].name, word) == 0)
            return &options[i];
    return NULL;
}

int memsc_program_index(int argc, char **argv)
{
    if (argc < 3 || strcmp(argv[1], "run") != 0)
        return 0;
    for (int i = 2; i < argc; i++) {
        if (argv[i][0] != '-')
            return i;
        if (strcmp(argv[i], "--") == 0)
            return i + 1 < argc ? i + 1 : 0;
        const struct option *option = option_of(argv[i]);
        if (!option)
            return 0;
        if (option->has_value)
            i++;
    }
    return 0;
}

struct text {
    char *at, *end;
};

/* With its length in front, so that no two lists of words look alike. */
static bool put(struct text *text, const char *word)
{
    size_t room = (size_t)(text->end - text->at);
    int size = snprintf(text->at, room, "%zu:%s ", strlen(word), word);
    if (size < 0 || (size_t)size >= room)
        return false;
    text->at += size;
    return true;
}

/* A file that is not there says something, too: this kernel has no such thing. */
static bool put_file(struct text *text, const char *path)
{
    char content[512];
    ssize_t size = -1;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file >= 0) {
        size = read(file, content, sizeof content - 1);
        close(file);
    }
    if (size == (ssize_t)sizeof content - 1)
        return false;
    content[size < 0 ? 0 : size] = '\0';
    content[strcspn(content, "\n")] = '\0';
    return put(text, content);
}

/* A container's, of which the layer is told; inside and outside are not the same. */
static bool put_filters(struct text *text)
{
    char content[4096];
    int file = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    ssize_t size = file < 0 ? 0 : read(file, content, sizeof content - 1);
    if (file >= 0)
        close(file);
    content[size < 0 ? 0 : size] = '\0';
    char *at = strstr(content, "\nSeccomp");
    if (!at)
        return put(text, "");
    at[1 + strcspn(at + 1, "\n")] = '\0'; /* Seccomp: 0, 1 or 2 */
    char *filters = at + strlen(at) + 1;
    if (strncmp(filters, "Seccomp_filters", 15) == 0) {
        filters[strcspn(filters, "\n")] = '\0';
        at = filters;
    }
    return put(text, at);
}

/* Another installation has another library. */
static bool put_installation(struct text *text)
{
    char path[PATH_MAX];
    ssize_t size = readlink("/proc/self/exe", path, sizeof path - 1);
    if (size < 0)
        return false;
    path[size] = '\0';
    return put(text, path);
}

static bool put_user(struct text *text)
{
    char user[64];
    snprintf(user, sizeof user, "%u %u %u", getuid(), geteuid(), getegid());
    return put(text, user);
}

static bool put_affinity(struct text *text)
{
    enum { WORDS = 8192 / 64, HEX = 16 };
    unsigned long mask[WORDS] = {0};
    char hex[WORDS * HEX + 1], *at = hex;
    int last = WORDS - 1;
    if (sched_getaffinity(0, sizeof mask, (cpu_set_t *)mask))
        return false;
    while (last > 0 && !mask[last])
        last--;
    for (; last >= 0; last--)
        at += snprintf(at, HEX + 1, "%016lx", mask[last]);
    return put(text, hex);
}

const char *memsc_key(char key[MEMSC_KEY_SIZE], int words, char **argv)
{
    struct text text = {key, key + MEMSC_KEY_SIZE};
    for (int i = 2; i < words; i++)
        if (!put(&text, argv[i]))
            return NULL;
    return put_installation(&text) && put_user(&text) && put_affinity(&text) &&
                   put_filters(&text) && put_file(&text, "/sys/devices/system/cpu/online") &&
                   put_file(&text, "/sys/devices/system/cpu/isolated")
               ? key
               : NULL;
}
