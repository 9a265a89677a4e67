/* SPDX-License-Identifier: MIT
 *
 * A loaded object once more, as its file has it.
 *
 * In memory a debugger or a probe may have put breakpoints into its text; what decodes it there takes them
 * for instructions. And a probe of the kernel's executes the file's instruction, whatever stands in memory.
 * So plans are made on the file. Its parts that are not written to are mapped at the same distances from each
 * other.
 */
#ifndef MEMSC_LAYER_IMAGE_H
#define MEMSC_LAYER_IMAGE_H

#include <link.h>
#include <stddef.h>
#include <stdint.h>

struct memsc_image {
    struct dl_phdr_info info; /* of the object */
    uint8_t *address;         /* NULL: it could not be had */
    size_t size;
    ptrdiff_t to_live; /* from here to where the object runs */
};

/* Finds the image's size; returns where it begins where it runs. NULL: there is nothing to be mapped. */
uint8_t *memsc_image_measure(struct memsc_image *image);

/* The image of the object of image->info. Of a file that is not the one that was loaded, as after an upgrade,
 * there is none. place: where, reserved, for one of which parts will be changed; NULL: anywhere. */
void memsc_image_open(struct memsc_image *image, uint8_t *place);

void memsc_image_close(struct memsc_image *image);

#endif
