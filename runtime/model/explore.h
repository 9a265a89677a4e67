/* SPDX-License-Identifier: MIT
 *
 * Explores every interleaving of two small threads, with every delay of their stores.
 *
 * A store waits in its thread's buffer until it drains to memory, at any later time; the thread itself
 * sees it at once. Under TSO (x86) stores drain in order and loads read memory as it is. Under the weak
 * order (Arm) only stores to one address drain in order, and a releasing one after all before it; and a
 * load may have been made earlier than those before it: it reads any value that its word has had since
 * the thread last read that word, passed a barrier, or made an acquiring load, which no later load
 * precedes. membarrier(2) is a full barrier in the other thread, once that has drained. Sleeping and
 * waking are full barriers, as in the kernel's futex.
 *
 * Bounded: a load is at most MODEL_LOG stores to memory early. Not modelled: a load that is made after a
 * store behind it in the program. Here every store hangs on a branch on the loads before it, and Arm
 * makes none of those early.
 *
 * A model is a step function. It has a counter and three registers per thread, makes one access to
 * memory per step, and calls end() when its thread is done. A state in which no thread can move and
 * one is neither done nor a servant is a lost wake-up.
 */
#ifndef MEMSC_MODEL_EXPLORE_H
#define MEMSC_MODEL_EXPLORE_H

#include <stdbool.h>
#include <stdint.h>

enum { MODEL_THREADS = 2, MODEL_WORDS = 6, MODEL_STORES = 9, MODEL_LOG = 8, MODEL_END = 255 };

struct model_state {
    uint8_t memory[MODEL_WORDS]; /* as it was before the stores in the log */
    struct {
        uint8_t word, value;
    } log[MODEL_LOG];
    uint8_t logged;
    struct model_thread {
        uint8_t at, r[3];
        uint8_t asleep;             /* 1 + word, 0: awake */
        uint8_t waiting;            /* in membarrier, for the other to drain */
        uint8_t since[MODEL_WORDS]; /* how much of the log a load of this word cannot precede */
        uint8_t stores;
        struct {
            uint8_t word, value, release;
        } store[MODEL_STORES];
    } thread[MODEL_THREADS];
};

enum model_order { MODEL_TSO, MODEL_WEAK };

struct model {
    const char *name;
    void (*step)(int me);
    bool servant[MODEL_THREADS]; /* may sleep for ever */
    bool broken;                 /* the exploration must find a fault */
};

/* For step functions: the thread's own counter and registers, and accesses. One that cannot be made yet
 * returns false, and the step is tried again later. */
extern struct model_state model_now;
extern enum model_order model_order;
#define MODEL_ME (model_now.thread[me])

uint8_t model_load(int me, int word, bool acquire);
void model_store(int me, int word, uint8_t value, bool release);
bool model_barrier(int me);                  /* a full one: false until it has drained */
bool model_membarrier(int me, uint8_t then); /* as model_barrier; `then` is where it goes on */
bool model_exchange(int me, int word, uint8_t value, uint8_t *before);
bool model_swap(int me, int word, uint8_t from, uint8_t to, bool *done); /* compare and exchange */
bool model_wait(int me, int word, uint8_t value);
bool model_wake(int me, int word);
void model_fault(const char *what);

/* Explores a model under both orders; true if it is as it says: sound, or broken. */
bool model_explore(const struct model *model);

#endif
