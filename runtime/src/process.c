/* SPDX-License-Identifier: MIT
 *
 * What there is of the process and of the calling thread, for all that has to do with them.
 */
#include "process.h"

#include "wait.h"

struct memsc_process *memsc_the_process;
bool memsc_unseen;

/* The attribute again: GCC drops that of the declaration. */
_Thread_local struct memsc_self *memsc_self __attribute__((tls_model("initial-exec")));

_Thread_local struct memsc_wait *volatile memsc_under_way
    __attribute__((tls_model("initial-exec")));

_Thread_local volatile uint32_t memsc_cancel_came __attribute__((tls_model("initial-exec")));
uint32_t memsc_cancels_came;
bool (*memsc_from_bridge)(const uint64_t *args);
