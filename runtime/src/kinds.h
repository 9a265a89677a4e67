/* SPDX-License-Identifier: MIT
 *
 * Which descriptors may make a call wait for ever. Remembered per descriptor, and forgotten by the
 * calls that change descriptors. A stale answer costs time, never correctness: a service stuck in
 * an unforeseen wait is replaced (see service.h).
 */
#ifndef MEMSC_KINDS_H
#define MEMSC_KINDS_H

#include <stdint.h>

/* 1: a call on it may wait for ever (pipe, socket, terminal, …); 0: storage or memory. */
int memsc_fd_may_block(uint64_t descriptor);

/* Tells that a call which was executed has changed descriptors. */
void memsc_kinds_update(long number, const uint64_t args[6], long result);

/* Tells before a call that ends descriptors, so that nobody relies on them from here on. */
void memsc_kinds_before(long number, const uint64_t args[6]);

#endif
