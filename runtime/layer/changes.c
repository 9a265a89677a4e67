/* SPDX-License-Identifier: MIT */
#include "changes.h"

#include <linux/close_range.h>
#include <linux/prctl.h>
#include <sys/syscall.h>

enum {
    ASK = 0xffffffff,          /* to personality: which is it? */
    OF_PROCESSES = 1,          /* IOPRIO_WHO_PROCESS: in truth, of one thread */
    SET_IO_FLUSHER = 57,       /* PR_SET_IO_FLUSHER, Linux 5.6 */
    SET_SCHEDULING_COOKIE = 62 /* PR_SCHED_CORE, Linux 5.14 */
};

/* Of prctl's, those that other calls of the thread are made under. Names, signals at a parent's death, what
 * exec and set*id look at, and what is the whole process's need no care. */
static bool changes_by_prctl(const uint64_t args[6])
{
    return args[0] == PR_SET_TIMERSLACK || args[0] == SET_IO_FLUSHER ||
           args[0] == SET_SCHEDULING_COOKIE;
}

bool memsc_changes_thread(long number, const uint64_t args[6])
{
    switch (number) {
    case SYS_setuid:
    case SYS_setgid:
    case SYS_setreuid:
    case SYS_setregid:
    case SYS_setresuid:
    case SYS_setresgid:
    case SYS_setgroups:
    case SYS_setfsuid:
    case SYS_setfsgid:
    case SYS_capset:
    case SYS_landlock_restrict_self:
        return true;
    case SYS_keyctl: /* keyrings hang on credentials, and what opens an encrypted file looks there */
    case SYS_add_key:
    case SYS_request_key:
        return true;
    case SYS_unshare:
    case SYS_setns:
        return true;
    case SYS_close_range:
        return (args[2] & CLOSE_RANGE_UNSHARE) != 0;
    case SYS_personality:
        return (uint32_t)args[0] != ASK;
    case SYS_set_mempolicy:
        return true;
    case SYS_ioprio_set:
        return args[0] == OF_PROCESSES;
    case SYS_prctl:
        return changes_by_prctl(args);
    default:
        return false;
    }
}
