/* SPDX-License-Identifier: MIT
 *
 * On open files, pipes and sockets, by their descriptors.
 */
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "executor.h"

long do_open(const long *a)
{
    static const int flags[] = {O_RDONLY,
                                O_WRONLY | O_CREAT,
                                O_RDWR | O_CREAT,
                                O_RDWR | O_CREAT | O_TRUNC,
                                O_WRONLY | O_CREAT | O_APPEND,
                                O_RDWR | O_CREAT | O_EXCL,
                                O_RDONLY | O_DIRECTORY,
                                O_RDWR | O_NOFOLLOW | O_CLOEXEC};
    return keep(a[0], open(name(a[1]), flags[a[2] % 8], 0666));
}

long do_close(const long *a)
{
    int descriptor = *slot(a[0]);
    *slot(a[0]) = -1;
    return close(descriptor);
}

long do_read(const long *a)
{
    return would_wait(*slot(a[0]), POLLIN) ? WOULD_WAIT
                                           : got(read(*slot(a[0]), buffer, a[1] % LARGEST));
}

long do_readv(const long *a)
{
    struct iovec parts[] = {{buffer, (size_t)a[1] % 100}, {buffer + 100, (size_t)a[2] % 9000}};
    memset(buffer, 0, sizeof buffer);
    return would_wait(*slot(a[0]), POLLIN) ? WOULD_WAIT : got(readv(*slot(a[0]), parts, 2));
}

long do_pread(const long *a)
{
    return got(pread(*slot(a[0]), buffer, a[1] % LARGEST, a[2]));
}

long do_write(const long *a)
{
    fill(a[1] % LARGEST, a[2]);
    return would_wait(*slot(a[0]), POLLOUT) ? WOULD_WAIT
                                            : write(*slot(a[0]), buffer, a[1] % LARGEST);
}

long do_writev(const long *a)
{
    struct iovec parts[] = {{buffer, (size_t)a[1] % 100}, {buffer + 7, (size_t)a[2] % 9000}};
    fill(LARGEST, a[1]);
    return would_wait(*slot(a[0]), POLLOUT) ? WOULD_WAIT : writev(*slot(a[0]), parts, 2);
}

long do_pwrite(const long *a)
{
    fill(a[1] % LARGEST, a[2]);
    return pwrite(*slot(a[0]), buffer, a[1] % LARGEST, a[2] % (1 << 20));
}

long do_bad_read(const long *a)
{
    return would_wait(*slot(a[0]), POLLIN) ? WOULD_WAIT : read(*slot(a[0]), nowhere, 10);
}

long do_lseek(const long *a)
{
    static const int from[] = {SEEK_SET, SEEK_CUR, SEEK_END, SEEK_DATA, SEEK_HOLE, 77};
    return lseek(*slot(a[0]), a[1] - 1000, from[a[2] % 6]);
}

long do_dup(const long *a)
{
    return keep(a[1], dup(*slot(a[0])));
}

long do_dup2(const long *a)
{
    return dup2(*slot(a[0]), *slot(a[1]));
}

long do_dupfd(const long *a)
{
    return keep(a[1], fcntl(*slot(a[0]), F_DUPFD_CLOEXEC, (int)(a[2] % 40)));
}

long do_pipe(const long *a)
{
    int ends[2] = {-1, -1};
    long result = pipe2(ends, O_NONBLOCK);
    keep(a[0], ends[0]);
    keep(a[1], ends[1]);
    return result;
}

long do_socketpair(const long *a)
{
    int ends[2] = {-1, -1};
    long result =
        socketpair(AF_UNIX, (a[2] % 2 ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK, 0, ends);
    keep(a[0], ends[0]);
    keep(a[1], ends[1]);
    return result;
}

long do_eventfd(const long *a)
{
    return keep(a[0], eventfd((unsigned)a[1] % 9, EFD_NONBLOCK));
}

long do_send(const long *a)
{
    fill(a[1] % 4000, a[2]);
    return send(*slot(a[0]), buffer, a[1] % 4000, a[2] % 2 ? MSG_DONTWAIT : MSG_NOSIGNAL);
}

long do_recv(const long *a)
{
    return got(recv(*slot(a[0]), buffer, a[1] % 4000, MSG_DONTWAIT | (a[2] % 2 ? MSG_PEEK : 0)));
}

long do_shutdown(const long *a)
{
    return shutdown(*slot(a[0]), (int)(a[1] % 4));
}

long do_flags(const long *a)
{
    int flags = fcntl(*slot(a[0]), F_GETFL);
    if (flags >= 0 && a[1] % 2)
        return fcntl(*slot(a[0]), F_SETFL, flags ^ O_APPEND);
    return flags;
}

long do_available(const long *a)
{
    int count = -1;
    long result = ioctl(*slot(a[0]), FIONREAD, &count);
    see(&count, sizeof count);
    return result;
}

long do_lock(const long *a)
{
    struct flock lock = {.l_type = (short)(a[1] % 3), .l_start = a[2], .l_len = 10};
    return fcntl(*slot(a[0]), F_SETLK, &lock);
}

long do_poll(const long *a)
{
    struct pollfd both[] = {{*slot(a[0]), POLLIN | POLLOUT, 0}, {*slot(a[1]), POLLIN, 0}};
    long result = poll(both, 2, (int)(a[2] % 2));
    see(both, 0);
    see(&both[0].revents, sizeof both[0].revents);
    see(&both[1].revents, sizeof both[1].revents);
    return result;
}

long do_sendfile(const long *a)
{
    return would_wait(*slot(a[1]), POLLOUT)
               ? WOULD_WAIT
               : sendfile(*slot(a[1]), *slot(a[0]), NULL, (size_t)a[2] % 9000);
}

long do_copy(const long *a)
{
    return copy_file_range(*slot(a[0]), NULL, *slot(a[1]), NULL, (size_t)a[2] % 9000, 0);
}

long do_sync(const long *a)
{
    return a[1] % 2 ? fsync(*slot(a[0])) : fdatasync(*slot(a[0]));
}

long do_ftruncate(const long *a)
{
    return ftruncate(*slot(a[0]), a[1] % (1 << 18) - 5);
}

long do_fallocate(const long *a)
{
    static const int modes[] = {0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE};
    return fallocate(*slot(a[0]), modes[a[1] % 3], a[2] % 9000, a[1] % 70000);
}
