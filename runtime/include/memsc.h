/* SPDX-License-Identifier: MIT
 *
 * libmemsc: post system calls in shared memory, have them executed on another CPU.
 *
 * Functions return 0 or a positive value on success and -errno on failure; none of them sets errno.
 * A thread registers once and then owns a syspage; its calls concern that page alone, so threads
 * need no lock among themselves. An index (0 … 63) names a call in flight of the calling thread.
 */
#ifndef MEMSC_H
#define MEMSC_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MEMSC_API __attribute__((visibility("default")))

enum { MEMSC_ADAPTIVE_US = 50 /* about what a sleep and its wake-up cost */ };

/* How the process forwards. memsc_options_default() fills it from the MEMSC_* environment. A later version
 * may have more at its end; size tells which one a program was compiled with. */
struct memsc_options {
    uint32_t size;         /* sizeof(struct memsc_options), set by memsc_options_default() */
    uint32_t transport;    /* enum memsc_transport: 0 direct, 1 ipi, 2 memsc, 3 adaptive */
    uint32_t service_mode; /* enum memsc_service_mode: 0 inline, 1 scanner */
    uint32_t services;     /* entries used in service_cpus */
    uint32_t service_cpus[16];
    uint32_t idle_us;      /* the service parks after this long without a call; UINT32_MAX: never */
    uint32_t spin_us;      /* a caller sleeps after polling this long; UINT32_MAX: never */
    uint32_t recording;    /* 1: record from the start; N: one of N calls, at random */
    uint32_t ring_policy;  /* enum memsc_ring_policy: 0 drop, 1 wait */
    uint64_t ring_records; /* records of each call ring, rounded up to a power of two */
    uint64_t
        probe_every;     /* one of so many calls passes the static probes while they are attached */
    uint32_t keep;       /* 1: leave the region's file for a reader when the process ends */
    char directory[256]; /* where the region's file is made; "" makes an anonymous one */
    int32_t
        session_socket; /* descriptor by which a session wants the region, which then has no file … */
    uint64_t session_inode; /* … if it leads to this socket; 0: none does */
    uint32_t handoff;       /* enum memsc_handoff: 0 as is best on this processor */
};

/* Defaults, with both times MEMSC_ADAPTIVE_US if MEMSC_TRANSPORT says so; overridden by
 * MEMSC_TRANSPORT, MEMSC_SERVICE, MEMSC_SERVICE_CPUS, MEMSC_IDLE_US, MEMSC_SPIN_US, MEMSC_RECORD,
 * MEMSC_RING, MEMSC_RING_POLICY, MEMSC_KEEP, MEMSC_DIRECTORY, MEMSC_PROBE_EVERY, MEMSC_SOCKET,
 * MEMSC_HANDOFF. A set-uid program, or one with capabilities of its own, gets the defaults alone. size is
 * sizeof *options; what a later version has there, and this one does not know, becomes 0.
 * -EINVAL: a variable holds something else than documented, and its name is in *wrong if that is not
 * NULL; or the size is none of this or a later version, and *wrong is "size". */
MEMSC_API int memsc_options_default(struct memsc_options *options, uint32_t size,
                                    const char **wrong);

/* Starts region and service of this process. NULL: memsc_options_default().
 * -EALREADY: started already. -EINVAL: an option is out of range. -E2BIG: one is set that only a later
 * version knows. -ENXIO: a service CPU does not
 * exist or this process may not run on it. -ENOSPC: no room for the region. */
MEMSC_API int memsc_start(const struct memsc_options *options);

/* Ends the service. -EBUSY: a thread is still registered. -ENOTCONN: not started. */
MEMSC_API int memsc_stop(void);

/* Gives the calling thread a syspage, starting the process if need be. -EALREADY: it has one.
 * -EAGAIN: all MEMSC_MAX_SLOTS are taken. Errors of memsc_start. */
MEMSC_API int memsc_register(void);

/* Gives it back after every call in flight has finished (their results are discarded).
 * -ENOTCONN: not registered. */
MEMSC_API int memsc_unregister(void);

/* Executes one system call and waits for it; *result is the kernel's value or -errno.
 * -ENOTCONN: not registered. -EAGAIN: 64 calls are in flight, and the transport is not direct. */
MEMSC_API int memsc_call(long number, const long args[6], long *result);

/* Posts a system call and returns its index at once. What the arguments point to must stay
 * until the result is there. -EAGAIN: the page is full. -ENOTCONN: not registered. -EOPNOTSUPP:
 * this call can only be made by its caller (memsc_reason_of says why). */
MEMSC_API int memsc_add(long number, const long args[6]);

/* 1: the result is there; 0: not yet. -EINVAL: no such index. -ENOENT: nothing in flight there.
 * -ENOTCONN: not registered. */
MEMSC_API int memsc_ready(int index);

/* Takes the result and frees the entry. -EAGAIN: not there yet. -EINVAL: no such index.
 * -ENOENT: nothing in flight there, or taken before. -ENOTCONN: not registered. */
MEMSC_API int memsc_retval(int index, long *result);

/* Waits until one call in flight has its result and returns its index; the result stays until
 * memsc_retval. -ENOENT: nothing in flight. -ENOTCONN: not registered. */
MEMSC_API int memsc_wait_any(void);

/* Waits until all have theirs; returns how many wait for memsc_retval. -ENOTCONN: not registered. */
MEMSC_API int memsc_wait_all(void);

/* Switches recording: 0 off, 1 each call, N one of N calls, at random. -ENOTCONN: not started; -EINVAL: below 0. */
MEMSC_API int memsc_record(int every);

/* Name of the region's file, "" if anonymous or not started. */
MEMSC_API const char *memsc_region_path(void);

/* One reading of CLOCK_MONOTONIC between two of the cycle counter. */
struct memsc_clock_sample {
    uint64_t cycles; /* middle of the bracket */
    int64_t ns;
    uint64_t width; /* cycles the bracket took: the reading is that uncertain */
};

/* The narrowest of many brackets. */
MEMSC_API int memsc_clock_sample(struct memsc_clock_sample *sample);

/* Bounds of (counter of CPU `there`) - (counter of CPU `here`) in cycles, by passing a cache line to
 * and fro. Moves the calling thread for its duration. -EINVAL: it may not run on one of them. */
MEMSC_API int memsc_clock_skew(uint32_t here, uint32_t there, uint32_t trips, int64_t *low,
                               int64_t *high);

/* The cycle counter. */
MEMSC_API uint64_t memsc_clock_cycles(void);

/* Passes the static probe memsc:calibrate so many times, if anybody looks at the probes; before each
 * odd one it sleeps a little, so that the probe's way through the kernel is cold. Its arguments: 0,
 * passes before, the counter just before, the cycles that the last pass took, thread. */
MEMSC_API void memsc_clock_probe(uint64_t hits);

/* Name of a system call, NULL if this build does not know the number; why it is executed by the
 * caller, NULL if it is forwarded; why it is so with some arguments, NULL if with none. */
MEMSC_API const char *memsc_name_of(long number);
MEMSC_API const char *memsc_reason_of(long number);
MEMSC_API const char *memsc_exception_of(long number);

/* Why calls were not forwarded that could have been, by where a region counts them; NULL: no such reason. */
MEMSC_API const char *memsc_missed_of(uint32_t reason);

/* Version of the library, as in pyproject.toml. */
MEMSC_API const char *memsc_version(void);

#ifdef __cplusplus
}
#endif
#endif
