/* SPDX-License-Identifier: MIT
 *
 * The command line of `memsc run`, as far as it decides how a program is started.
 */
#ifndef MEMSC_FRONT_WORDS_H
#define MEMSC_FRONT_WORDS_H

#include <stddef.h>

enum { MEMSC_KEY_SIZE = 2048 };

/* Index in argv of the program that `memsc run` is to start, behind options that are known here; 0:
 * another sub-command, or something that only Python understands. */
int memsc_program_index(int argc, char **argv);

/* Writes all that the choices of `memsc run` depend on and that no file tells: the words up to the
 * program, the CPUs, the user. NULL if it cannot be told or does not fit. */
const char *memsc_key(char key[MEMSC_KEY_SIZE], int words, char **argv);

#endif
