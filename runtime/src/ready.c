/* SPDX-License-Identifier: MIT */
#include "ready.h"

#include <asm/poll.h>
#include <sys/syscall.h>

#include "cpu.h"

enum {
    WAITALL = 0x100,     /* MSG_WAITALL; its header is the C library's */
    AT_ONCE_MOST = 4096, /* bytes that a pipe takes whole once it takes any: PIPE_BUF */
};

/* Events to ask for; 0: no answer would tell. */
static short wanted(long number, const uint64_t args[6])
{
    switch (number) {
    case SYS_read:
    case SYS_readv:
#ifdef SYS_accept
    case SYS_accept:
#endif
    case SYS_accept4:
        return POLLIN;
    case SYS_recvfrom:
        return args[3] & WAITALL ? 0 : POLLIN;
    case SYS_recvmsg:
        return args[2] & WAITALL ? 0 : POLLIN;
    case SYS_write:
    case SYS_sendto:
        return args[2] <= AT_ONCE_MOST ? POLLOUT : 0;
    default:
        return 0;
    }
}

bool memsc_ready_now(long number, const uint64_t args[6])
{
    struct pollfd asked = {(int)args[0], wanted(number, args), 0};
    const struct {
        int64_t seconds, nanoseconds;
    } at_once = {0, 0};
    /* Errors and hang-ups answer at once, too, and so does what cannot be asked: the call fails. */
    return asked.events && MEMSC_SYS(SYS_ppoll, &asked, 1, &at_once, 0, 0, 0) > 0;
}
