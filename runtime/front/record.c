/* SPDX-License-Identifier: MIT */
#include "record.h"

#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../src/own_file.h"

/* FNV-1a, 64 bits. */
void memsc_record_name(char name[MEMSC_NAME_SIZE], const char *key)
{
    uint64_t hash = 0xcbf29ce484222325;
    for (; *key; key++)
        hash = (hash ^ (unsigned char)*key) * 0x100000001b3;
    snprintf(name, MEMSC_NAME_SIZE, "%016llx", (unsigned long long)hash);
}

static int open_record(const char *name)
{
    int starts = memsc_open_starts();
    if (starts < 0)
        return -1;
    int file = memsc_open_own(starts, name, O_NONBLOCK, S_IFREG);
    close(starts);
    return file;
}

bool memsc_record_read(struct memsc_record *record, const char *name, const char *key)
{
    int file = open_record(name);
    if (file < 0)
        return false;
    ssize_t size = read(file, record->text, sizeof record->text);
    close(file);
    if (size < 4 || size == sizeof record->text || memcmp(record->text + size - 3, "\0.\0", 3) != 0)
        return false;
    record->size = (size_t)size;
    return record->text[0] == 'k' && strcmp(record->text + 1, key) == 0;
}

const char *memsc_record_next(const struct memsc_record *record, const char *at, char letter)
{
    const char *end = record->text + record->size;
    for (at = at ? at + strlen(at) + 1 : record->text; at < end; at += strlen(at) + 1)
        if (*at == letter)
            return at + 1;
    return NULL;
}

static bool is_unchanged(const char *path, const char *status, size_t size)
{
    struct stat now;
    char text[128];
    if (stat(path, &now))
        return false;
    int length = snprintf(text, sizeof text, "%ju:%ju:%jd:%jd", (uintmax_t)now.st_dev,
                          (uintmax_t)now.st_ino, (intmax_t)now.st_size,
                          (intmax_t)now.st_ctim.tv_sec * 1000000000 + now.st_ctim.tv_nsec);
    return (size_t)length == size && memcmp(text, status, size) == 0;
}

static bool is_program(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && !S_ISDIR(status.st_mode) && access(path, X_OK) == 0;
}

/* As Python's shutil.which. */
const char *memsc_find_program(const char *name, char path[PATH_MAX])
{
    if (strchr(name, '/'))
        return is_program(name) ? name : NULL;
    const char *at = getenv("PATH");
    while (at) {
        int length = (int)strcspn(at, ":");
        const char *slash = length && at[length - 1] != '/' ? "/" : "";
        int size = snprintf(path, PATH_MAX, "%.*s%s%s", length, at, slash, name);
        if (size < PATH_MAX && is_program(path))
            return path;
        at = at[length] ? at + length + 1 : NULL;
    }
    return NULL;
}

bool memsc_record_holds(const struct memsc_record *record)
{
    char found[PATH_MAX];
    for (const char *at = NULL; (at = memsc_record_next(record, at, 'f'));) {
        const char *blank = strchr(at, ' ');
        if (!blank || !is_unchanged(blank + 1, at, (size_t)(blank - at)))
            return false;
    }
    for (const char *at = NULL; (at = memsc_record_next(record, at, 'n'));) {
        const char *blank = strchr(at, ' ');
        const char *path = blank ? memsc_find_program(blank + 1, found) : NULL;
        if (!path || !is_unchanged(path, at, (size_t)(blank - at)))
            return false;
    }
    return true;
}
