/* SPDX-License-Identifier: MIT
 *
 * What descriptors are: whether a call on them may wait for ever, and whether it is for the thread that makes
 * it alone. Remembered per descriptor, and forgotten by the calls that change descriptors. Who closes one
 * unseen, by an instruction of its own, leaves a stale answer behind: that a call may wait costs time, never
 * correctness, since a service stuck in an unforeseen wait is replaced (see service.h).
 */
#ifndef MEMSC_KINDS_H
#define MEMSC_KINDS_H

#include <stdint.h>

#include "table.h"

/* For memsc_class_of, on a service thread. */
enum memsc_kind memsc_kind_of(long number, uint64_t descriptor);

/* The same for a caller, who does not look: waits, as far as that is remembered. */
enum memsc_kind memsc_kind_known(long number, uint64_t descriptor);

/* Tells that a call which was executed has changed descriptors. */
void memsc_kinds_update(long number, const uint64_t args[6], long result);

/* Tells before a call that ends descriptors, so that nobody relies on them from here on. */
void memsc_kinds_before(long number, const uint64_t args[6]);

/* Tells of a call that was not forwarded. */
void memsc_kinds_missed(long number);

#endif
