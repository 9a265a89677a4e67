/* SPDX-License-Identifier: MIT */
#include "lost_signals.h"

#include <asm/signal.h>
#include <errno.h>
#include <linux/resource.h>
#include <stdbool.h>
#include <sys/syscall.h>

#include "../src/cpu.h"

/* Values whose headers are the C library's own. */
enum { NO_SIGNAL = 0x4000 /* MSG_NOSIGNAL */, SOCKET_LEVEL = 1, SOCKET_TYPE = 3, STREAM = 1 };

static void raise_here(int signal)
{
    long process = MEMSC_SYS(SYS_getpid, 0, 0, 0, 0, 0, 0);
    long thread = MEMSC_SYS(SYS_gettid, 0, 0, 0, 0, 0, 0);
    MEMSC_SYS(SYS_tgkill, process, thread, signal, 0, 0, 0);
}

/* A pipe without a reader always raises it, a socket only if it is a stream. */
static bool is_stream(uint64_t descriptor)
{
    int type = 0, size = sizeof type;
    long error = MEMSC_SYS(SYS_getsockopt, descriptor, SOCKET_LEVEL, SOCKET_TYPE, &type, &size, 0);
    return error < 0 || type == STREAM;
}

static bool writes_pipe(long number, const uint64_t args[6], uint64_t *descriptor)
{
    *descriptor = args[0];
    switch (number) {
    case SYS_write:
    case SYS_writev:
    case SYS_pwritev2:
    case SYS_sendfile:
    case SYS_vmsplice:
        return true;
    case SYS_sendto:
        return !(args[3] & NO_SIGNAL);
    case SYS_sendmsg:
        return !(args[2] & NO_SIGNAL);
    case SYS_sendmmsg:
        return !(args[3] & NO_SIGNAL);
    case SYS_splice:
        *descriptor = args[2];
        return true;
    case SYS_tee:
        *descriptor = args[1];
        return true;
    default:
        return false;
    }
}

/* A file can also be too large for its file system, which raises nothing. */
static bool over_own_limit(long number)
{
    struct rlimit64 limit = {0, 0};
    switch (number) {
    case SYS_write:
    case SYS_writev:
    case SYS_pwrite64:
    case SYS_pwritev:
    case SYS_pwritev2:
    case SYS_truncate:
    case SYS_ftruncate:
    case SYS_fallocate:
    case SYS_sendfile:
    case SYS_splice:
    case SYS_copy_file_range:
        return MEMSC_SYS(SYS_prlimit64, 0, RLIMIT_FSIZE, 0, &limit, 0, 0) == 0 &&
               limit.rlim_cur != RLIM64_INFINITY;
    default:
        return false;
    }
}

void memsc_raise_lost_signal(long number, const uint64_t args[6], long result)
{
    uint64_t descriptor;
    if (result == -EPIPE && writes_pipe(number, args, &descriptor) && is_stream(descriptor))
        raise_here(SIGPIPE);
    if (result == -EFBIG && over_own_limit(number))
        raise_here(SIGXFSZ);
}
