/* SPDX-License-Identifier: MIT
 *
 * The classic small system calls, one operation at a time.
 */
#ifndef MEMSC_WORK_CALLS_H
#define MEMSC_WORK_CALLS_H

#include <stddef.h>
#include <stdint.h>

/* Runs operation `name` (read-1 … write-1048576, pread-…, openclose, stat, fstat, lseek, mmap, pipe,
 * socket, getppid) on files in `folder`. Its calls are made by `make`, which returns the kernel's value
 * or -errno; NULL: as plain system calls. array gets the cycles of each. -EINVAL if there is no such
 * operation. */
int memsc_work_calls(const char *name, const char *folder,
                     long (*make)(long number, const long args[6]), uint64_t *array,
                     size_t operations);

#endif
