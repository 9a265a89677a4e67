/* SPDX-License-Identifier: MIT
 *
 * Memory that a forked child finds zero, whatever number it has: that of its parent, too, if both are the first of
 * their PID namespaces.
 */
#ifndef MEMSC_AFRESH_H
#define MEMSC_AFRESH_H

#include <stdint.h>

/* Address, or -errno. */
long memsc_map_afresh(uint64_t bytes);

#endif
