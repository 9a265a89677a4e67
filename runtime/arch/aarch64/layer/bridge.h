/* SPDX-License-Identifier: MIT
 *
 * Where the C library expects a thread that is to be cancelled: as ../../x86_64/layer/bridge.h. Here such an `svc`
 * stays as it is, so no call comes from a bridge: those of glibc 2.41 and later that a thread of several makes and
 * can be cancelled in run directly. It is known by the `ret` behind it and a number that is no constant; one too many
 * does no harm.
 */
#ifndef MEMSC_LAYER_BRIDGE_H
#define MEMSC_LAYER_BRIDGE_H

#include <stdbool.h>

#include "plan.h"

/* Whether a site was planned as a bridge. */
static inline bool memsc_is_bridge(const struct memsc_site *site)
{
    (void)site;
    return false;
}

#endif
