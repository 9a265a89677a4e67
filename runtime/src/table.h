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

struct memsc_row {
    uint8_t class;      /* enum memsc_class */
    uint8_t effect;     /* enum memsc_fd_effect */
    bool conditional;   /* its arguments may decide otherwise: ask memsc_class_of */
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

/* Class with the arguments looked at: calls whose flags say that they do not wait, clocks of the
 * calling thread, and so on. Never MEMSC_FD: `fd_may_block` decides those. */
enum memsc_class memsc_class_of(long number, const uint64_t args[6],
                                int (*fd_may_block)(uint64_t descriptor));

/* Why the number stays on the caller; NULL if it is forwarded. */
const char *memsc_local_reason(long number);

/* Why some of a number that is forwarded stay on the caller, by their arguments; NULL if none does. */
const char *memsc_exception(long number);

/* Name of a system call, NULL if this build does not know the number. */
const char *memsc_call_name(long number);

#endif
