/* SPDX-License-Identifier: MIT
 *
 * What a region is made of: a file in the session's folder or in one that may be attached to, or memory alone.
 */
#ifndef MEMSC_REGION_FILE_H
#define MEMSC_REGION_FILE_H

#include <stdint.h>

#include "process.h"

enum { MEMSC_REGION_UNSEEN = -4096 };

/* Opens it, of no size yet, and notes where it is and whether a session is given it. UNSEEN: nobody else is to
 * see the region; or -errno. */
int memsc_region_open(struct memsc_process *process, const struct memsc_options *options,
                      uint32_t pid, uint64_t started);

/* Removes its name, if it has one; the memory stays for as long as somebody has it. */
void memsc_region_unlink(struct memsc_process *process);

#endif
