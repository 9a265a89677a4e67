/* SPDX-License-Identifier: MIT
 *
 * A library that, preloaded behind the layer, keeps it further from the C library than a branch of 64-bit Arm reaches.
 */
#include <gnu/libc-version.h>
#include <stdlib.h>

enum { REACH = 128 << 20 };

extern char memsc_layer_call[] __attribute__((weak));

char distance[2 * REACH];

/* Loaded in another order, it would be of no use. */
__attribute__((constructor)) static void look(void)
{
    if (memsc_layer_call && labs(memsc_layer_call - (char *)gnu_get_libc_version) < REACH)
        abort();
}
