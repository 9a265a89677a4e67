/* SPDX-License-Identifier: MIT
 *
 * The shared format: the one place where entry, syspage, call record and region are laid out.
 *
 * A *region* is one file per process that forwards system calls. It is mapped by the process itself;
 * a session that has it too drains the call rings without touching the application's CPU. Python derives its NumPy dtypes from the DWARF of these structures; any change
 * here needs a new MEMSC_LAYOUT_VERSION, and a test holds the two together.
 *
 *   0                 struct memsc_region                        (one 4 KiB page)
 *   slots_offset      struct memsc_slot [slots]                  (one per application thread)
 *   rings_offset      struct memsc_call [slots][ring_records]    (one call ring per slot)
 *
 * The syspages lie apart, in one *segment* (struct memsc_pages) per process: other processes of the
 * same user map it, to see on a shared service CPU who has calls, and memory that one process maps of
 * another must be of a kind that nobody can truncate.
 *
 * Who writes a line is part of the layout: a line is written by one CPU in steady state, and each
 * group below names its writer. All integers are little-endian, all times are cycles of the CPU's
 * counter (x86-64 TSC, Arm CNTVCT).
 */
#ifndef MEMSC_LAYOUT_H
#define MEMSC_LAYOUT_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>

#define MEMSC_LAYOUT_VERSION 8u
#define MEMSC_MAGIC 0x3130637333656d6dull /* "mme3sc01", the first eight bytes of a region */

enum {
    MEMSC_LINE = 64,        /* bytes of a cache line */
    MEMSC_PAGE_ENTRIES = 64, /* entries of a syspage; also the limit of calls in flight per thread */
    MEMSC_NUMBERS = 512,    /* system call numbers that are counted one by one; higher ones share the last */
    MEMSC_MAX_SERVICES = 16, /* service CPUs of one process */
    MEMSC_MAX_SLOTS = 512,  /* application threads of one process that may hold a syspage at once */
    MEMSC_ACTIVE_WORDS = MEMSC_MAX_SLOTS / 64,
    MEMSC_MISSED = 16,   /* room for the reasons why a call is not forwarded */
};

enum memsc_transport {
    MEMSC_DIRECT = 0, /* the caller executes: the reference */
    MEMSC_IPI = 1,    /* both sides sleep, each hand-off is a wake-up across CPUs */
    MEMSC_MEMSC = 2,  /* both sides poll memory */
    MEMSC_ADAPTIVE = 3, /* both sides poll as long as a sleep would cost, then sleep */
};

enum memsc_service_mode {
    MEMSC_INLINE = 0,  /* the poller executes what it finds */
    MEMSC_SCANNER = 1, /* a scanner walks the heads and wakes a worker, which drains the page */
};

/* How the two sides pass a line to and fro, which depends on the processor: handoff.h. */
enum memsc_handoff {
    MEMSC_HANDOFF_MACHINE = 0, /* as is best on this one */
    MEMSC_HANDOFF_AT_ONCE = 1, /* both look for the other at once and all the time */
    MEMSC_HANDOFF_INTEL = 2,
    MEMSC_HANDOFF_AMD = 3, /* and what is neither */
};

enum memsc_ring_policy {
    MEMSC_RING_DROP = 0, /* a full call ring drops the record and counts it */
    MEMSC_RING_WAIT = 1, /* a full call ring makes the caller wait for the reader */
};

/* memsc_entry.status: the low byte is the state, the other bits qualify a submitted entry. The
 * application names in it where its next call will come, so the service's head follows whatever
 * order the free entries have: the next free one for posted calls, the same one for synchronous
 * calls, which then bounce a single cache line. It is a hint: when all entries were in flight the
 * application may have to post elsewhere, so a service that finds nothing at the head looks at the
 * whole page now and then, and always before it parks. */
enum memsc_status {
    MEMSC_FREE = 0,      /* belongs to the application */
    MEMSC_SUBMITTED = 1, /* published by the application, not yet seen by the service */
    MEMSC_TAKEN = 2,     /* passed on to a pool worker because it may block */
    MEMSC_DONE = 3,      /* result (and reply, if stamped) are valid; belongs to the application */
    MEMSC_STATE_MASK = 0xff,
    MEMSC_STAMP = 0x100, /* the call is recorded: the service stamps it */
    MEMSC_PROBED = 0x200, /* the service passes its static probes with it (usdt.h) */
    MEMSC_TIMED = 0x400, /* the caller learns how long such calls take: only `executed` is stamped */
    MEMSC_NEXT_SHIFT = 16, /* bits 16-23: the entry at which the next call will come */
};

/* What the service leaves in a done entry's argument bytes when the call is stamped. */
struct memsc_reply {
    uint64_t picked;      /* cycles: the service started on it */
    uint64_t executed;    /* cycles: the system call had returned */
    uint32_t service_cpu; /* the CPU that executed it */
    uint32_t flags;       /* as of a finished call, the service's side */
};

/* One call on its way: written by the application until submitted, by the service until done. */
struct memsc_entry {
    alignas(MEMSC_LINE) _Atomic uint32_t status; /* enum memsc_status */
    uint32_t number;                             /* system call number */
    int64_t result;                              /* what the kernel returned: a value or -errno */
    union {
        uint64_t args[6];         /* while submitted */
        struct memsc_reply reply; /* while done, if MEMSC_STAMP or MEMSC_TIMED was set */
    };
};

/* One application thread's calls: a ring processed in order, so a scan looks only at its head. */
struct memsc_syspage {
    struct memsc_entry entries[MEMSC_PAGE_ENTRIES];
};

enum memsc_call_flags {
    MEMSC_CALL_ASYNC = 1,   /* posted by add: complete includes the time the caller was busy elsewhere */
    MEMSC_CALL_POOLED = 2,  /* executed by a pool worker, because it may block */
    MEMSC_CALL_SLEPT = 4,   /* the caller slept for the result */
    MEMSC_CALL_WOKE = 8,    /* the service had parked and was woken for this call */
    MEMSC_CALL_TAKEOVER = 16, /* a standby took over polling because the service was stuck in a call */
};

/* Above its flags, a call says how often each side looked while it waited: one that looked seldom for
 * the time it took was not running. Twelve bits each: exact below 2048, then in steps of 128. */
enum memsc_polls {
    MEMSC_POLLS_SERVICE_SHIFT = 8, /* bits 8-19: the service, since the call before */
    MEMSC_POLLS_APP_SHIFT = 20,    /* bits 20-31: the caller, for the result */
    MEMSC_POLLS_EXACT = 2048,      /* lower values are counts, higher ones 2048 more than the steps */
    MEMSC_POLLS_STEP_SHIFT = 7,
    MEMSC_POLLS_MOST = 4095,       /* a quarter of a million or more */
};

/* One finished call: the five stamps and what is needed to name it. Stages are differences of
 * neighbours, so they sum to completed - called exactly. */
struct memsc_call {
    alignas(MEMSC_LINE) uint64_t called; /* entered the library */
    uint64_t posted;                    /* entry published */
    uint64_t picked;                    /* service starts on it */
    uint64_t executed;                  /* system call returned */
    uint64_t completed;                 /* caller has the result */
    int64_t result;                     /* value or -errno */
    uint32_t number;                    /* system call number */
    uint32_t tid;                       /* calling thread */
    uint16_t app_cpu;                   /* CPU of the caller when it completed; 65535: unknown */
    uint16_t service_cpu;               /* CPU that executed it */
    uint32_t flags;                     /* enum memsc_call_flags, and above it enum memsc_polls */
};

/* Why a call that could be forwarded was not (../layer); table.h has their names. */
enum memsc_unforwarded {
    MEMSC_IN_HANDLER = 0, /* a signal handler's, while the thread was forwarding another */
    MEMSC_IN_VFORK,       /* a vfork or posix_spawn child's, which borrows its parent's memory */
    MEMSC_SHARED_THREAD,  /* a thread's that shares its thread-local storage with another task */
    MEMSC_THREAD_CHANGED, /* of a thread that left the process's credentials, files or name spaces */
    MEMSC_AFTER_RETIRING, /* after the process put itself under a seccomp filter or the like (retire.h) */
    MEMSC_NO_SERVICE, /* the service could not be started, or no page was free */
    MEMSC_NO_ENTRY,   /* all entries of the thread's page are in flight */
    MEMSC_OTHER_KEYS, /* the thread may use other memory than the service (answers.h) */
    MEMSC_LOOKED,     /* just after the program has looked at its own threads (own_paths.h) */
    MEMSC_ON_SERVICE_CPU, /* the thread runs where its service would have to */
    MEMSC_UNFORWARDED_REASONS,
};

enum memsc_sleeping {
    MEMSC_AWAKE = 0,
    MEMSC_SLEEPING_ANY = 0x100, /* any completion wakes it */
};

enum memsc_slot_state {
    MEMSC_SLOT_FREE = 0,   /* may be claimed */
    MEMSC_SLOT_ACTIVE = 1, /* the service looks at its head */
};

/* One application thread. */
struct memsc_slot {
    /* Written at registration. */
    alignas(4096) _Atomic uint32_t state; /* enum memsc_slot_state */
    uint32_t tid;                        /* thread that owns it */
    uint32_t service;                    /* index of the service that looks at it */
    uint32_t generation;                 /* counts the owners the slot has had */

    /* Written by the application thread, and by the service to wake it. */
    alignas(MEMSC_LINE) _Atomic uint32_t sleeping; /* futex: enum memsc_sleeping or 1 + index waited for */

    /* The call ring's two ends; positions count up for ever, the record is at position % records. */
    alignas(MEMSC_LINE) _Atomic uint64_t written; /* application: records complete up to here */
    _Atomic uint64_t dropped;                     /* application: calls that found the ring full */
    _Atomic uint64_t skipped;                     /* application: calls that ended and were not drawn */
    alignas(MEMSC_LINE) _Atomic uint64_t drained; /* reader: records before this are free again */

    /* Calls made, by number; written by the application thread, never reset. */
    alignas(4096) uint64_t forwarded[MEMSC_NUMBERS]; /* executed by the service */
    uint64_t local[MEMSC_NUMBERS];                   /* executed by the caller, on purpose */
};

/* The segment: the syspages of one process, by slot, and where to look in them. Whoever maps it of
 * another process maps it read-only and trusts no value in it. */
struct memsc_pages {
    uint64_t magic;   /* MEMSC_MAGIC */
    uint32_t version; /* MEMSC_LAYOUT_VERSION */
    uint32_t pid;     /* process that made it */
    /* Written at registration: slots that each service looks at, a bit each. */
    alignas(MEMSC_LINE) _Atomic uint64_t active[MEMSC_MAX_SERVICES][MEMSC_ACTIVE_WORDS];
    /* Written by the service: entry it looks at next. At the end of its line: a load at the same place
     * of a 4 KiB page as the status just stored would have to wait for that store. */
    alignas(4096) struct memsc_head {
        alignas(MEMSC_LINE) uint32_t unused[15];
        _Atomic uint32_t entry;
    } heads[MEMSC_MAX_SLOTS];
    alignas(4096) struct memsc_syspage page[MEMSC_MAX_SLOTS];
};

/* One service CPU of the process. */
struct memsc_service_line {
    /* Written by the thread that polls. */
    alignas(MEMSC_LINE) _Atomic uint32_t calls; /* wraps: tells a waiter whether the service moves on */
    /* Written when parking and waking. */
    alignas(MEMSC_LINE) _Atomic uint32_t parked; /* futex: 1 while the poller sleeps */
    uint32_t cpu;                               /* CPU it runs on */
    uint64_t parks;                             /* how often it has parked */
};

struct memsc_region {
    uint64_t magic;          /* MEMSC_MAGIC */
    uint32_t version;        /* MEMSC_LAYOUT_VERSION */
    uint32_t pid;            /* process that made it */
    uint64_t start_time;     /* field 22 of its /proc/pid/stat: tells a reused pid apart */
    uint32_t transport;      /* enum memsc_transport */
    uint32_t service_mode;   /* enum memsc_service_mode */
    uint32_t slots;          /* slots in the file */
    uint32_t services;       /* service lines in use */
    uint32_t handoff;        /* enum memsc_handoff: which it is, never MACHINE */
    uint64_t ring_records;   /* records of each call ring, a power of two */
    uint64_t slots_offset;   /* bytes */
    uint64_t rings_offset;   /* bytes */
    char program[64];        /* file name of the executable, NUL-terminated */
    char comm[16];           /* name of the process as the kernel has it, NUL-terminated */

    /* Switches, written by whoever controls the run. */
    alignas(MEMSC_LINE) _Atomic uint32_t recording; /* 1: stamp and record calls; N: one of N, at random; 0: none */
    _Atomic uint32_t ring_policy;                   /* enum memsc_ring_policy */

    /* Written at registration. */
    alignas(MEMSC_LINE) _Atomic uint32_t slots_used; /* slots ever claimed: the reader looks no further */
    _Atomic uint32_t active;                         /* threads registered now */
    _Atomic uint32_t unpaged;                        /* threads that found no free slot and call directly */
    _Atomic uint32_t finished;                       /* 1: the process has unregistered in order */

    /* Calls that could have been forwarded and that their callers made, by enum memsc_unforwarded;
     * written by whichever thread made one. */
    alignas(MEMSC_LINE) _Atomic uint64_t missed[MEMSC_MISSED];

    struct memsc_service_line service[MEMSC_MAX_SERVICES];
};

#endif
