/* SPDX-License-Identifier: MIT
 *
 * Plans made before, so that what is started by the hundred does not plan the same C library each time.
 *
 * A plan is a file in the user's own folder in memory, /dev/shm/memsc-UID/starts, whoever of his programs makes it
 * first. memsc makes that folder before it starts a program; the layer never does, so that a program which has a new
 * /dev/shm, or has become another user, finds nothing there. It is believed only if nobody but this user can have written it, of the object's build and by this build of
 * the layer, which their build-ids tell, and whole, by a sum; and of what it says only what could come out of the planner: sites in
 * order, none covering another, each with the file's bytes. Patching compares these with what is in memory, as it
 * does for a new plan. A program that has more rights than who started it reads and keeps none.
 */
#ifndef MEMSC_LAYER_PLANS_H
#define MEMSC_LAYER_PLANS_H

#include <stdint.h>

#include "plan.h"

/* The folder of plans; -1: there is none, or none to be believed. */
int memsc_plans_open(void);

/* The sites of an object, where it runs, into at most `room`; returns how many, 0: no plan of it is to be had.
 * own: the layer. folder: of memsc_plans_open. */
uint32_t memsc_plans_read(int folder, const struct memsc_object *own,
                          const struct memsc_object *object, struct memsc_site *sites,
                          uint32_t room);

/* Keeps a plan, as a whole or not at all. */
void memsc_plans_keep(int folder, const struct memsc_object *own, const struct memsc_object *object,
                      const struct memsc_site *sites, uint32_t count);

#endif
