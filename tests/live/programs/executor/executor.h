/* SPDX-License-Identifier: MIT
 *
 * What operations have in common.
 */
#ifndef EXECUTOR_H
#define EXECUTOR_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

/* All there are, in no order that matters. */
/* clang-format off */
#define OPERATIONS \
    OPERATION(open) OPERATION(close) OPERATION(read) OPERATION(readv) \
    OPERATION(pread) OPERATION(write) OPERATION(writev) OPERATION(pwrite) \
    OPERATION(bad_read) OPERATION(bad_name) OPERATION(lseek) OPERATION(dup) \
    OPERATION(dup2) OPERATION(dupfd) OPERATION(pipe) OPERATION(socketpair) \
    OPERATION(eventfd) OPERATION(send) OPERATION(recv) OPERATION(shutdown) \
    OPERATION(ftruncate) OPERATION(truncate) OPERATION(fallocate) OPERATION(rename) \
    OPERATION(link) OPERATION(unlink) OPERATION(mkdir) OPERATION(stat) \
    OPERATION(fstat) OPERATION(chmod) OPERATION(readlink) OPERATION(access) \
    OPERATION(umask) OPERATION(chdir) OPERATION(flags) OPERATION(available) \
    OPERATION(lock) OPERATION(poll) OPERATION(sendfile) OPERATION(copy) \
    OPERATION(sync) OPERATION(mmap) OPERATION(munmap) OPERATION(mprotect) \
    OPERATION(mremap) OPERATION(map_io) OPERATION(poke) OPERATION(peek) \
    OPERATION(list) OPERATION(stdio) OPERATION(fork) OPERATION(spawn) \
    OPERATION(handler) OPERATION(raise)
/* clang-format on */

/* Each takes four numbers and returns what the call did: -1 for an error in errno, less where it was not
 * made. */
#define OPERATION(name_) long do_##name_(const long *a);
OPERATIONS
#undef OPERATION

enum { SLOTS = 8, LARGEST = 1 << 16, PAGE = 4096, WOULD_WAIT = -7 };

extern uint8_t buffer[LARGEST];
extern uint64_t seen; /* a hash of what the operation has got */
extern volatile sig_atomic_t caught;
extern void *volatile nowhere;

/* Some file's name; where a descriptor is kept. */
const char *name(long index);
int *slot(long index);

/* Keeps a new descriptor, if it is one, and returns it. */
long keep(long index, int descriptor);

/* Adds to `seen`; the second what lies in the buffer, and returns its size, or the error. */
void see(const void *data, long size);
long got(long result);

void fill(long size, long seed);
bool would_wait(int descriptor, short events);

#endif
