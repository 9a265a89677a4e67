/* SPDX-License-Identifier: MIT
 *
 * The little text handling that the runtime needs, without the C library.
 */
#ifndef MEMSC_TEXT_H
#define MEMSC_TEXT_H

#include <stddef.h>
#include <stdint.h>

/* Appends at `at`, always terminated before `end`; returns the new end of the text, or `end` if it
 * did not fit. */
char *memsc_put(char *at, char *end, const char *text);
char *memsc_put_number(char *at, char *end, uint64_t number);

/* Leading decimal digits as a number. */
uint64_t memsc_number(const char *text);

/* The same, and moves behind them. */
uint64_t memsc_take_number(const char **text);

/* Reads at most size - 1 bytes and terminates them; returns their count, or -errno. */
int memsc_read_file(const char *path, char *text, size_t size);

/* File name of the running executable. */
void memsc_program_name(char *name, size_t size);

#endif
