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

/* Fills objects, where they run, and images, which are not open yet; returns how many there are. own: the object
 * that this is a part of. */
uint32_t memsc_objects(struct memsc_object objects[MEMSC_MAX_OBJECTS],
                       struct memsc_image images[MEMSC_MAX_OBJECTS], struct memsc_object *own);

/* Turns to the image of the object's file, which is to be closed after use; one whose file cannot be read stays
 * where it runs. */
void memsc_object_open(struct memsc_object *object, struct memsc_image *image);

/* The object that this is a part of. */
struct dl_phdr_info memsc_own_info(void);

/* Path of the layer's own file, as the loader found it. */
const char *memsc_own_path(void);

#endif
