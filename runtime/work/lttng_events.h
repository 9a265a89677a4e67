/* SPDX-License-Identifier: MIT
 *
 * Tracepoints of LTTng around a call, for memsc-work-lttng. LTTng includes this file several times.
 */
#undef LTTNG_UST_TRACEPOINT_PROVIDER
#define LTTNG_UST_TRACEPOINT_PROVIDER memsc_work
#undef LTTNG_UST_TRACEPOINT_INCLUDE
#define LTTNG_UST_TRACEPOINT_INCLUDE "lttng_events.h"

#if !defined(MEMSC_LTTNG_EVENTS_H) || defined(LTTNG_UST_TRACEPOINT_HEADER_MULTI_READ)
#define MEMSC_LTTNG_EVENTS_H

#include <lttng/tracepoint.h>

LTTNG_UST_TRACEPOINT_EVENT(memsc_work, called, LTTNG_UST_TP_ARGS(long, number),
                           LTTNG_UST_TP_FIELDS(lttng_ust_field_integer(long, number, number)))

LTTNG_UST_TRACEPOINT_EVENT(memsc_work, completed, LTTNG_UST_TP_ARGS(long, result),
                           LTTNG_UST_TP_FIELDS(lttng_ust_field_integer(long, result, result)))

#endif

#include <lttng/tracepoint-event.h>
