/* SPDX-License-Identifier: MIT
 *
 * Files that this user alone can have written, in places where anybody may write.
 */
#ifndef MEMSC_OWN_FILE_H
#define MEMSC_OWN_FILE_H

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* In a user namespace all users that have no number there are shown with this one (the kernel's default). */
enum { MEMSC_NO_USER = 65534 };

/* Opens NAME in a folder to be read, if it is of this type, this user's, and closed to all others; -1: it is
 * not, or whose it is cannot be told. To be done for each step down before the next is taken. */
static inline int memsc_open_own(int folder, const char *name, int flags, mode_t type)
{
    struct stat status;
    uid_t user = geteuid();
    int file = user == MEMSC_NO_USER
                   ? -1
                   : openat(folder, name, flags | O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (file < 0)
        return -1;
    if (fstat(file, &status) == 0 && (status.st_mode & S_IFMT) == type && status.st_uid == user &&
        !(status.st_mode & (S_IRWXG | S_IRWXO)))
        return file;
    close(file);
    return -1;
}

/* The folder with what is kept from one start of a program to the next; -1: it is not there, or not to be
 * believed. */
static inline int memsc_open_starts(void)
{
    char top[64];
    snprintf(top, sizeof top, "/dev/shm/memsc-%u", geteuid());
    int folder = memsc_open_own(AT_FDCWD, top, O_DIRECTORY, S_IFDIR);
    if (folder < 0)
        return -1;
    int starts = memsc_open_own(folder, "starts", O_DIRECTORY, S_IFDIR);
    close(folder);
    return starts;
}

#endif
