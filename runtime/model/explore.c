/* SPDX-License-Identifier: MIT */
#include "explore.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct model_state model_now;
enum model_order model_order;

static const char *fault;
static bool moved;

/* ---- accesses ---- */

/* Of the values that a load may read: which one it reads this time, and how many there are. */
static int chosen, choices;

static uint8_t newest(int word)
{
    for (int i = model_now.logged - 1; i >= 0; i--)
        if (model_now.log[i].word == word)
            return model_now.log[i].value;
    return model_now.memory[word];
}

static void write(int word, uint8_t value)
{
    if (model_now.logged == MODEL_LOG) {
        model_now.memory[model_now.log[0].word] = model_now.log[0].value;
        memmove(model_now.log, model_now.log + 1, sizeof model_now.log - sizeof *model_now.log);
        model_now.logged--;
        for (int i = 0; i < MODEL_THREADS * MODEL_WORDS; i++) {
            uint8_t *since = &model_now.thread[i / MODEL_WORDS].since[i % MODEL_WORDS];
            *since -= *since > 0;
        }
    }
    model_now.log[model_now.logged].word = (uint8_t)word;
    model_now.log[model_now.logged++].value = value;
}

/* No later load precedes this moment. */
static void look_anew(struct model_thread *thread)
{
    memset(thread->since, model_now.logged, sizeof thread->since);
}

uint8_t model_load(int me, int word, bool acquire)
{
    for (int i = MODEL_ME.stores - 1; i >= 0; i--)
        if (MODEL_ME.store[i].word == word)
            return MODEL_ME.store[i].value;
    if (model_order == MODEL_TSO)
        return newest(word);
    uint8_t value = model_now.memory[word], at = MODEL_ME.since[word];
    choices = 1;
    for (uint8_t i = 0; i < model_now.logged; i++) {
        if (model_now.log[i].word != word)
            continue;
        if (i < MODEL_ME.since[word]) {
            value = model_now.log[i].value;
        } else if (choices++ <= chosen) {
            value = model_now.log[i].value;
            at = i + 1;
        }
    }
    MODEL_ME.since[word] = at;
    for (int i = 0; acquire && i < MODEL_WORDS; i++)
        if (MODEL_ME.since[i] < at)
            MODEL_ME.since[i] = at;
    return value;
}

void model_store(int me, int word, uint8_t value, bool release)
{
    if (MODEL_ME.stores == MODEL_STORES) {
        fprintf(stderr, "a buffer is too small\n");
        abort();
    }
    int at = MODEL_ME.stores++;
    MODEL_ME.store[at].word = (uint8_t)word;
    MODEL_ME.store[at].value = value;
    MODEL_ME.store[at].release = release;
}

bool model_barrier(int me)
{
    moved &= MODEL_ME.stores == 0;
    if (MODEL_ME.stores == 0)
        look_anew(&MODEL_ME);
    return MODEL_ME.stores == 0;
}

bool model_membarrier(int me, uint8_t then)
{
    if (!model_barrier(me))
        return false;
    MODEL_ME.waiting = 1;
    MODEL_ME.at = then;
    return true;
}

/* Whether an atomic operation may go ahead: on x86 it drains, elsewhere only its own word. */
static bool atomic_ready(int me, int word)
{
    if (model_order == MODEL_TSO)
        return model_barrier(me);
    for (int i = 0; i < MODEL_ME.stores; i++)
        if (MODEL_ME.store[i].word == word) {
            moved = false;
            return false;
        }
    return true;
}

bool model_exchange(int me, int word, uint8_t value, uint8_t *before)
{
    if (!atomic_ready(me, word))
        return false;
    *before = newest(word);
    write(word, value);
    MODEL_ME.since[word] = model_now.logged;
    return true;
}

bool model_swap(int me, int word, uint8_t from, uint8_t to, bool *done)
{
    if (!atomic_ready(me, word))
        return false;
    *done = newest(word) == from;
    if (*done)
        write(word, to);
    MODEL_ME.since[word] = model_now.logged;
    return true;
}

bool model_wait(int me, int word, uint8_t value)
{
    if (!model_barrier(me))
        return false;
    if (newest(word) == value)
        MODEL_ME.asleep = (uint8_t)(1 + word);
    return true;
}

bool model_wake(int me, int word)
{
    if (!model_barrier(me))
        return false;
    struct model_thread *other = &model_now.thread[1 - me];
    if (other->asleep == 1 + word) {
        other->asleep = 0;
        look_anew(other);
    }
    return true;
}

void model_fault(const char *what)
{
    fault = what;
}

/* ---- exploration ---- */

static struct model_state *stack, *table;
static uint64_t stacked, stack_room, known, table_room;

static uint64_t hash(const struct model_state *state)
{
    uint64_t sum = 0xcbf29ce484222325ull;
    for (size_t i = 0; i < sizeof *state; i++)
        sum = (sum ^ ((const uint8_t *)state)[i]) * 0x100000001b3ull;
    return sum ^ sum >> 29;
}

static struct model_state *place_of(const struct model_state *state)
{
    static const struct model_state none;
    uint64_t at = hash(state);
    for (;; at++) {
        struct model_state *place = &table[at % table_room];
        if (!memcmp(place, &none, sizeof none) || !memcmp(place, state, sizeof *state))
            return place;
    }
}

static void grow(void)
{
    struct model_state *old = table;
    uint64_t room = table_room;
    table_room = room ? room * 2 : 1 << 14;
    table = calloc(table_room, sizeof *table);
    if (!table)
        abort();
    static const struct model_state none;
    for (uint64_t i = 0; i < room; i++)
        if (memcmp(&old[i], &none, sizeof none))
            *place_of(&old[i]) = old[i];
    free(old);
}

/* Forgets what no load can tell any more. */
static void tidy(void)
{
    if (model_order == MODEL_TSO)
        for (int i = 0; i < MODEL_THREADS; i++)
            look_anew(&model_now.thread[i]);
    uint8_t least = model_now.logged;
    for (int i = 0; i < MODEL_THREADS * MODEL_WORDS; i++) {
        const struct model_thread *thread = &model_now.thread[i / MODEL_WORDS];
        if (thread->at != MODEL_END && thread->since[i % MODEL_WORDS] < least)
            least = thread->since[i % MODEL_WORDS];
    }
    for (int i = 0; i < least; i++)
        model_now.memory[model_now.log[i].word] = model_now.log[i].value;
    model_now.logged -= least;
    memmove(model_now.log, model_now.log + least, model_now.logged * sizeof *model_now.log);
    memset(model_now.log + model_now.logged, 0,
           (MODEL_LOG - model_now.logged) * sizeof *model_now.log);
    for (int i = 0; i < MODEL_THREADS * MODEL_WORDS; i++) {
        struct model_thread *thread = &model_now.thread[i / MODEL_WORDS];
        uint8_t *since = &thread->since[i % MODEL_WORDS];
        *since = thread->at == MODEL_END ? 0 : *since - least;
    }
}

/* Notes where the model is now, if it was never there. */
static void reach(void)
{
    tidy();
    if (known * 2 >= table_room)
        grow();
    struct model_state *place = place_of(&model_now);
    if (!memcmp(place, &model_now, sizeof model_now))
        return;
    *place = model_now;
    known++;
    if (stacked == stack_room) {
        stack_room = stack_room ? stack_room * 2 : 1 << 12;
        stack = realloc(stack, stack_room * sizeof *stack);
        if (!stack)
            abort();
    }
    stack[stacked++] = model_now;
}

static bool may_drain(const struct model_thread *thread, int which)
{
    if (which && (model_order == MODEL_TSO || thread->store[which].release))
        return false;
    for (int i = 0; i < which; i++)
        if (thread->store[i].word == thread->store[which].word)
            return false;
    return true;
}

static void drain(struct model_thread *thread, int which)
{
    uint8_t word = thread->store[which].word;
    write(word, thread->store[which].value);
    thread->since[word] = model_now.logged; /* what it wrote itself it does not see undone */
    for (int i = which; i + 1 < thread->stores; i++)
        thread->store[i] = thread->store[i + 1];
    memset(&thread->store[--thread->stores], 0, sizeof *thread->store);
}

/* Everything that can happen in a state; false if nothing can. */
static bool expand(const struct model *model, const struct model_state *from)
{
    bool any = false;
    for (int me = 0; me < MODEL_THREADS; me++) {
        for (int which = 0; which < from->thread[me].stores; which++) {
            model_now = *from;
            if (!may_drain(&MODEL_ME, which))
                continue;
            drain(&MODEL_ME, which);
            any = true;
            reach();
        }
        if (from->thread[me].waiting) {
            if (from->thread[1 - me].stores)
                continue;
            model_now = *from;
            MODEL_ME.waiting = 0;
            look_anew(&model_now.thread[1 - me]);
            look_anew(&MODEL_ME);
            any = true;
            reach();
        } else if (!from->thread[me].asleep && from->thread[me].at != MODEL_END) {
            chosen = 0;
            do {
                model_now = *from;
                moved = true;
                choices = 1;
                model->step(me);
                if (moved) {
                    any = true;
                    reach();
                }
            } while (++chosen < choices);
        }
    }
    return any;
}

static bool all_well(const struct model *model, const struct model_state *state)
{
    for (int i = 0; i < MODEL_THREADS; i++)
        if (state->thread[i].at != MODEL_END && !model->servant[i])
            return false;
    return true;
}

static bool explore(const struct model *model)
{
    fault = NULL;
    known = stacked = 0;
    if (table)
        memset(table, 0, table_room * sizeof *table);
    memset(&model_now, 0, sizeof model_now);
    model_now.thread[0].at = model_now.thread[1].at = 1; /* none of the states is all zero */
    reach();
    while (stacked && !fault) {
        struct model_state state = stack[--stacked];
        if (!expand(model, &state) && !all_well(model, &state))
            model_fault("somebody sleeps for ever");
    }
    fprintf(stderr, "%-62s %-5s %7llu states: %s\n", model->name,
            model_order == MODEL_TSO ? "TSO" : "weak", (unsigned long long)known,
            fault ? fault : "sound");
    return !fault;
}

bool model_explore(const struct model *model)
{
    bool sound[2];
    for (model_order = MODEL_TSO; model_order <= MODEL_WEAK; model_order++)
        sound[model_order] = explore(model);
    return model->broken ? !sound[MODEL_WEAK] : sound[MODEL_TSO] && sound[MODEL_WEAK];
}
