/* SPDX-License-Identifier: MIT
 *
 * What a program is carried by, kept where it cannot lose it: the variables that steer memsc, and where its
 * own file lies. A program may clear its environment, give another to what it executes, or write a title over
 * it; it may leave for another root, or for a user who cannot read the file. Whatever it executes gets both.
 */
#ifndef MEMSC_LAYER_ENVIRONMENT_H
#define MEMSC_LAYER_ENVIRONMENT_H

#include <stdbool.h>
#include <stdint.h>

/* Remembers the variables MEMSC_… of an environment, and the path of the layer's file; to be called once. */
void memsc_environment_keep(char *const *environment, const char *path);

/* Keeps the file itself, before a change after which its path may lead nowhere. */
void memsc_environment_leave_path(void);

/* Why what is executed now will not be carried; NULL: nothing is known to be in the way. */
const char *memsc_environment_obstacle(void);

/* Executes a program, as the call says, but for its environment. bare: with nothing of memsc's in it. Returns as
 * that does; -E2BIG if it is to be bare and has nothing of memsc's. */
long memsc_environment_execute(long number, const uint64_t args[6], bool bare);

/* Gives back the memory that a child needed for it which borrowed that of the calling thread. */
void memsc_environment_release(void);

#endif
