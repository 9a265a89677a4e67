/* SPDX-License-Identifier: MIT
 *
 * The loaded objects that make system calls for everybody else: the C library and its loader.
 */
#ifndef MEMSC_LAYER_OBJECTS_H
#define MEMSC_LAYER_OBJECTS_H

#include <stdint.h>

#include "image.h"
#include "plan.h"

enum { MEMSC_MAX_OBJECTS = 8 };

/* Fills objects, returns how many there are. They lie in images of their files, to be closed after use; one
 * whose file cannot be read is where it runs. */
uint32_t memsc_objects(struct memsc_object objects[MEMSC_MAX_OBJECTS],
                       struct memsc_image images[MEMSC_MAX_OBJECTS]);

/* Path of the layer's own file, as the loader found it. */
const char *memsc_own_path(void);

#endif
