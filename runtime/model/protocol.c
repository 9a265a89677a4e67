/* SPDX-License-Identifier: MIT
 *
 * The runtime's three handshakes, and what becomes of each without any one of its barriers:
 *   posting, parking, waking   caller.c post, wait_for; wait.c sleep_for; sleep.c memsc_sleep_once;
 *                              poller.c drain, serve, publish, park
 *   takeover                   poller.c serve; pool.c take_over
 *   sharing a CPU              token.c memsc_token_acquire, memsc_token_release
 * The timed looks with which callers and pollers would survive a lost wake-up are left out.
 */
#include <stdio.h>

#include "explore.h"

/* What keeps accesses in order, each to be left out. */
enum barrier {
    NOTHING = 0,
    POST_RELEASE = 1,    /* the entry before the state that says it is there */
    LOOK_ACQUIRE = 2,    /* that state before the entry */
    PUBLISH_RELEASE = 4, /* the result before the state that says it is there */
    DONE_ACQUIRE = 8,    /* that state before the result */
    LIGHT_FIRST = 16,    /* thread 0 between its announcement and its check, */
    LIGHT_SECOND = 32,   /* thread 1 likewise: full barriers, where there is no membarrier */
    HEAVY_FIRST = 64,    /* as LIGHT_…, where it goes to sleep or takes over */
    HEAVY_SECOND = 128,
    CALL_RELEASE = 256, /* all that the poller has done before the name of its call */
    CALL_ACQUIRE = 512, /* that name before all of it */
};

static unsigned missing; /* enum barrier */
static bool symmetric;   /* full barriers on both sides */

static bool kept(enum barrier barrier)
{
    return !(missing & barrier);
}

/* handshake.h; each false until it is over. */
static bool light(int me)
{
    return !symmetric || !kept(me ? LIGHT_SECOND : LIGHT_FIRST) || model_barrier(me);
}

/* Goes on at `then`. */
static void heavy(int me, uint8_t then)
{
    if (!kept(me ? HEAVY_SECOND : HEAVY_FIRST))
        MODEL_ME.at = then;
    else if (!symmetric)
        model_membarrier(me, then);
    else if (model_barrier(me))
        MODEL_ME.at = then;
}

/* ---- posting, parking, waking ---- */

enum { ENTRY, ARGS, RESULT, PARKED, SLEEPING };
enum { FREE, SUBMITTED, DONE };
enum { CALLS = 3 };

/* r[0]: the last load, r[1]: calls made. */
static void caller(int me)
{
    struct model_thread *self = &MODEL_ME;
    switch (self->at) {
    case 1: /* post */
        model_store(me, ARGS, self->r[1] + 1, false);
        self->at = 11;
        return;
    case 11:
        model_store(me, ENTRY, SUBMITTED, kept(POST_RELEASE));
        self->at = 2;
        return;
    case 2: /* ring_doorbell */
        if (!light(me))
            return;
        self->at = model_load(me, PARKED, false) ? 3 : 5;
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
        self->at = model_load(me, ENTRY, kept(DONE_ACQUIRE)) == DONE ? 10 : 6;
        return;
    case 6: /* sleep_for */
        model_store(me, SLEEPING, 1, false);
        self->at = 7;
        return;
    case 7:
        heavy(me, 8);
        return;
    case 8:
        if (model_load(me, ENTRY, kept(DONE_ACQUIRE)) == DONE) {
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
        if (model_load(me, RESULT, false) != self->r[1])
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
        self->at = model_load(me, ENTRY, kept(LOOK_ACQUIRE)) == SUBMITTED ? 13 : 7;
        return;
    case 13: /* serve */
        if (model_load(me, ARGS, false) != self->r[0] + 1)
            model_fault("arguments are not the call's");
        self->at = 2;
        return;
    case 2: /* publish */
        model_store(me, RESULT, ++self->r[0], false);
        self->at = 3;
        return;
    case 3:
        model_store(me, ENTRY, DONE, kept(PUBLISH_RELEASE));
        self->at = 4;
        return;
    case 4:
        if (!light(me))
            return;
        self->at = model_load(me, SLEEPING, false) ? 5 : self->r[1] ? 12 : 1;
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
        self->r[1] = model_load(me, ENTRY, kept(LOOK_ACQUIRE)) == SUBMITTED;
        self->at = self->r[1] ? 13 : 10;
        return;
    case 10: /* memsc_sleep_parked */
        self->at = model_load(me, PARKED, false) ? 11 : 12;
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

enum { IN_CALL, BEFORE, EPOCH, SAW };

/* r[0]: calls begun. in_call names the call, so that the other tells which one it took over in. */
static void poller(int me)
{
    struct model_thread *self = &MODEL_ME;
    switch (self->at) {
    case 1: /* where a successor has to go on, among other things */
        model_store(me, BEFORE, ++self->r[0], false);
        self->at = 4;
        return;
    case 4:
        model_store(me, IN_CALL, self->r[0], kept(CALL_RELEASE));
        self->at = 2;
        return;
    case 2:
        model_store(me, IN_CALL, 0, false);
        self->at = 3;
        return;
    case 3:
        if (!light(me))
            return;
        if (model_load(me, EPOCH, false)) /* it asks under the lock, and is told */
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
        model_store(me, EPOCH, 1, false);
        self->at = 2;
        return;
    case 2:
        heavy(me, 3);
        return;
    case 3: /* a call seen: it is the poller from here on */
        self->r[0] = model_load(me, IN_CALL, kept(CALL_ACQUIRE));
        model_now.memory[SAW] = self->r[0];
        self->at = self->r[0] ? 4 : MODEL_END;
        return;
    case 4:
        if (model_load(me, BEFORE, false) < self->r[0])
            model_fault("it goes on where the other has been");
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

/* ---- sharing a CPU ---- */

enum { HOLDER, STATE };
enum { NOBODY, WAITER, RESTING };
enum { PARKED_MEMBER, WAITING, HOLDS };

static void waiter(int me)
{
    struct model_thread *self = &MODEL_ME;
    bool done;
    switch (self->at) {
    case 1: /* memsc_token_acquire; the member's state is its own to change */
        model_store(me, STATE, WAITING, false);
        self->at = 2;
        return;
    case 2:
        if (!light(me))
            return;
        self->at = model_load(me, HOLDER, false) == NOBODY ? 3 : 4;
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
        self->at = model_load(me, STATE, false) == HOLDS ? MODEL_END : 2;
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
    case 2: /* memsc_token_release: as a plain store where the barrier is missing */
        model_store(me, HOLDER, NOBODY, false);
        self->at = 3;
        return;
    case 3:
        if (!light(me))
            return;
        self->at = model_load(me, STATE, false) == WAITING ? 4 : MODEL_END;
        return;
    case 4:
        if (model_swap(me, HOLDER, NOBODY, WAITER, &done))
            self->at = done ? 5 : MODEL_END;
        return;
    case 5:
        if (model_swap(me, STATE, WAITING, HOLDS, &done))
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

static void sharing(int me)
{
    me ? holder(me) : waiter(me);
}

static const struct {
    const char *name;
    void (*step)(int me);
    bool servant;
    unsigned barriers; /* each of which it needs, if it is symmetric */
} handshakes[] = {
    {"posting and parking", post_and_park, true,
     POST_RELEASE | LOOK_ACQUIRE | PUBLISH_RELEASE | DONE_ACQUIRE | LIGHT_FIRST | LIGHT_SECOND |
         HEAVY_FIRST | HEAVY_SECOND},
    {"takeover", takeover, false, LIGHT_FIRST | HEAVY_SECOND | CALL_RELEASE | CALL_ACQUIRE},
    {"sharing a CPU", sharing, false, LIGHT_FIRST | LIGHT_SECOND},
};

/* As enum barrier has them. */
static const char *const names[] = {
    "release of the post", "acquire of the look", "release of the result", "acquire of the result",
    "the first's light",   "the second's light",  "the first's heavy",     "the second's heavy",
    "release of the name", "acquire of the name"};

static bool explore(size_t at, bool full, int without)
{
    char name[80];
    symmetric = full;
    missing = without < 0 ? NOTHING : 1u << without;
    snprintf(name, sizeof name, "%s, %s%s%s", handshakes[at].name, full ? "full" : "membarrier",
             without < 0 ? "" : " less ", without < 0 ? "" : names[without]);
    const struct model model = {
        name, handshakes[at].step, {false, handshakes[at].servant}, missing != NOTHING};
    return model_explore(&model);
}

int main(void)
{
    const unsigned lights = LIGHT_FIRST | LIGHT_SECOND;
    int failed = 0;
    for (size_t at = 0; at < sizeof handshakes / sizeof *handshakes; at++)
        for (int full = 0; full < 2; full++) {
            unsigned needed = handshakes[at].barriers & ~(full ? 0 : lights);
            if (!needed) /* it is between processes, which membarrier does not reach */
                continue;
            failed |= !explore(at, full, -1);
            for (int one = 0; one < (int)(sizeof names / sizeof *names); one++)
                if (needed >> one & 1)
                    failed |= !explore(at, full, one);
        }
    return failed;
}
