/* SPDX-License-Identifier: MIT
 *
 * The system calls that x86-64 has and other processors do not: newer ones take their place there.
 */
#ifndef MEMSC_OWN_CALLS_H
#define MEMSC_OWN_CALLS_H

#include <stdbool.h>
#include <sys/syscall.h>

/* Rows of ../../src/table.c. */
/* clang-format off */
#define MEMSC_OWN_ROWS                                                                              \
    FAST(getpgrp) FAST(time)                                                                        \
    PLAIN(stat) PLAIN(lstat) PLAIN(access) PLAIN(readlink) PLAIN(mkdir) PLAIN(rmdir) PLAIN(rename)  \
    PLAIN(renameat) PLAIN(link) PLAIN(unlink) PLAIN(symlink) PLAIN(chmod) PLAIN(chown)              \
    PLAIN(lchown) PLAIN(utime) PLAIN(utimes) PLAIN(futimesat) PLAIN(mknod) PLAIN(getdents)          \
    PLAIN(alarm)                                                                                    \
    OPENS_BY(open, 1, MEMSC_OPEN_FLAGS) OPENS(creat) OPENS(eventfd) OPENS(epoll_create) OPENS(inotify_init)                 \
    FORWARD(dup2, MEMSC_PLAIN, MEMSC_FD_SECOND)                                                     \
    PLAIN(pipe)                                                                                     \
    UNLESS(poll, MEMSC_POOL, MEMSC_FD_NONE, WAITS) UNLESS(select, MEMSC_POOL, MEMSC_FD_NONE, WAITS) \
    UNLESS(epoll_wait, MEMSC_POOL, MEMSC_FD_NONE, WAITS)                                                      \
    LOCAL(fork, THREAD) LOCAL(vfork, THREAD) LOCAL(pause, SIGNAL) LOCAL(arch_prctl, SELF)           \
    LOCAL(signalfd, SIGNAL) LOCAL(iopl, SELF) LOCAL(ioperm, SELF) LOCAL(modify_ldt, SELF)
/* clang-format on */

/* Which argument of one of those that wait for several descriptors is a timeout, 0 for not at all; 0: it has
 * none such. -1: it is none of those. */
static inline int memsc_own_timeout(long number)
{
    return number == SYS_poll ? 2 : number == SYS_epoll_wait ? 3 : number == SYS_select ? 0 : -1;
}

/* Rows of ../../layer/own_paths.c. */
#define MEMSC_OWN_PATHS                                                                            \
    [SYS_open] = FIRST | OPENS, [SYS_stat] = FIRST, [SYS_lstat] = FIRST, [SYS_access] = FIRST,     \
    [SYS_readlink] = FIRST, [SYS_chmod] = FIRST, [SYS_chown] = FIRST, [SYS_lchown] = FIRST,

/* Whether it is vfork, without arguments. */
static inline bool memsc_own_vfork(long number)
{
    return number == SYS_vfork;
}

/* Whether it makes a descriptor of signals. */
static inline bool memsc_own_signalfd(long number)
{
    return number == SYS_signalfd;
}

#endif
