/* SPDX-License-Identifier: MIT
 *
 * Sharing a service CPU.
 *
 * Pollers of several processes on one CPU would push each other off it a time slice at a time. So
 * one has the *token* and polls; the others sleep, and the one that has it watches their pages too and
 * wakes, in the same place, who has calls: a switch of context, no interrupt, and no work for the
 * poster, which does not have to ring, as if its own poller polled.
 *
 *   parked ──doorbell──▸ holds ◂──handed over── waiting
 *     ▴                   │ ▾ ──hands over───────▴
 *     └────────idle───────┘ └─ does not move: another one takes it ─▸ lost ──moves again──▸ waiting
 *
 * The token is a courtesy, not a lock. A poller executes only calls of its own process, so two that
 * believe to have it are slow, never wrong; and one that waits too long, because the holder is dead,
 * stopped, or inside a long call, takes it: a caller on behalf of its poller when it sees nothing
 * move for a while, or the poller itself, which looks now and then.
 *
 * A scanner does not hand over to a scanner: it wakes the other process's workers itself.
 */
#ifndef MEMSC_TOKEN_H
#define MEMSC_TOKEN_H

#include "service.h"

/* Returns when the calling poller has the token, or the process stops. */
void memsc_token_acquire(struct memsc_process *process, struct memsc_service *service);

/* Before it parks: passes the token to somebody who waits. */
void memsc_token_release(struct memsc_service *service);

/* After `fruitless` scans of one's own pages: looks at somebody else's, and if there are calls and the
 * time has come, hands over and returns as memsc_token_acquire. */
void memsc_token_offer(struct memsc_process *process, struct memsc_service *service,
                       uint32_t fruitless);

/* Now and then, however busy: looks who came and went, and lets others have what is theirs. */
void memsc_token_maintain(struct memsc_process *process, struct memsc_service *service);

/* Scanner: wakes the workers of other scanners' processes, hands over to pollers. True if any had
 * calls. */
bool memsc_token_scan_others(struct memsc_process *process, struct memsc_service *service,
                             bool thorough);

/* For a caller that sees no progress of `service`. True: it is only waiting for the token, or has got
 * it now, and a takeover within the process would not help. */
bool memsc_token_claim(struct memsc_process *process, struct memsc_service *service);

/* For a caller: whether its poller waits for the token, so that polling serves nobody. Of scanners the one
 * that has the token serves the others' processes as its own. */
bool memsc_token_awaited(struct memsc_process *process, const struct memsc_service *service);

/* Whether other processes are registered on this CPU. */
static inline bool memsc_token_shared(const struct memsc_service *service)
{
    return service->membership.watched != 0;
}

#endif
