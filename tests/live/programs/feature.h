/* SPDX-License-Identifier: MIT
 *
 * A program of features: the first argument chooses one, what it prints must not depend on how its
 * system calls are carried.
 */
#ifndef FEATURE_H
#define FEATURE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A file here that only root may read; /etc/shadow is not everywhere. */
#define SECRET "secret"
__attribute__((unused)) static int make_secret(void)
{
    return close(open(SECRET, O_CREAT | O_WRONLY, 0400));
}

struct feature {
    const char *name;
    void (*run)(void);
};

/* Prints what was expected and is not so, with the line it stands at. */
#define EXPECT(condition)                                                                          \
    do {                                                                                           \
        if (!(condition))                                                                          \
            printf("line %d: not so: %s (errno %s)\n", __LINE__, #condition,                       \
                   strerrorname_np(errno));                                                        \
    } while (0)

/* What the program has, up to a name that is NULL. */
extern const struct feature features[];

int main(int argc, char **argv)
{
    for (const struct feature *one = features; one->name; one++)
        if (argc < 2)
            puts(one->name);
        else if (strcmp(one->name, argv[1]) == 0) {
            one->run();
            puts("done");
            return 0;
        }
    return argc < 2 ? 0 : 2;
}

#endif
