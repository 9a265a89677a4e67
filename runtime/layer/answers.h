/* SPDX-License-Identifier: MIT
 *
 * Calls that the layer makes in the program's place, because what the runtime has done would show in their
 * answer.
 *
 * Memory protection keys are a register of each thread. A forwarded call is made with the service's, so once a
 * program has a key, a call is forwarded only while the calling thread's register is the same.
 */
#ifndef MEMSC_LAYER_ANSWERS_H
#define MEMSC_LAYER_ANSWERS_H

#include <stdbool.h>
#include <stdint.h>

/* Learns what is so before the runtime does anything. */
void memsc_answers_start(void);

/* True if *result is the call's. */
bool memsc_answers(long number, const uint64_t args[6], long *result);

/* The process is MEMSC_KEYED: the service has just been started by this thread. */
void memsc_keys_of_service(void);

/* … and: the calling thread may use the same memory as the service. */
bool memsc_has_keys_of_service(void);

#endif
