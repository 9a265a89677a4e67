/* SPDX-License-Identifier: MIT */
#include "ready.h"

#include <asm/poll.h>
#include <sys/syscall.h>

#include "barrier.h"
#include "cpu.h"
#include "kinds.h"
#include "process.h"
#include "table.h"

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

bool memsc_waits_unasked(long number, const uint64_t args[6])
{
    return !wanted(number, args) && memsc_class_of(number, args, memsc_no_kind) == MEMSC_POOL;
}

bool memsc_may_wait_here(const struct memsc_self *self, long number, const uint64_t args[6])
{
    if (memsc_class_of(number, args, memsc_kind_known) != MEMSC_POOL)
        return false;
    const struct memsc_process *process = memsc_process();
    if (!wanted(number, args))
        return true;
    /* Of `ipi` it is what is to be seen. */
    return memsc_needs_own_cpu(process->transport) &&
           (process->service_mode == MEMSC_SCANNER || load_relaxed(self->doorbell));
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
