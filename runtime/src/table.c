/* SPDX-License-Identifier: MIT */
#include "table.h"

#include <linux/fcntl.h>
#include <stddef.h>
#include <sys/syscall.h>

#include "own_calls.h"

static const char THREAD[] = "creates, ends or replaces the caller";
static const char SIGNAL[] = "signal state of the calling thread";
static const char SELF[] = "names or changes the calling thread";
static const char SCHED[] = "scheduling of the calling thread";
static const char CRED[] = "credentials, which are each thread's own";
static const char FUTEX[] = "waits in the calling thread's place";
static const char TRACE[] = "the kernel ties it to the calling thread";
static const char ADMIN[] = "administrative and rare";
static const char MASK[] = "waits with the thread's signal mask";
static const char CLOCK[] = "clock or usage of the calling thread";
static const char CHILDREN[] = "waits for the thread's own children";
static const char UNKNOWN[] = "not in memsc's table";

#define FORWARD(name, class_, effect_) [SYS_##name] = {class_, effect_, false, NULL, NULL},
#define DEPENDS(name, class_, effect_) [SYS_##name] = {class_, effect_, true, NULL, NULL},
#define UNLESS(name, class_, why) [SYS_##name] = {class_, MEMSC_FD_NONE, true, NULL, why},
#define FAST(name) FORWARD(name, MEMSC_FAST, MEMSC_FD_NONE)
#define PLAIN(name) FORWARD(name, MEMSC_PLAIN, MEMSC_FD_NONE)
#define OPENS(name) FORWARD(name, MEMSC_PLAIN, MEMSC_FD_RESULT)
#define BY_FD(name) DEPENDS(name, MEMSC_FD, MEMSC_FD_NONE)
#define POOL(name) DEPENDS(name, MEMSC_POOL, MEMSC_FD_NONE)
#define LOCAL(name, why) [SYS_##name] = {MEMSC_LOCAL, MEMSC_FD_NONE, false, why, NULL},

/* clang-format off */
const struct memsc_row memsc_table[MEMSC_KNOWN] = {
    FAST(getpid) FAST(getppid) FAST(getuid) FAST(geteuid) FAST(getgid) FAST(getegid) FAST(getpgid)
    FAST(getsid) FAST(getresuid) FAST(getresgid) FAST(getgroups) FAST(times) FAST(uname)
    FAST(sysinfo) FAST(gettimeofday) FAST(lseek) FAST(umask)
    FAST(getrlimit) FAST(timerfd_gettime) FAST(getitimer)
    UNLESS(clock_gettime, MEMSC_FAST, CLOCK) UNLESS(clock_getres, MEMSC_FAST, CLOCK)
    UNLESS(getrusage, MEMSC_FAST, CLOCK)

    PLAIN(prlimit64) PLAIN(setrlimit) PLAIN(fstat) PLAIN(newfstatat) PLAIN(statx) PLAIN(faccessat)
    PLAIN(faccessat2) PLAIN(readlinkat) PLAIN(getcwd) PLAIN(chdir) PLAIN(fchdir) PLAIN(mkdirat)
    PLAIN(renameat2) PLAIN(linkat) PLAIN(unlinkat) PLAIN(symlinkat) PLAIN(fchmod) PLAIN(fchmodat)
    PLAIN(fchown) PLAIN(fchownat) PLAIN(truncate) PLAIN(ftruncate) PLAIN(fallocate) PLAIN(fsync)
    PLAIN(fdatasync) PLAIN(sync) PLAIN(syncfs) PLAIN(sync_file_range) PLAIN(statfs) PLAIN(fstatfs)
    PLAIN(utimensat) PLAIN(mknodat) PLAIN(setxattr) PLAIN(lsetxattr) PLAIN(fsetxattr)
    PLAIN(getxattr) PLAIN(lgetxattr) PLAIN(fgetxattr) PLAIN(listxattr) PLAIN(llistxattr)
    PLAIN(flistxattr) PLAIN(removexattr) PLAIN(lremovexattr) PLAIN(fremovexattr) PLAIN(getdents64)
    PLAIN(copy_file_range) PLAIN(fadvise64) PLAIN(readahead) PLAIN(name_to_handle_at)
    PLAIN(timerfd_settime) PLAIN(epoll_ctl) PLAIN(inotify_add_watch) PLAIN(inotify_rm_watch)
    PLAIN(mmap) PLAIN(munmap) PLAIN(mprotect) PLAIN(mremap) PLAIN(madvise) PLAIN(msync) PLAIN(brk)
    PLAIN(mlock) PLAIN(mlock2) PLAIN(munlock) PLAIN(mlockall) PLAIN(munlockall) PLAIN(mincore)
    PLAIN(bind) PLAIN(listen) PLAIN(getsockname) PLAIN(getpeername) PLAIN(setsockopt)
    PLAIN(getsockopt) PLAIN(shutdown) PLAIN(setitimer) PLAIN(setpgid) PLAIN(setsid)
    PLAIN(shmget) PLAIN(shmat) PLAIN(shmdt) PLAIN(shmctl) PLAIN(semget) PLAIN(semctl) PLAIN(msgget)
    PLAIN(msgctl) PLAIN(mq_unlink) PLAIN(mq_getsetattr) PLAIN(getrandom) PLAIN(process_vm_readv)
    PLAIN(process_vm_writev) PLAIN(sethostname) PLAIN(setdomainname)

    OPENS(openat) OPENS(openat2) OPENS(dup) OPENS(eventfd2) OPENS(timerfd_create)
    OPENS(epoll_create1) OPENS(inotify_init1) OPENS(memfd_create) OPENS(socket) OPENS(mq_open)
    OPENS(pidfd_open) OPENS(pidfd_getfd) OPENS(open_by_handle_at)
    FORWARD(close, MEMSC_PLAIN, MEMSC_FD_CLOSE)
    FORWARD(dup3, MEMSC_PLAIN, MEMSC_FD_SECOND)
    FORWARD(pipe2, MEMSC_PLAIN, MEMSC_FD_ALL)
    FORWARD(socketpair, MEMSC_PLAIN, MEMSC_FD_ALL)
    FORWARD(close_range, MEMSC_PLAIN, MEMSC_FD_ALL)
    DEPENDS(fcntl, MEMSC_PLAIN, MEMSC_FD_RESULT)

    BY_FD(read) BY_FD(write) BY_FD(pread64) BY_FD(pwrite64) BY_FD(readv) BY_FD(writev)
    BY_FD(preadv) BY_FD(pwritev) BY_FD(preadv2) BY_FD(pwritev2) BY_FD(ioctl) BY_FD(sendfile)

    POOL(flock) POOL(splice) POOL(tee) POOL(vmsplice) POOL(connect) POOL(sendto) POOL(recvfrom)
    POOL(sendmsg) POOL(sendmmsg) POOL(recvmmsg) UNLESS(ppoll, MEMSC_POOL, MASK)
    UNLESS(pselect6, MEMSC_POOL, MASK) UNLESS(epoll_pwait, MEMSC_POOL, MASK)
    UNLESS(wait4, MEMSC_POOL, CHILDREN) UNLESS(waitid, MEMSC_POOL, CHILDREN)
    POOL(nanosleep) POOL(clock_nanosleep) POOL(semop) POOL(semtimedop)
    POOL(msgsnd) POOL(msgrcv) POOL(mq_timedsend) POOL(mq_timedreceive)
    DEPENDS(recvmsg, MEMSC_POOL, MEMSC_FD_ALL)
    DEPENDS(accept, MEMSC_POOL, MEMSC_FD_RESULT)
    DEPENDS(accept4, MEMSC_POOL, MEMSC_FD_RESULT)

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
    LOCAL(fanotify_mark, ADMIN)
};

static const char *const names[MEMSC_KNOWN] = {
#include "names.inc"
};
/* clang-format on */

const struct memsc_row memsc_unknown = {MEMSC_LOCAL, MEMSC_FD_NONE, false, UNKNOWN, NULL};

const char *memsc_local_reason(long number)
{
    const struct memsc_row *row = memsc_row_of(number);
    return row->class == MEMSC_LOCAL && !row->reason ? UNKNOWN : row->reason;
}

const char *memsc_exception(long number)
{
    return memsc_row_of(number)->unless;
}

const char *memsc_call_name(long number)
{
    return number < 0 || number >= MEMSC_KNOWN ? NULL : names[number];
}

/* Values of the kernel's interface that its headers offer only together with libc's own types. */
enum {
    CLOCK_IS_THREADS = 3,       /* CLOCK_THREAD_CPUTIME_ID */
    USAGE_OF_THREAD = 1,        /* RUSAGE_THREAD */
    MESSAGE_DONTWAIT = 0x40,    /* MSG_DONTWAIT */
    LOCK_NONBLOCKING = 4,       /* LOCK_NB */
    WAIT_NOHANG = 1,            /* WNOHANG */
    WAIT_NOTHREAD = 0x20000000, /* __WNOTHREAD */
};

static enum memsc_class wait_unless(int does_not_wait)
{
    return does_not_wait ? MEMSC_PLAIN : MEMSC_POOL;
}

enum memsc_class memsc_class_of(long number, const uint64_t args[6],
                                int (*fd_may_block)(uint64_t descriptor))
{
    enum memsc_class class = memsc_class(number);
    if (class == MEMSC_FAST) {
        if (number == SYS_clock_gettime || number == SYS_clock_getres)
            return (int)args[0] < 0 || args[0] == CLOCK_IS_THREADS ? MEMSC_LOCAL : class;
        if (number == SYS_getrusage)
            return args[0] == USAGE_OF_THREAD ? MEMSC_LOCAL : class;
        return class;
    }
    if (class == MEMSC_FD) {
        if (number == SYS_sendfile && fd_may_block(args[1]))
            return MEMSC_POOL;
        return fd_may_block(args[0]) ? MEMSC_POOL : MEMSC_PLAIN;
    }
    if (class == MEMSC_PLAIN && number == SYS_fcntl) {
        int command = (int)args[1];
        return command == F_SETLKW || command == F_OFD_SETLKW ? MEMSC_POOL : MEMSC_PLAIN;
    }
    if (class != MEMSC_POOL)
        return class;
    int timeout = memsc_own_timeout(number);
    if (timeout >= 0)
        return wait_unless((int)args[timeout] == 0);
    switch (number) {
    case SYS_ppoll: /* a signal mask is the calling thread's */
        return args[3] ? MEMSC_LOCAL : MEMSC_POOL;
    case SYS_pselect6:
        return args[5] ? MEMSC_LOCAL : MEMSC_POOL;
    case SYS_epoll_pwait:
        return args[4] ? MEMSC_LOCAL : wait_unless((int)args[3] == 0);
    case SYS_sendto:
    case SYS_recvfrom:
        return wait_unless((args[3] & MESSAGE_DONTWAIT) != 0);
    case SYS_sendmsg:
    case SYS_recvmsg:
        return wait_unless((args[2] & MESSAGE_DONTWAIT) != 0);
    case SYS_flock:
        return wait_unless((args[1] & LOCK_NONBLOCKING) != 0);
    case SYS_wait4:
        return args[2] & WAIT_NOTHREAD ? MEMSC_LOCAL : wait_unless((args[2] & WAIT_NOHANG) != 0);
    case SYS_waitid:
        return args[3] & WAIT_NOTHREAD ? MEMSC_LOCAL : wait_unless((args[3] & WAIT_NOHANG) != 0);
    default:
        return MEMSC_POOL;
    }
}
