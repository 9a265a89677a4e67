/* SPDX-License-Identifier: MIT */
#include "thread_self.h"

#include <stddef.h>
#include <sys/syscall.h>

#include "../src/cpu.h"
#include "own_calls.h"

enum { KNOWN = 512, NO_PATH = 0, FIRST, SECOND, OPENS = 4 };

static const uint8_t paths[KNOWN] = {[SYS_openat] = SECOND | OPENS,
                                     [SYS_openat2] = SECOND | OPENS,
                                     [SYS_newfstatat] = SECOND,
                                     [SYS_statx] = SECOND,
                                     [SYS_faccessat] = SECOND,
                                     [SYS_faccessat2] = SECOND,
                                     [SYS_readlinkat] = SECOND,
                                     [SYS_chdir] = FIRST,
                                     MEMSC_OWN_PATHS};

bool memsc_met_wrong_thread(long number, const uint64_t args[6], long result)
{
    static const char prefix[] = "/proc/thread-self";
    if (number < 0 || number >= KNOWN || paths[number] == NO_PATH || result < 0)
        return false;
    /* Only now is it certain that there is a string: the kernel has read it. An empty one is valid
     * too, and statx takes NULL for one. */
    const char *path = (const char *)args[(paths[number] & 3) - 1];
    if (!path)
        return false;
    for (size_t i = 0; prefix[i]; i++)
        if (path[i] != prefix[i])
            return false;
    if (paths[number] & OPENS)
        MEMSC_SYS(SYS_close, result, 0, 0, 0, 0, 0);
    return true;
}
