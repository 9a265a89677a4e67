/* SPDX-License-Identifier: MIT
 *
 * What memsc does with each system call.
 */
#ifndef MEMSC_TABLE_H
#define MEMSC_TABLE_H

#include <stdbool.h>
#include <stdint.h>

enum { MEMSC_KNOWN = 512 /* system call numbers the table has room for */ };

enum memsc_class {
    MEMSC_LOCAL =
        0, /* runs on the caller: it concerns the calling thread, or the table does not know it */
    MEMSC_FAST,  /* forwarded; never sleeps in the kernel */
    MEMSC_PLAIN, /* forwarded; may sleep for memory or storage, but not for another thread */
    MEMSC_FD,    /* forwarded; whether it may block depends on its descriptors */
    MEMSC_POOL,  /* forwarded to a pool worker: it may wait for something for ever */
};

/* What a call does to the process's descriptors, so that their cached kinds stay right. */
enum memsc_fd_effect {
    MEMSC_FD_NONE = 0,
    MEMSC_FD_RESULT, /* the result is a new descriptor */
    MEMSC_FD_CLOSE,  /* argument 0 ends */
    MEMSC_FD_SECOND, /* argument 1 is replaced */
    MEMSC_FD_ALL,    /* some descriptors appear or end */
};

/* Who has to look at a call's arguments, by memsc_class_of, before its class is known. */
enum memsc_looks {
    MEMSC_CALLER_LOOKS = 1,  /* they may say that it is local */
    MEMSC_SERVICE_LOOKS = 2, /* they may say that it waits, or whose its descriptor is */
};

struct memsc_row {
    uint8_t class;      /* enum memsc_class */
    uint8_t effect;     /* enum memsc_fd_effect */
    uint8_t looks;      /* enum memsc_looks */
    uint8_t flags;      /* 1 + the argument that has flags; 0: none that matter here */
    uint32_t known;     /* bits of those that the table knows: with any other it is local */
    const char *reason; /* why it is local; NULL: forwarded, or not in the table */
    const char *unless; /* why its arguments may make it local; NULL: they never do */
};

extern const struct memsc_row memsc_table[MEMSC_KNOWN];

/* The row of a number; of one that the table does not know, a local one. */
static inline const struct memsc_row *memsc_row_of(long number)
{
    extern const struct memsc_row memsc_unknown;
    return (unsigned long)number < MEMSC_KNOWN ? &memsc_table[number] : &memsc_unknown;
}

/* Class by number alone. Numbers the table does not know are MEMSC_LOCAL. */
static inline enum memsc_class memsc_class(long number)
{
    return (enum memsc_class)memsc_row_of(number)->class;
}

static inline enum memsc_fd_effect memsc_fd_effect(long number)
{
    return (enum memsc_fd_effect)memsc_row_of(number)->effect;
}

/* What the descriptor of a call says about it. */
enum memsc_kind {
    MEMSC_KIND_UNKNOWN = 0, /* not looked at */
    MEMSC_KIND_STORAGE,     /* it does not wait for ever: files, memory */
    MEMSC_KIND_WAITS,       /* it may: a pipe, a socket, a terminal, … */
    MEMSC_KIND_OWN,         /* it is for the calling thread itself: local */
};

/* Class with the arguments looked at: calls whose flags say that they do not wait, clocks of the
 * calling thread, and so on. Never MEMSC_FD: `kind` decides those. */
enum memsc_class memsc_class_of(long number, const uint64_t args[6],
                                enum memsc_kind (*kind)(long number, uint64_t descriptor));

/* For those who cannot look at descriptors. */
enum memsc_kind memsc_no_kind(long number, uint64_t descriptor);

/* Whether the caller must make it itself, as far as that can be told without looking at descriptors. */
static inline bool memsc_is_local(long number, const uint64_t args[6])
{
    const struct memsc_row *row = memsc_row_of(number);
    if (!(row->looks & MEMSC_CALLER_LOOKS))
        return row->class == MEMSC_LOCAL;
    return memsc_class_of(number, args, memsc_no_kind) == MEMSC_LOCAL;
}

/* The program has a descriptor of signals: what waits for several descriptors is local from now on, since
 * the kernel looks for signals of the thread that waits. For good: no table tells where it went. */
void memsc_signals_are_watched(void);

/* Why the number stays on the caller; NULL if it is forwarded. */
const char *memsc_local_reason(long number);

/* Why some of a number that is forwarded stay on the caller, by their arguments; NULL if none does. */
const char *memsc_exception(long number);

/* Why a call was not forwarded that could have been: of enum memsc_unforwarded; NULL if there is no such. */
const char *memsc_missed_reason(uint32_t reason);

/* Name of a system call, NULL if this build does not know the number. */
const char *memsc_call_name(long number);

#endif
