/* SPDX-License-Identifier: MIT
 *
 * The signal that calls a call back (recall.h), from the caller to the service's thread that makes it.
 */
#ifndef MEMSC_RECALL_SIGNAL_H
#define MEMSC_RECALL_SIGNAL_H

#include <stdbool.h>

#include "process.h"

/* Real-time signal 1. The C library keeps it for itself and uses it only between its own threads. */
enum { MEMSC_RECALL_SIGNAL = 33 };

/* Real-time signal 0: the C library's for a thread that is cancelled. */
enum { MEMSC_CANCEL_SIGNAL = 32 };

/* Handler of MEMSC_RECALL_SIGNAL for all but our own; the C library's, if it has set one. */
extern void (*_Atomic memsc_recall_other)(int, void *, void *);

/* Takes the signal. Without this nothing is ever called back. 0 or -errno. */
int memsc_recall_enable(void);

/* Whether that has been done. */
bool memsc_recall_enabled(void);

/* Signals the service's thread that is inside the call of this name, if one is. */
void memsc_recall(struct memsc_process *process, uint32_t name);

#endif
