/* SPDX-License-Identifier: MIT
 *
 * Static probes, provider `memsc`, for tools that can attach uprobes: memsc trace, bpftrace, perf.
 *
 * A probe is a 1-byte nop and a note that names it. (On a 5-byte nop the kernel writes a call, which
 * overwrites the red zone.) While nobody is attached the nop is never reached: callers look at the
 * semaphore first, which the kernel counts up in every process that maps this file, and resets even
 * when the tracer was killed.
 *
 *   called     the calling thread is about to make the call: what this costs is in no stamp
 *   posted     the calling thread has published the entry
 *   picked     the service starts on it
 *   executed   the system call has returned, its result is not published yet
 *   completed  the calling thread has the result
 *   calibrate  nothing has happened: for measuring what a hit costs
 *
 * Each has the same arguments: slot, entry, number, result (0 before it is known), thread id of the
 * caller. They stand in the registers of a function's first five parameters, so that a BPF program
 * needs no decoder.
 */
#ifndef MEMSC_USDT_H
#define MEMSC_USDT_H

#include <stdbool.h>
#include <stdint.h>

#include "probe.h"
#include "process.h"

/* usdt.c. One for all probes, because a call is probed at all of them or at none. */
extern volatile uint16_t memsc_probes_semaphore __attribute__((visibility("hidden")));

/* The nop and its note, which MEMSC_PROBE (probe.h) places. */
#define MEMSC_NOTE(name, arguments)                                                                                \
    "990: nop\n"                                                                                                   \
    ".pushsection .note.stapsdt,\"\",\"note\"\n"                                                                   \
    ".balign 4\n"                                                                                                  \
    ".4byte 992f-991f, 994f-993f, 3\n"                                                                             \
    "991: .asciz \"stapsdt\"\n"                                                                                    \
    "992: .balign 4\n"                                                                                             \
    "993: .8byte 990b\n"                                                                                           \
    ".8byte _.stapsdt.base\n"                                                                                      \
    ".8byte memsc_probes_semaphore\n"                                                                              \
    ".asciz \"memsc\"\n"                                                                                           \
    ".asciz \"" name "\"\n"                                                                                        \
    ".asciz \"" arguments "\"\n"                                                                                   \
    "994: .balign 4\n"                                                                                             \
    ".popsection\n" /* What tools compare with the note's second word, to see by how much a prelinker moved it. */ \
    ".ifndef _.stapsdt.base\n"                                                                                     \
    ".pushsection .stapsdt.base,\"aG\",\"progbits\",.stapsdt.base,comdat\n"                                        \
    ".weak _.stapsdt.base\n"                                                                                       \
    ".hidden _.stapsdt.base\n"                                                                                     \
    "_.stapsdt.base: .space 1\n"                                                                                   \
    ".size _.stapsdt.base, 1\n"                                                                                    \
    ".popsection\n"                                                                                                \
    ".endif\n"

#define MEMSC_ENTRY_OF(process, entry)                                                             \
    ((uint64_t)((entry) - (process)->pages->page[0].entries) % MEMSC_PAGE_ENTRIES)

/* The service's side. Expanded wherever calls are executed, so that none of it is a call. */
static inline __attribute__((always_inline)) void
memsc_probe_picked(const struct memsc_process *process, const struct memsc_slot *slot,
                   const struct memsc_entry *entry, uint32_t number, uint32_t status)
{
    if (__builtin_expect(status & MEMSC_PROBED, 0))
        MEMSC_PROBE(picked, (uint64_t)(slot - process->slots), MEMSC_ENTRY_OF(process, entry),
                    number, 0, slot->tid);
}

static inline __attribute__((always_inline)) void
memsc_probe_executed(const struct memsc_process *process, const struct memsc_slot *slot,
                     const struct memsc_entry *entry, uint32_t number, uint32_t status, long result)
{
    if (__builtin_expect(status & MEMSC_PROBED, 0))
        MEMSC_PROBE(executed, (uint64_t)(slot - process->slots), MEMSC_ENTRY_OF(process, entry),
                    number, result, slot->tid);
}

/* Whether the call that is about to be posted is probed: one of so many, while somebody looks. */
static inline bool memsc_wants_probe(struct memsc_self *self)
{
    if (__builtin_expect(!memsc_probes_semaphore, 1))
        return false;
    if (self->unprobed++ % memsc_process()->probe_every)
        return false;
    return true;
}

#endif
