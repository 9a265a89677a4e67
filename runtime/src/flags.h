/* SPDX-License-Identifier: MIT
 *
 * Bits of flags that the table knows: all of Linux 6.18 that mean the same on whichever thread of the process
 * the call is made. A call with any other bit stays on the caller, for a kernel may give it a meaning that
 * concerns the calling thread; some have one today (CLOSE_RANGE_UNSHARE, O_ASYNC, __WNOTHREAD).
 *
 * As numbers: their headers are the C library's by turns, or newer than those that memsc is built with.
 */
#ifndef MEMSC_FLAGS_H
#define MEMSC_FLAGS_H

/* clang-format off */
#define MEMSC_CLOSE_ON_EXEC 02000000u
#define MEMSC_NONBLOCKING   04000u
#define MEMSC_ASYNC         020000u /* O_ASYNC: what sets it may become the owner of signals */

/* Access, O_CREAT, O_EXCL, O_NOCTTY, O_TRUNC, O_APPEND, O_NONBLOCK, O_DSYNC, O_DIRECT, O_LARGEFILE, O_DIRECTORY,
 * O_NOFOLLOW, O_NOATIME, O_CLOEXEC, O_SYNC, O_PATH, O_TMPFILE; not O_ASYNC. */
#define MEMSC_OPEN_FLAGS    037757703u
#define MEMSC_FD_FLAGS      (MEMSC_CLOSE_ON_EXEC | MEMSC_NONBLOCKING)
#define MEMSC_PIPE_FLAGS    (MEMSC_FD_FLAGS | 0740000u) /* O_DIRECT; not O_EXCL, whose pipe is of keyrings */
#define MEMSC_SOCKET_TYPE   (0xfu | MEMSC_FD_FLAGS)
#define MEMSC_EVENTFD_FLAGS (1u | MEMSC_FD_FLAGS)

#define MEMSC_AT_NOFOLLOW   0x100u
#define MEMSC_AT_REMOVE     0x200u /* AT_REMOVEDIR, AT_EACCESS, AT_HANDLE_FID */
#define MEMSC_AT_FOLLOW     0x400u
#define MEMSC_AT_STAT       0x7900u /* …, AT_NO_AUTOMOUNT, AT_EMPTY_PATH, AT_STATX_SYNC_TYPE */
#define MEMSC_AT_EMPTY      0x1000u
#define MEMSC_AT_HANDLE     (MEMSC_AT_FOLLOW | MEMSC_AT_EMPTY | MEMSC_AT_REMOVE | 3u)

#define MEMSC_RENAME_FLAGS  7u
#define MEMSC_XATTR_FLAGS   3u
#define MEMSC_FALLOCATE     0xffu
#define MEMSC_SYNC_FLAGS    7u
#define MEMSC_RW_FLAGS      0x1ffu
#define MEMSC_SPLICE_FLAGS  0xfu
#define MEMSC_WATCH_FLAGS   0xf700efffu /* IN_… */

#define MEMSC_MAP_FLAGS     0xfc1ff97fu /* … with the sizes of large pages in its last bits */
#define MEMSC_PROTECTION    0x0300003fu
#define MEMSC_REMAP_FLAGS   7u
#define MEMSC_LOCK_FLAGS    7u
#define MEMSC_MEMFD_FLAGS   0xfc00001fu
#define MEMSC_SHM_FLAGS     0xfc001fffu
#define MEMSC_IPC_FLAGS     0xfffu /* IPC_CREAT, IPC_EXCL, IPC_NOWAIT, mode */
#define MEMSC_ATTACH_FLAGS  0170000u
#define MEMSC_RECEIVE_FLAGS 074000u /* IPC_NOWAIT, MSG_NOERROR, MSG_EXCEPT, MSG_COPY */

#define MEMSC_MESSAGE_FLAGS 0x6405ffffu /* MSG_… */
#define MEMSC_RANDOM_FLAGS  7u
#define MEMSC_LOCKING       0xffu       /* LOCK_… */
#define MEMSC_PIDFD_FLAGS   (MEMSC_NONBLOCKING | 0200u)
#define MEMSC_TIMER_FLAGS   3u
#define MEMSC_CLOSE_FLAGS   4u          /* not CLOSE_RANGE_UNSHARE */
#define MEMSC_WAIT_FLAGS    0xc000000bu /* WNOHANG, WUNTRACED, WCONTINUED, __WALL, __WCLONE */
#define MEMSC_WAITID_FLAGS  (MEMSC_WAIT_FLAGS | 0x01000004u) /* WEXITED, WNOWAIT */
/* clang-format on */

#endif
