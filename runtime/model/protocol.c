/* SPDX-License-Identifier: MIT
 *
 * The runtime's three handshakes, and what becomes of each without its barrier:
 *   posting, parking, waking   caller.c post, sleep_for; poller.c publish, park
 *   takeover                   poller.c serve; pool.c depose
 *   taking turns               turn.c memsc_turn_arrive, memsc_turn_rest
 * The timed looks with which callers and pollers would survive a lost wake-up are left out.
 */
#include <stdio.h>

#include "explore.h"

enum barriers { ASYMMETRIC, SYMMETRIC, NONE };

static enum barriers barriers;

/* handshake.h; each false until it is over. */
static bool light(int me)
{
    return barriers != SYMMETRIC || model_drained(me);
}

/* Goes on at `then`. */
static void heavy(int me, uint8_t then)
{
    if (barriers == ASYMMETRIC)
        model_membarrier(me, then);
    else if (barriers == NONE || model_drained(me))
        MODEL_ME.at = then;
}

/* ---- posting, parking, waking ---- */

enum { ENTRY, RESULT, PARKED, SLEEPING };
enum { FREE, SUBMITTED, DONE };
enum { CALLS = 3 };

/* r[0]: the last load, r[1]: calls made. */
static void caller(int me)
{
    struct model_thread *self = &MODEL_ME;
    switch (self->at) {
    case 1: /* post */
        model_store(me, ENTRY, SUBMITTED, true);
        self->at = 2;
        return;
    case 2: /* ring_door */
        if (!light(me))
            return;
        self->at = model_load(me, PARKED) ? 3 : 5;
        return;
    case 3:
        if (model_exchange(me, PARKED, 0, &self->r[0]))
            self->at = self->r[0] ? 4 : 5;
        return;
    case 4:
        if (model_wake(me, PARKED))
            self->at = 5;
        return;
    case 5: /* wait_for: the last poll before the sleep */
        self->at = model_load(me, ENTRY) == DONE ? 10 : 6;
        return;
    case 6: /* sleep_for */
        model_store(me, SLEEPING, 1, false);
        self->at = 7;
        return;
    case 7:
        heavy(me, 8);
        return;
    case 8:
        if (model_load(me, ENTRY) == DONE) {
            model_store(me, SLEEPING, 0, false);
            self->at = 10;
        } else {
            self->at = 9;
        }
        return;
    case 9:
        if (model_wait(me, SLEEPING, 1))
            self->at = 6;
        return;
    case 10:
        self->r[1]++;
        if (model_load(me, RESULT) != self->r[1])
            model_fault("a result is not the call's");
        self->at = self->r[1] == CALLS ? MODEL_END : 1;
        return;
    default:
        model_fault("no such step");
    }
}

/* r[0]: calls executed, r[1]: the announcement that it parks is to be taken back. */
static void service(int me)
{
    struct model_thread *self = &MODEL_ME;
    switch (self->at) {
    case 1: /* scan */
        self->at = model_load(me, ENTRY) == SUBMITTED ? 2 : 7;
        return;
    case 2: /* publish */
        model_store(me, RESULT, ++self->r[0], false);
        self->at = 3;
        return;
    case 3:
        model_store(me, ENTRY, DONE, true);
        self->at = 4;
        return;
    case 4:
        if (!light(me))
            return;
        self->at = model_load(me, SLEEPING) ? 5 : self->r[1] ? 12 : 1;
        return;
    case 5:
        model_store(me, SLEEPING, 0, false);
        self->at = 6;
        return;
    case 6:
        if (model_wake(me, SLEEPING))
            self->at = self->r[1] ? 12 : 1;
        return;
    case 7: /* park */
        model_store(me, PARKED, 1, false);
        self->at = 8;
        return;
    case 8:
        heavy(me, 9);
        return;
    case 9:
        self->r[1] = model_load(me, ENTRY) == SUBMITTED;
        self->at = self->r[1] ? 2 : 10;
        return;
    case 10: /* memsc_sleep_parked */
        self->at = model_load(me, PARKED) ? 11 : 12;
        return;
    case 11:
        if (model_wait(me, PARKED, 1))
            self->at = 10;
        return;
    case 12:
        model_store(me, PARKED, 0, false);
        self->r[1] = 0;
        self->at = 1;
        return;
    default:
        model_fault("no such step");
    }
}

static void post_and_park(int me)
{
    me ? service(me) : caller(me);
}

/* ---- takeover ---- */

enum { IN_CALL, REIGN, SAW };

/* r[0]: calls begun. in_call names the call, so that the other tells which one it took over in. */
static void poller(int me)
{
    struct model_thread *self = &MODEL_ME;
    switch (self->at) {
    case 1:
        model_store(me, IN_CALL, ++self->r[0], true);
        self->at = 2;
        return;
    case 2:
        model_store(me, IN_CALL, 0, false);
        self->at = 3;
        return;
    case 3:
        if (!light(me))
            return;
        if (model_load(me, REIGN)) /* it asks under the lock, and is told */
            self->at = MODEL_END;
        else if (model_now.memory[SAW] && model_now.memory[SAW] <= self->r[0])
            model_fault("two believe to be the poller");
        else
            self->at = self->r[0] == CALLS ? MODEL_END : 1;
        return;
    default:
        model_fault("no such step");
    }
}

static void successor(int me)
{
    struct model_thread *self = &MODEL_ME;
    switch (self->at) {
    case 1:
        model_store(me, REIGN, 1, false);
        self->at = 2;
        return;
    case 2:
        heavy(me, 3);
        return;
    case 3: /* a call seen: it is the poller from here on */
        model_now.memory[SAW] = model_load(me, IN_CALL);
        self->at = MODEL_END;
        return;
    default:
        model_fault("no such step");
    }
}

static void takeover(int me)
{
    me ? successor(me) : poller(me);
}

/* ---- taking turns ---- */

enum { HOLDER, STATE };
enum { NOBODY, WAITER, RESTING };
enum { PARKED_SEAT, WAITING, TURN };

static bool fence(int me)
{
    return barriers == NONE || model_drained(me);
}

static void waiter(int me)
{
    struct model_thread *self = &MODEL_ME;
    bool done;
    switch (self->at) {
    case 1: /* memsc_turn_arrive; the seat's state is its own to change */
        model_store(me, STATE, WAITING, false);
        self->at = 2;
        return;
    case 2:
        if (!fence(me))
            return;
        self->at = model_load(me, HOLDER) == NOBODY ? 3 : 4;
        return;
    case 3: /* take_free */
        if (model_swap(me, HOLDER, NOBODY, WAITER, &done))
            self->at = done ? MODEL_END : 2;
        return;
    case 4:
        if (model_wait(me, STATE, WAITING))
            self->at = 5;
        return;
    case 5:
        self->at = model_load(me, STATE) == TURN ? MODEL_END : 2;
        return;
    default:
        model_fault("no such step");
    }
}

static void holder(int me)
{
    struct model_thread *self = &MODEL_ME;
    bool done;
    switch (self->at) {
    case 1: /* whoever comes finds it there, as after a start */
        model_now.memory[HOLDER] = RESTING;
        self->at = 2;
        return;
    case 2: /* memsc_turn_rest: as a plain store where the barrier is missing */
        model_store(me, HOLDER, NOBODY, false);
        self->at = 3;
        return;
    case 3:
        if (!fence(me))
            return;
        self->at = model_load(me, STATE) == WAITING ? 4 : MODEL_END;
        return;
    case 4:
        if (model_swap(me, HOLDER, NOBODY, WAITER, &done))
            self->at = done ? 5 : MODEL_END;
        return;
    case 5:
        if (model_swap(me, STATE, WAITING, TURN, &done))
            self->at = 6;
        return;
    case 6:
        if (model_wake(me, STATE))
            self->at = MODEL_END;
        return;
    default:
        model_fault("no such step");
    }
}

static void turns(int me)
{
    me ? holder(me) : waiter(me);
}

int main(void)
{
    static const struct {
        struct model model;
        enum barriers barriers;
    } models[] = {
        {{"posting and parking, membarrier", post_and_park, {false, true}, false}, ASYMMETRIC},
        {{"posting and parking, full barriers", post_and_park, {false, true}, false}, SYMMETRIC},
        {{"posting and parking, none: broken", post_and_park, {false, true}, true}, NONE},
        {{"takeover, membarrier", takeover, {false, false}, false}, ASYMMETRIC},
        {{"takeover, full barriers", takeover, {false, false}, false}, SYMMETRIC},
        {{"takeover, none: broken", takeover, {false, false}, true}, NONE},
        {{"taking turns", turns, {false, false}, false}, SYMMETRIC},
        {{"taking turns, no barrier: broken", turns, {false, false}, true}, NONE},
    };
    int failed = 0;
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        barriers = models[i].barriers;
        failed |= !model_explore(&models[i].model);
    }
    return failed;
}
