/* SPDX-License-Identifier: MIT
 *
 * A number that a file of the kernel's shows behind a name.
 */
#ifndef SHOWN_H
#define SHOWN_H

#include "feature.h"

/* Closes the file; -1: it is not there. */
static inline long number_behind(int fd, const char *name)
{
    char text[4096] = "";
    ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    const char *at = size > 0 ? strstr(text, name) : NULL;
    if (fd >= 0)
        close(fd);
    return at ? atol(at + strlen(name)) : -1;
}

#endif
