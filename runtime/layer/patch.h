/* SPDX-License-Identifier: MIT
 *
 * Carries a plan out: fills stub slots and changes the bytes of the sites.
 */
#ifndef MEMSC_LAYER_PATCH_H
#define MEMSC_LAYER_PATCH_H

#include <stdint.h>

#include "plan.h"

/* Gives sites a slot each, from *slots on, and fills the slots. To be called once per object, before
 * its memsc_patch_sites. 0, or -errno: then no site may be changed. Sites out of the slots' reach
 * become missed. */
int memsc_patch_stubs(const struct memsc_object *object, struct memsc_site *sites, uint32_t count,
                      uint32_t *slots);

/* Changes the sites, which must be inside the object's text. No other thread may run. Sites that are not in
 * memory as in the file become missed. 0, or -errno: then no byte was changed, and all of them are missed.
 *
 * The kernel writes the bytes, by /proc/self/mem: it does so under the lock that it also holds while it puts
 * a probe's breakpoint into the same page or takes it out, which can mean to copy the page. Where that file is
 * not there, the text is made writable, and not executable meanwhile: never both. */
int memsc_patch_sites(const struct memsc_object *object, struct memsc_site *sites, uint32_t count);

#endif
