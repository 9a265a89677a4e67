/* SPDX-License-Identifier: MIT
 *
 * On files by their names.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "executor.h"

long do_bad_name(const long *a)
{
    return a[0] % 2 ? open(nowhere, O_RDONLY) : stat(nowhere, (void *)buffer);
}

long do_truncate(const long *a)
{
    return truncate(name(a[0]), a[1] % (1 << 18) - 5);
}

long do_rename(const long *a)
{
    return rename(name(a[0]), name(a[1]));
}

long do_link(const long *a)
{
    return a[2] % 2 ? link(name(a[0]), name(a[1])) : symlink(name(a[0]), name(a[1]));
}

long do_unlink(const long *a)
{
    return a[1] % 2 ? unlink(name(a[0])) : remove(name(a[0]));
}

long do_mkdir(const long *a)
{
    return a[1] % 3 ? mkdir(name(a[0]), 0777) : rmdir(name(a[0]));
}

static long saw_status(const struct stat *status, long result)
{
    if (result == 0) {
        uint64_t known[] = {status->st_mode, S_ISDIR(status->st_mode) ? 0 : status->st_size,
                            status->st_nlink};
        see(known, sizeof known);
    }
    return result;
}

long do_stat(const long *a)
{
    struct stat status;
    return saw_status(&status, a[1] % 2 ? stat(name(a[0]), &status) : lstat(name(a[0]), &status));
}

long do_fstat(const long *a)
{
    struct stat status;
    return saw_status(&status, fstat(*slot(a[0]), &status));
}

long do_chmod(const long *a)
{
    return chmod(name(a[0]), (mode_t)a[1] % 01000 | 0600);
}

long do_readlink(const long *a)
{
    return got(readlink(name(a[0]), (char *)buffer, 100));
}

long do_access(const long *a)
{
    return access(name(a[0]), (int)(a[1] % 8));
}

long do_umask(const long *a)
{
    return umask((mode_t)a[0] % 0100);
}

long do_chdir(const long *a)
{
    long result = a[0] % 3 ? chdir("..") : chdir("d");
    /* Never out of the folder it was started in. */
    return getcwd((char *)buffer, PAGE) && strstr((char *)buffer, "/executor")
               ? result
               : -8 - chdir("executor");
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

long do_list(const long *a)
{
    struct dirent **entries;
    int count = scandir(name(a[0]), &entries, NULL, by_name);
    for (int i = 0; i < count; i++) {
        see(entries[i]->d_name, (long)strlen(entries[i]->d_name));
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
    return count;
}

long do_stdio(const long *a)
{
    FILE *file = fopen(name(a[0]), a[1] % 2 ? "a+" : "r");
    if (!file)
        return -1;
    fprintf(file, "%ld\n", a[2]);
    rewind(file);
    while (fgets((char *)buffer, 80, file))
        see(buffer, (long)strlen((char *)buffer));
    return fclose(file);
}
