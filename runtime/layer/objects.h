/* SPDX-License-Identifier: MIT
 *
 * The loaded objects that make system calls for everybody else: the C library and its loader.
 */
#ifndef MEMSC_LAYER_OBJECTS_H
#define MEMSC_LAYER_OBJECTS_H

#include <stdint.h>

#include "plan.h"

enum { MEMSC_MAX_OBJECTS = 8 };

/* Fills objects, returns how many there are. */
uint32_t memsc_objects(struct memsc_object objects[MEMSC_MAX_OBJECTS]);

#endif
