/* SPDX-License-Identifier: MIT */
#include "table.h"

#include <linux/fcntl.h>
#include <stddef.h>
#include <sys/syscall.h>

#include "barrier.h"
#include "flags.h"
#include "layout.h"
#include "own_calls.h"

static const char THREAD[] = "creates, ends or replaces the caller";
static const char SIGNAL[] = "signal state of the calling thread";
static const char SELF[] = "names or changes the calling thread";
static const char SCHED[] = "scheduling of the calling thread";
static const char CRED[] = "credentials, which are each thread's own";
static const char FUTEX[] = "waits in the calling thread's place";
static const char TRACE[] = "the kernel ties it to the calling thread";
static const char ADMIN[] = "administrative and rare";
static const char CLOCK[] = "clock or usage of the calling thread";
static const char CHILDREN[] = "waits for the thread's own children";
static const char FLAGS[] = "flags that memsc's table does not know";
static const char WAITS[] = "waits with the thread's signal mask, or perhaps for its signals";
static const char OWNER[] = "makes the calling thread an owner, or is not in memsc's table";
static const char DEVICE[] =
    "commands that are not in memsc's table: drivers may look at the thread";
static const char OWN_FILE[] =
    "files that look at the thread: signals, /proc, a terminal in the background";
static const char FILES[] =
    "gives the thread files of its own, or goes around what memsc keeps open";
static const char UNKNOWN[] = "not in memsc's table";

enum { CALLER = MEMSC_CALLER_LOOKS, SERVICE = MEMSC_SERVICE_LOOKS, BOTH = CALLER | SERVICE };

#define ROW(name, ...) [SYS_##name] = {__VA_ARGS__},
#define FORWARD(name, class_, effect_) ROW(name, class_, effect_, 0, 0, 0, NULL, NULL)
#define KNOWS(name, class_, effect_, at, bits) BOTH_OF(name, class_, effect_, at, bits, FLAGS)
#define DEPENDS(name, class_, effect_) ROW(name, class_, effect_, SERVICE, 0, 0, NULL, NULL)
#define UNLESS(name, class_, effect_, why) ROW(name, class_, effect_, BOTH, 0, 0, NULL, why)
#define BOTH_OF(name, class_, effect_, at, bits, why)                                              \
    ROW(name, class_, effect_, BOTH, 1 + (at), bits, NULL, why)
#define FAST(name) FORWARD(name, MEMSC_FAST, MEMSC_FD_NONE)
#define PLAIN(name) FORWARD(name, MEMSC_PLAIN, MEMSC_FD_NONE)
#define FLAGGED(name, at, bits) KNOWS(name, MEMSC_PLAIN, MEMSC_FD_NONE, at, bits)
#define OPENS(name) FORWARD(name, MEMSC_PLAIN, MEMSC_FD_RESULT)
#define OPENS_BY(name, at, bits) KNOWS(name, MEMSC_PLAIN, MEMSC_FD_RESULT, at, bits)
#define BY_FD(name) ROW(name, MEMSC_FD, MEMSC_FD_NONE, SERVICE, 0, 0, NULL, OWN_FILE)
#define POOL(name) DEPENDS(name, MEMSC_POOL, MEMSC_FD_NONE)
#define POOL_BY(name, at, bits) KNOWS(name, MEMSC_POOL, MEMSC_FD_NONE, at, bits)
#define LOCAL(name, why) ROW(name, MEMSC_LOCAL, MEMSC_FD_NONE, 0, 0, 0, why, NULL)

/* clang-format off */
const struct memsc_row memsc_table[MEMSC_KNOWN] = {
    FAST(getpid) FAST(getppid) FAST(getuid) FAST(geteuid) FAST(getgid) FAST(getegid) FAST(getpgid)
    FAST(getsid) FAST(getresuid) FAST(getresgid) FAST(getgroups) FAST(times) FAST(uname)
    FAST(sysinfo) FAST(gettimeofday) FAST(lseek) FAST(umask)
    FAST(getrlimit) FAST(timerfd_gettime) FAST(getitimer)
    UNLESS(clock_gettime, MEMSC_FAST, MEMSC_FD_NONE, CLOCK)
    UNLESS(clock_getres, MEMSC_FAST, MEMSC_FD_NONE, CLOCK)
    UNLESS(getrusage, MEMSC_FAST, MEMSC_FD_NONE, CLOCK)

    PLAIN(prlimit64) PLAIN(setrlimit) PLAIN(fstat) FLAGGED(newfstatat, 3, MEMSC_AT_STAT)
    FLAGGED(statx, 2, MEMSC_AT_STAT) PLAIN(faccessat)
    FLAGGED(faccessat2, 3, MEMSC_AT_NOFOLLOW | MEMSC_AT_REMOVE | MEMSC_AT_EMPTY)
    PLAIN(readlinkat) PLAIN(getcwd) PLAIN(chdir) PLAIN(fchdir) PLAIN(mkdirat)
    FLAGGED(renameat2, 4, MEMSC_RENAME_FLAGS)
    FLAGGED(linkat, 4, MEMSC_AT_FOLLOW | MEMSC_AT_EMPTY) FLAGGED(unlinkat, 2, MEMSC_AT_REMOVE)
    PLAIN(symlinkat) PLAIN(fchmod) PLAIN(fchmodat) PLAIN(fchown)
    FLAGGED(fchownat, 4, MEMSC_AT_NOFOLLOW | MEMSC_AT_EMPTY)
    PLAIN(truncate) PLAIN(ftruncate) FLAGGED(fallocate, 1, MEMSC_FALLOCATE) PLAIN(fsync)
    PLAIN(fdatasync) PLAIN(sync) PLAIN(syncfs) FLAGGED(sync_file_range, 3, MEMSC_SYNC_FLAGS)
    PLAIN(statfs) PLAIN(fstatfs) FLAGGED(utimensat, 3, MEMSC_AT_NOFOLLOW | MEMSC_AT_EMPTY)
    PLAIN(mknodat) FLAGGED(setxattr, 4, MEMSC_XATTR_FLAGS) FLAGGED(lsetxattr, 4, MEMSC_XATTR_FLAGS)
    FLAGGED(fsetxattr, 4, MEMSC_XATTR_FLAGS)
    PLAIN(getxattr) PLAIN(lgetxattr) PLAIN(fgetxattr) PLAIN(listxattr) PLAIN(llistxattr)
    PLAIN(flistxattr) PLAIN(removexattr) PLAIN(lremovexattr) PLAIN(fremovexattr) PLAIN(getdents64)
    FLAGGED(copy_file_range, 5, 0) FLAGGED(fadvise64, 3, 7) PLAIN(readahead)
    FLAGGED(name_to_handle_at, 4, MEMSC_AT_HANDLE) FLAGGED(timerfd_settime, 1, MEMSC_TIMER_FLAGS)
    UNLESS(epoll_ctl, MEMSC_PLAIN, MEMSC_FD_NONE, WAITS) FLAGGED(inotify_add_watch, 2, MEMSC_WATCH_FLAGS) PLAIN(inotify_rm_watch)
    FLAGGED(mmap, 3, MEMSC_MAP_FLAGS) PLAIN(munmap) FLAGGED(mprotect, 2, MEMSC_PROTECTION)
    FLAGGED(mremap, 3, MEMSC_REMAP_FLAGS) UNLESS(madvise, MEMSC_PLAIN, MEMSC_FD_NONE, FLAGS)
    FLAGGED(msync, 2, MEMSC_SYNC_FLAGS) PLAIN(brk) PLAIN(mlock) FLAGGED(mlock2, 2, MEMSC_LOCK_FLAGS)
    PLAIN(munlock) FLAGGED(mlockall, 0, MEMSC_LOCK_FLAGS) PLAIN(munlockall) PLAIN(mincore)
    PLAIN(bind) PLAIN(listen) PLAIN(getsockname) PLAIN(getpeername) PLAIN(setsockopt)
    PLAIN(getsockopt) PLAIN(shutdown) PLAIN(setitimer) PLAIN(setpgid) PLAIN(setsid)
    FLAGGED(shmget, 2, MEMSC_SHM_FLAGS) FLAGGED(shmat, 2, MEMSC_ATTACH_FLAGS) PLAIN(shmdt)
    PLAIN(shmctl) FLAGGED(semget, 2, MEMSC_IPC_FLAGS) PLAIN(semctl)
    FLAGGED(msgget, 1, MEMSC_IPC_FLAGS) PLAIN(msgctl) PLAIN(mq_unlink) PLAIN(mq_getsetattr)
    FLAGGED(getrandom, 2, MEMSC_RANDOM_FLAGS) FLAGGED(process_vm_readv, 5, 0)
    FLAGGED(process_vm_writev, 5, 0) PLAIN(sethostname) PLAIN(setdomainname)

    OPENS_BY(openat, 2, MEMSC_OPEN_FLAGS) OPENS(dup)
    OPENS_BY(eventfd2, 1, MEMSC_EVENTFD_FLAGS) OPENS_BY(timerfd_create, 1, MEMSC_FD_FLAGS)
    OPENS_BY(epoll_create1, 0, MEMSC_FD_FLAGS) OPENS_BY(inotify_init1, 0, MEMSC_FD_FLAGS)
    OPENS_BY(memfd_create, 1, MEMSC_MEMFD_FLAGS) OPENS_BY(socket, 1, MEMSC_SOCKET_TYPE)
    OPENS_BY(mq_open, 1, MEMSC_OPEN_FLAGS) OPENS_BY(pidfd_open, 1, MEMSC_PIDFD_FLAGS)
    OPENS_BY(pidfd_getfd, 2, 0) OPENS_BY(open_by_handle_at, 2, MEMSC_OPEN_FLAGS)
    FORWARD(close, MEMSC_PLAIN, MEMSC_FD_CLOSE)
    KNOWS(dup3, MEMSC_PLAIN, MEMSC_FD_SECOND, 2, MEMSC_CLOSE_ON_EXEC)
    FLAGGED(pipe2, 1, MEMSC_PIPE_FLAGS) FLAGGED(socketpair, 1, MEMSC_SOCKET_TYPE)
    BOTH_OF(close_range, MEMSC_PLAIN, MEMSC_FD_ALL, 2, MEMSC_CLOSE_FLAGS, FILES)
    UNLESS(fcntl, MEMSC_PLAIN, MEMSC_FD_RESULT, OWNER)

    BY_FD(read) BY_FD(write) BY_FD(pread64) BY_FD(pwrite64) BY_FD(readv) BY_FD(writev)
    BY_FD(preadv) BY_FD(pwritev) BY_FD(sendfile)
    BOTH_OF(preadv2, MEMSC_FD, MEMSC_FD_NONE, 5, MEMSC_RW_FLAGS, OWN_FILE)
    BOTH_OF(pwritev2, MEMSC_FD, MEMSC_FD_NONE, 5, MEMSC_RW_FLAGS, OWN_FILE)
    UNLESS(ioctl, MEMSC_FD, MEMSC_FD_NONE, DEVICE)

    POOL_BY(flock, 1, MEMSC_LOCKING) POOL_BY(splice, 5, MEMSC_SPLICE_FLAGS)
    POOL_BY(tee, 3, MEMSC_SPLICE_FLAGS) POOL_BY(vmsplice, 3, MEMSC_SPLICE_FLAGS) POOL(connect)
    POOL_BY(sendto, 3, MEMSC_MESSAGE_FLAGS) POOL_BY(recvfrom, 3, MEMSC_MESSAGE_FLAGS)
    POOL_BY(sendmsg, 2, MEMSC_MESSAGE_FLAGS) POOL_BY(recvmsg, 2, MEMSC_MESSAGE_FLAGS)
    POOL_BY(sendmmsg, 3, MEMSC_MESSAGE_FLAGS) POOL_BY(recvmmsg, 3, MEMSC_MESSAGE_FLAGS)
    UNLESS(ppoll, MEMSC_POOL, MEMSC_FD_NONE, WAITS) UNLESS(pselect6, MEMSC_POOL, MEMSC_FD_NONE, WAITS)
    UNLESS(epoll_pwait, MEMSC_POOL, MEMSC_FD_NONE, WAITS)
    BOTH_OF(wait4, MEMSC_POOL, MEMSC_FD_NONE, 2, MEMSC_WAIT_FLAGS, CHILDREN)
    BOTH_OF(waitid, MEMSC_POOL, MEMSC_FD_NONE, 3, MEMSC_WAITID_FLAGS, CHILDREN)
    POOL(nanosleep) UNLESS(clock_nanosleep, MEMSC_POOL, MEMSC_FD_NONE, CLOCK) POOL(semop)
    POOL(semtimedop) POOL_BY(msgsnd, 3, MEMSC_IPC_FLAGS) POOL_BY(msgrcv, 4, MEMSC_RECEIVE_FLAGS)
    POOL(mq_timedsend) POOL(mq_timedreceive)
    DEPENDS(accept, MEMSC_POOL, MEMSC_FD_RESULT)
    KNOWS(accept4, MEMSC_POOL, MEMSC_FD_RESULT, 3, MEMSC_FD_FLAGS)

    MEMSC_OWN_ROWS

    LOCAL(clone, THREAD) LOCAL(clone3, THREAD) LOCAL(execve, THREAD) LOCAL(execveat, THREAD)
    LOCAL(exit, THREAD) LOCAL(exit_group, THREAD)
    LOCAL(rt_sigreturn, SIGNAL) LOCAL(rt_sigprocmask, SIGNAL) LOCAL(sigaltstack, SIGNAL)
    LOCAL(rt_sigsuspend, SIGNAL) LOCAL(rt_sigtimedwait, SIGNAL) LOCAL(rt_sigpending, SIGNAL)
    LOCAL(rt_sigaction, SIGNAL) LOCAL(signalfd4, SIGNAL) LOCAL(restart_syscall, SIGNAL)
    LOCAL(kill, SIGNAL) LOCAL(tkill, SIGNAL) LOCAL(tgkill, SIGNAL) LOCAL(rt_sigqueueinfo, SIGNAL)
    LOCAL(rt_tgsigqueueinfo, SIGNAL) LOCAL(pidfd_send_signal, SIGNAL) LOCAL(timer_create, SIGNAL)
    LOCAL(timer_settime, SIGNAL) LOCAL(timer_gettime, SIGNAL) LOCAL(timer_getoverrun, SIGNAL)
    LOCAL(timer_delete, SIGNAL)
    LOCAL(gettid, SELF) LOCAL(set_tid_address, SELF) LOCAL(set_robust_list, SELF)
    LOCAL(get_robust_list, SELF) LOCAL(rseq, SELF) LOCAL(prctl, SELF) LOCAL(personality, SELF)
    LOCAL(getcpu, SELF) LOCAL(capget, SELF) LOCAL(membarrier, SELF) LOCAL(pkey_alloc, SELF)
    LOCAL(pkey_free, SELF) LOCAL(pkey_mprotect, SELF) LOCAL(mbind, SELF) LOCAL(set_mempolicy, SELF)
    LOCAL(get_mempolicy, SELF)
    LOCAL(sched_yield, SCHED) LOCAL(sched_setaffinity, SCHED) LOCAL(sched_getaffinity, SCHED)
    LOCAL(sched_setparam, SCHED) LOCAL(sched_getparam, SCHED) LOCAL(sched_setscheduler, SCHED)
    LOCAL(sched_getscheduler, SCHED) LOCAL(sched_setattr, SCHED) LOCAL(sched_getattr, SCHED)
    LOCAL(sched_get_priority_max, SCHED) LOCAL(sched_get_priority_min, SCHED)
    LOCAL(sched_rr_get_interval, SCHED) LOCAL(getpriority, SCHED) LOCAL(setpriority, SCHED)
    LOCAL(ioprio_get, SCHED) LOCAL(ioprio_set, SCHED)
    LOCAL(setuid, CRED) LOCAL(setgid, CRED) LOCAL(setreuid, CRED) LOCAL(setregid, CRED)
    LOCAL(setresuid, CRED) LOCAL(setresgid, CRED) LOCAL(setfsuid, CRED) LOCAL(setfsgid, CRED)
    LOCAL(setgroups, CRED) LOCAL(capset, CRED) LOCAL(unshare, CRED) LOCAL(setns, CRED)
    LOCAL(seccomp, CRED) LOCAL(landlock_restrict_self, CRED) LOCAL(keyctl, CRED)
    LOCAL(add_key, CRED) LOCAL(request_key, CRED)
    LOCAL(futex, FUTEX) LOCAL(futex_waitv, FUTEX) LOCAL(io_uring_enter, FUTEX)
    LOCAL(io_uring_setup, TRACE) LOCAL(io_uring_register, TRACE) LOCAL(ptrace, TRACE)
    LOCAL(perf_event_open, TRACE) LOCAL(bpf, TRACE) LOCAL(userfaultfd, TRACE)
    LOCAL(io_setup, TRACE) LOCAL(io_submit, TRACE) LOCAL(io_getevents, TRACE)
    LOCAL(io_destroy, TRACE) LOCAL(io_cancel, TRACE) LOCAL(io_pgetevents, TRACE)
    LOCAL(mount, ADMIN) LOCAL(umount2, ADMIN) LOCAL(pivot_root, ADMIN) LOCAL(chroot, ADMIN)
    LOCAL(swapon, ADMIN) LOCAL(swapoff, ADMIN) LOCAL(reboot, ADMIN) LOCAL(acct, ADMIN)
    LOCAL(quotactl, ADMIN) LOCAL(settimeofday, ADMIN) LOCAL(clock_settime, ADMIN)
    LOCAL(adjtimex, ADMIN) LOCAL(clock_adjtime, ADMIN) LOCAL(init_module, ADMIN)
    LOCAL(finit_module, ADMIN) LOCAL(delete_module, ADMIN) LOCAL(syslog, ADMIN)
    LOCAL(vhangup, ADMIN) LOCAL(kcmp, ADMIN) LOCAL(fanotify_init, ADMIN)
    LOCAL(fanotify_mark, ADMIN) LOCAL(openat2, FLAGS)
};

static const char *const names[MEMSC_KNOWN] = {
#include "names.inc"
};
/* clang-format on */

const struct memsc_row memsc_unknown = {MEMSC_LOCAL, MEMSC_FD_NONE, 0, 0, 0, UNKNOWN, NULL};

const char *memsc_local_reason(long number)
{
    const struct memsc_row *row = memsc_row_of(number);
    return row->class == MEMSC_LOCAL && !row->reason ? UNKNOWN : row->reason;
}

const char *memsc_exception(long number)
{
    return memsc_row_of(number)->unless;
}

static const char *const missed_reasons[MEMSC_UNFORWARDED_REASONS] = {
    "signal handler on top of another call",    "vfork child, in its parent's memory",
    "thread shares its thread-local storage",   "thread has credentials or files of its own",
    "after the program's own seccomp filter",   "no service there, or no free page",
    "all entries of the thread were in flight", "thread has other memory protection keys",
    "program has looked at its own threads",    "thread ran on the CPU of its service",
};

const char *memsc_missed_reason(uint32_t reason)
{
    return reason < MEMSC_UNFORWARDED_REASONS ? missed_reasons[reason] : NULL;
}

const char *memsc_call_name(long number)
{
    return number < 0 || number >= MEMSC_KNOWN ? NULL : names[number];
}

static _Atomic bool signals_watched; /* and so it is in a forked child */

void memsc_signals_are_watched(void)
{
    store_relaxed(&signals_watched, true);
}

/* Values of the kernel's interface that its headers offer only together with libc's own types. */
enum {
    CLOCK_IS_THREADS = 3,    /* CLOCK_THREAD_CPUTIME_ID */
    USAGE_OF_THREAD = 1,     /* RUSAGE_THREAD */
    MESSAGE_DONTWAIT = 0x40, /* MSG_DONTWAIT */
    LOCK_NONBLOCKING = 4,    /* LOCK_NB */
    WAIT_NOHANG = 1,         /* WNOHANG */
};

static enum memsc_class wait_unless(int does_not_wait)
{
    return does_not_wait ? MEMSC_PLAIN : MEMSC_POOL;
}

/* What waits for several descriptors, one of which may be of signals. */
static enum memsc_class watch_unless(int does_not_wait)
{
    return load_relaxed(&signals_watched) ? MEMSC_LOCAL : wait_unless(does_not_wait);
}

/* Clocks that go on alike for all; the others are of a thread, a process or a device. */
static bool is_common_clock(uint64_t clock)
{
    const uint64_t common =
        1 << 0 | 1 << 1 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 11;
    return clock < 12 && common >> clock & 1;
}

/* Advice about the process's memory. */
static bool is_known_advice(uint64_t advice)
{
    return advice <= 25 || (advice >= 100 && advice <= 103);
}

/* Commands of fcntl that concern the descriptor or the process's files: not those that make an owner of
 * signals (F_SETOWN, F_SETSIG, F_SETLEASE, F_NOTIFY, O_ASYNC), nor any that is new. */
static enum memsc_class class_of_fcntl(const uint64_t args[6])
{
    enum { FIRST_SIMPLE = 1031, LAST_SIMPLE = 1038 }; /* sizes of pipes, seals, hints */
    int command = (int)args[1];
    switch (command) {
    case F_SETLKW:
    case F_OFD_SETLKW:
        return MEMSC_POOL;
    case F_SETFL:
        return args[2] & MEMSC_ASYNC ? MEMSC_LOCAL : MEMSC_PLAIN;
    case F_DUPFD:
    case F_GETFD:
    case F_SETFD:
    case F_GETFL:
    case F_GETLK:
    case F_SETLK:
    case F_OFD_GETLK:
    case F_OFD_SETLK:
    case F_DUPFD_CLOEXEC:
        return MEMSC_PLAIN;
    default:
        return command >= FIRST_SIMPLE && command <= LAST_SIMPLE ? MEMSC_PLAIN : MEMSC_LOCAL;
    }
}

/* Commands of ioctl that every driver has alike, and that ask or concern the descriptor alone. */
static bool is_common_command(uint64_t command)
{
    switch ((uint32_t)command) {
    case 0x5401:     /* TCGETS */
    case 0x540f:     /* TIOCGPGRP */
    case 0x5411:     /* TIOCOUTQ */
    case 0x5413:     /* TIOCGWINSZ */
    case 0x541b:     /* FIONREAD */
    case 0x5421:     /* FIONBIO */
    case 0x5450:     /* FIONCLEX */
    case 0x5451:     /* FIOCLEX */
    case 0x5460:     /* FIOQSIZE */
    case 0x1260:     /* BLKGETSIZE */
    case 0x1268:     /* BLKSSZGET */
    case 0x80081272: /* BLKGETSIZE64 */
    case 0x80086601: /* FS_IOC_GETFLAGS */
    case 0x40049409: /* FICLONE */
    case 0x4020940d: /* FICLONERANGE */
    case 0xc020660b: /* FS_IOC_FIEMAP */
        return true;
    default: /* SIOCGIFNAME … SIOCGIFINDEX: of network interfaces */
        return (uint32_t)command >= 0x8910 && (uint32_t)command <= 0x8933;
    }
}

static enum memsc_class class_of_fd(long number, const uint64_t args[6],
                                    enum memsc_kind (*kind_of)(long, uint64_t))
{
    enum memsc_kind kind = kind_of(number, args[0]);
    if (number == SYS_sendfile && kind == MEMSC_KIND_STORAGE)
        kind = kind_of(SYS_read, args[1]);
    return kind == MEMSC_KIND_OWN     ? MEMSC_LOCAL
           : kind == MEMSC_KIND_WAITS ? MEMSC_POOL
                                      : MEMSC_PLAIN;
}

enum memsc_kind memsc_no_kind(long number, uint64_t descriptor)
{
    (void)number, (void)descriptor;
    return MEMSC_KIND_STORAGE;
}

enum memsc_class memsc_class_of(long number, const uint64_t args[6],
                                enum memsc_kind (*kind)(long number, uint64_t descriptor))
{
    const struct memsc_row *row = memsc_row_of(number);
    /* Of flags the kernel looks at 32 bits. */
    if (row->flags && (uint32_t)args[row->flags - 1] & ~row->known)
        return MEMSC_LOCAL;
    if (number == SYS_ioctl && !is_common_command(args[1]))
        return MEMSC_LOCAL;
    if (row->class == MEMSC_FD)
        return class_of_fd(number, args, kind);
    int own_timeout = memsc_own_timeout(number);
    if (own_timeout >= 0)
        return watch_unless(own_timeout && (int)args[own_timeout] == 0);
    switch (number) {
    case SYS_clock_gettime:
    case SYS_clock_getres:
        return (int)args[0] < 0 || args[0] == CLOCK_IS_THREADS ? MEMSC_LOCAL : MEMSC_FAST;
    case SYS_clock_nanosleep:
        return is_common_clock(args[0]) && args[1] <= 1 ? MEMSC_POOL : MEMSC_LOCAL;
    case SYS_getrusage:
        return args[0] == USAGE_OF_THREAD ? MEMSC_LOCAL : MEMSC_FAST;
    case SYS_epoll_ctl: /* looks whether there is something to wait for */
        return watch_unless(1);
    case SYS_madvise:
        return is_known_advice(args[2]) ? MEMSC_PLAIN : MEMSC_LOCAL;
    case SYS_fcntl:
        return class_of_fcntl(args);
    case SYS_ppoll: /* a signal mask is the calling thread's */
        return args[3] ? MEMSC_LOCAL : watch_unless(0);
    case SYS_pselect6:
        return args[5] ? MEMSC_LOCAL : watch_unless(0);
    case SYS_epoll_pwait:
        return args[4] ? MEMSC_LOCAL : watch_unless((int)args[3] == 0);
    case SYS_sendto:
    case SYS_recvfrom:
        return wait_unless((args[3] & MESSAGE_DONTWAIT) != 0);
    case SYS_sendmsg:
    case SYS_recvmsg:
        return wait_unless((args[2] & MESSAGE_DONTWAIT) != 0);
    case SYS_flock:
        return wait_unless((args[1] & LOCK_NONBLOCKING) != 0);
    case SYS_wait4:
        return wait_unless((args[2] & WAIT_NOHANG) != 0);
    case SYS_waitid:
        return wait_unless((args[3] & WAIT_NOHANG) != 0);
    default:
        return (enum memsc_class)row->class;
    }
}
