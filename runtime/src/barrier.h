/* SPDX-License-Identifier: MIT
 *
 * How what several threads share is read and written, by the order that each needs.
 *
 *   load_relaxed      the value, whole, and no order with anything else: a counter, a hint, or a word
 *   store_relaxed     whose reader looks again behind a lock or a barrier
 *   add_relaxed
 *   subtract_relaxed
 *
 *   load_acquire      what was done before the store that it reads is seen after it …
 *   store_release     … if that store was one of these; on x86-64 both cost nothing
 *   add_release
 *
 *   compiler_barrier  order for a signal handler of this thread, and for the frequent side of a
 *                     handshake, whose other side makes it a full barrier (handshake.h); no instruction
 *   full_barrier      no load after it is made before the stores in front of it are seen
 *
 * <stdatomic.h>'s own functions, where no order is named, keep one order among all of them. They are for
 * what is rare.
 */
#ifndef MEMSC_BARRIER_H
#define MEMSC_BARRIER_H

#include <stdatomic.h>

#define load_relaxed(word) atomic_load_explicit(word, memory_order_relaxed)
#define store_relaxed(word, value) atomic_store_explicit(word, value, memory_order_relaxed)
#define add_relaxed(word, value) atomic_fetch_add_explicit(word, value, memory_order_relaxed)
#define subtract_relaxed(word, value) atomic_fetch_sub_explicit(word, value, memory_order_relaxed)
#define load_acquire(word) atomic_load_explicit(word, memory_order_acquire)
#define store_release(word, value) atomic_store_explicit(word, value, memory_order_release)
#define add_release(word, value) atomic_fetch_add_explicit(word, value, memory_order_release)
#define compiler_barrier() atomic_signal_fence(memory_order_seq_cst)
#define full_barrier() atomic_thread_fence(memory_order_seq_cst)

#endif
