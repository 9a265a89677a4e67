/* SPDX-License-Identifier: MIT
 *
 * What Python found out when it started a program, for the next start of the same: a file of
 * NUL-terminated strings, each with a letter in front that says what it is.
 *
 *   k KEY             first: all that the choices depend on and that no file tells (words.h)
 *   n STATUS NAME     a program looked up as the shell does; it must still be the same file
 *   f STATUS PATH     a file that was looked at, or that the choice was made by
 *   a CPU, s CPU      one CPU of the application, of the service
 *   v NAME=VALUE      a variable for the program
 *   l PATH            the library to be preloaded
 *   m LINE            a message to be printed
 *   .                 last: the record is whole
 *
 * STATUS is device, inode, size and time of change with colons between: whatever happens to a file,
 * its content, mode or owner, leaves its trace in them.
 */
#ifndef MEMSC_FRONT_RECORD_H
#define MEMSC_FRONT_RECORD_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

enum { MEMSC_RECORD_SIZE = 16384, MEMSC_NAME_SIZE = 32 };

struct memsc_record {
    size_t size;
    char text[MEMSC_RECORD_SIZE];
};

/* The file's name for a key; a mistaken one does no harm, since the key stands in the file. */
void memsc_record_name(char name[MEMSC_NAME_SIZE], const char *key);

/* Reads the record of that key, if this user alone can have written it. */
bool memsc_record_read(struct memsc_record *record, const char *name, const char *key);

/* Path of a program as the shell would find it, NULL if there is none. */
const char *memsc_find_program(const char *name, char path[PATH_MAX]);

/* Whether all files that it was made from are as they were. */
bool memsc_record_holds(const struct memsc_record *record);

/* The string behind `at` (NULL: the first) that has this letter; NULL: no more. */
const char *memsc_record_next(const struct memsc_record *record, const char *at, char letter);

#endif
