/* SPDX-License-Identifier: MIT
 *
 * Carries a plan out: fills stub slots and changes the bytes of the sites.
 */
#ifndef MEMSC_LAYER_PATCH_H
#define MEMSC_LAYER_PATCH_H

#include <stdint.h>

#include "plan.h"

/* Between these slots can be filled. 0, or -errno: then no site may be changed. A system that forbids this (SELinux's
 * execmod, MemoryDenyWriteExecute=) tells so here, before the C library has been touched. */
int memsc_patch_open(void);
int memsc_patch_close(void);

/* Gives sites a slot each, in their reach, and fills the slots. To be called once per object, before its
 * memsc_patch_sites. Sites that no slots can be had for become missed. */
void memsc_patch_stubs(const struct memsc_object *object, struct memsc_site *sites, uint32_t count);

/* Notes what stands between planned sites that lie close together, so that they can be written at once. To be called
 * once, when they are planned. */
void memsc_patch_gaps(struct memsc_site *sites, uint32_t count);

/* Changes the sites, which must be inside the object's text. No other thread may run. Sites that are not in
 * memory as in the file become missed. 0, or -errno: then no byte was changed, and all of them are missed.
 *
 * The kernel writes the bytes, by /proc/self/mem: it does so under the lock that it also holds while it puts
 * a probe's breakpoint into the same page or takes it out, which can mean to copy the page. Sites close together are
 * written at once, with what stands between, if that is as the file has it: a breakpoint that stands there is not
 * touched, and one that is taken away meanwhile does not come back. One that comes in the moment between looking and
 * writing, a microsecond or two, is not seen by this process. Where that file is not there, the text is made
 * writable, and not executable meanwhile: never both. */
int memsc_patch_sites(const struct memsc_object *object, struct memsc_site *sites, uint32_t count);

#endif
