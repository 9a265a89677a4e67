/* SPDX-License-Identifier: MIT */
#include "ring.h"

#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/syscall.h>

#include "common.h"
#include "cpu.h"
#include "layout.h"
#include "median.h"

/* What may differ, each an index of its list below. */
enum parameter { PLACE, LOOK, STAY, PAUSES, OWNS, KEEPS, AHEAD, PARAMETERS };

enum place {
    IN_ENTRY, /* the reply comes in the entry's own line */
    OWN_LINE, /* in one that only the other side writes */
    PACKED,   /* four of those to a line */
};

static const struct {
    const char *name;
    int count, values[16];
} lists[PARAMETERS] = {
    [PLACE] = {"place", 3, {IN_ENTRY, OWN_LINE, PACKED}},
    /* Percent of what a call takes that is looked for at once. */
    [LOOK] = {"first-look", 13, {0, 35, 40, 45, 50, 55, 60, 65, 70, 75, 80, 90, 100}},
    [STAY] = {"stay",
              7,
              {0, 15, 25, 35, 45, 60, 80}}, /* before the other side looks again, likewise */
    [PAUSES] = {"pauses", 4, {1, 2, 4, 0}},
    [OWNS] = {"owns",
              2,
              {0, 1}}, /* the other side asks for the line of the reply before the call */
    [KEEPS] = {"keeps", 2, {0, 1}},       /* the caller asks for that of the next entry after it */
    [AHEAD] = {"ahead", 4, {0, 1, 2, 4}}, /* entries that are fetched before their turn */
};

struct variant {
    int at[PARAMETERS];
};

static int value_of(const struct variant *variant, enum parameter parameter)
{
    return lists[parameter].values[variant->at[parameter]];
}

/* The same, in the units of the loops below. */
struct rules {
    int place, pauses, ahead;
    bool owns, keeps, records;
    uint64_t look, stay;
};

struct reply {
    _Atomic uint64_t turn;
    int64_t result;
};

static struct {
    /* In an entry the reply lies over the arguments, behind the turn. */
    struct {
        alignas(MEMSC_LINE) _Atomic uint32_t
            turn; /* of the post; in the entry: with DONE, of the reply */
        uint32_t number;
        int64_t result;
        union {
            uint64_t args[6];
            struct {
                uint64_t picked, executed; /* of a call that is recorded */
            };
        };
    } entries[MEMSC_PAGE_ENTRIES];
    alignas(4096) struct {
        alignas(MEMSC_LINE) struct reply reply;
    } lines[MEMSC_PAGE_ENTRIES];
    alignas(4096) struct reply packed[MEMSC_PAGE_ENTRIES];
    alignas(4096) _Atomic uint32_t order;
    struct rules ordered;
    alignas(MEMSC_LINE) _Atomic uint32_t taken;
    int there;
} ring;

enum { END = 0, IDLE = 1, WORK = 2 };
static const uint32_t DONE = 1u << 31, LEAVE = 1u << 30;

static struct {
    pthread_t thread;
    struct rules rules;
    uint32_t turns[MEMSC_PAGE_ENTRIES], next;
    uint64_t whole; /* cycles of a call that is looked for at once */
    bool records;   /* rules are of recorded calls */
    struct memsc_call *calls;
    uint64_t recorded;
} caller;

static struct reply *reply_at(int place, uint32_t index)
{
    return place == OWN_LINE ? &ring.lines[index].reply : &ring.packed[index];
}

static inline void pause_for(int pauses)
{
    for (int i = 0; i < pauses; i++)
        memsc_pause();
}

static inline void stay_until(uint64_t until)
{
    while (memsc_cycles() < until)
        ;
}

/* ---- the other side ---- */

/* Expanded for each place, with stamps and without: no choice is left in the loop. */
static inline __attribute__((always_inline)) void serve(const struct rules *given, int place,
                                                        bool records)
{
    const struct rules rules = *given;
    uint32_t turns[MEMSC_PAGE_ENTRIES] = {0}, index = 0;
    atomic_store(&ring.taken, WORK);
    while (atomic_load_explicit(&ring.order, memory_order_relaxed) == WORK) {
        uint32_t turn = atomic_load_explicit(&ring.entries[index].turn, memory_order_acquire);
        /* The low bits: which call of this entry; LEAVE: the next call is the next entry's. */
        if ((turn & ~LEAVE) != turns[index] + 1) {
            pause_for(rules.pauses ? 1 : 0);
            continue;
        }
        /* Ordered behind the load that found it, as memsc's own. */
        uint64_t picked = records ? memsc_cycles_ordered() : 0;
        uint32_t next = turn & LEAVE ? (index + 1) % MEMSC_PAGE_ENTRIES : index;
        if (rules.ahead)
            __builtin_prefetch(&ring.entries[(index + (uint32_t)rules.ahead) % MEMSC_PAGE_ENTRIES]);
        if (rules.owns)
            memsc_own(place == IN_ENTRY ? (void *)&ring.entries[index]
                                        : (void *)reply_at(place, index));
        long result = memsc_raw(ring.entries[index].number, ring.entries[index].args);
        turns[index]++;
        if (records) {
            ring.entries[index].picked = picked;
            ring.entries[index].executed = memsc_cycles();
        }
        if (place == IN_ENTRY) {
            ring.entries[index].result = result;
            atomic_store_explicit(&ring.entries[index].turn, turns[index] | DONE,
                                  memory_order_release);
        } else {
            struct reply *reply = reply_at(place, index);
            reply->result = result;
            atomic_store_explicit(&reply->turn, turns[index], memory_order_release);
        }
        if (rules.stay && next == index)
            stay_until(memsc_cycles() + rules.stay);
        index = next;
    }
}

static void *other_side(void *unused)
{
    pin(ring.there);
    for (;;) {
        uint32_t order = atomic_load(&ring.order);
        if (order == END)
            return unused;
        if (order == IDLE) {
            atomic_store(&ring.taken, IDLE);
            memsc_pause();
        } else if (ring.ordered.records) {
            serve(&ring.ordered, IN_ENTRY, true);
        } else if (ring.ordered.place == IN_ENTRY) {
            serve(&ring.ordered, IN_ENTRY, false);
        } else if (ring.ordered.place == OWN_LINE) {
            serve(&ring.ordered, OWN_LINE, false);
        } else {
            serve(&ring.ordered, PACKED, false);
        }
    }
}

/* ---- the caller ---- */

static void order(uint32_t what)
{
    atomic_store(&ring.order, what);
    while (atomic_load(&ring.taken) != what)
        memsc_pause();
}

static void take_up(const struct rules *rules)
{
    order(IDLE);
    memset(ring.entries, 0, sizeof ring.entries);
    memset(ring.lines, 0, sizeof ring.lines);
    memset(ring.packed, 0, sizeof ring.packed);
    memset(caller.turns, 0, sizeof caller.turns);
    caller.next = 0;
    caller.rules = ring.ordered = *rules;
    order(WORK);
}

static inline void post(uint32_t index, uint32_t flags, long number, const long args[6])
{
    ring.entries[index].number = (uint32_t)number;
    for (int i = 0; i < 6; i++)
        ring.entries[index].args[i] = (uint64_t)args[i];
    atomic_store_explicit(&ring.entries[index].turn, ++caller.turns[index] | flags,
                          memory_order_release);
}

static inline bool is_done(uint32_t index)
{
    uint32_t turn = caller.turns[index];
    if (caller.rules.place == IN_ENTRY)
        return atomic_load_explicit(&ring.entries[index].turn, memory_order_acquire) ==
               (turn | DONE);
    return atomic_load_explicit(&reply_at(caller.rules.place, index)->turn, memory_order_acquire) ==
           turn;
}

static inline long await(uint32_t index)
{
    while (!is_done(index))
        pause_for(caller.rules.pauses);
    return caller.rules.place == IN_ENTRY ? ring.entries[index].result
                                          : reply_at(caller.rules.place, index)->result;
}

long memsc_ring_call(long number, const long args[6])
{
    uint32_t index = caller.next;
    post(index, 0, number, args);
    if (caller.rules.look)
        stay_until(memsc_cycles() + caller.rules.look);
    long result = await(index);
    if (caller.rules.keeps)
        memsc_own(&ring.entries[index]);
    return result;
}

static const long none[6] = {0};

enum { RECORDS = 1 << 16 }; /* more than a cache holds, as memsc's */

void memsc_ring_recorded_call(void)
{
    struct memsc_call *call = &caller.calls[caller.recorded++ % RECORDS];
    uint32_t index = caller.next;
    call->called = memsc_cycles();
    post(index, 0, SYS_getppid, none);
    call->posted = memsc_cycles();
    call->number = SYS_getppid;
    if (caller.rules.look)
        stay_until(call->posted + caller.rules.look);
    call->result = await(index);
    call->completed = memsc_cycles_ordered();
    call->picked = ring.entries[index].picked;
    call->executed = ring.entries[index].executed;
    if (caller.rules.keeps)
        memsc_own(&ring.entries[index]);
}

void memsc_ring_batch(int size)
{
    long sum = 0;
    uint32_t first = caller.next;
    for (uint32_t i = 0; i < (uint32_t)size; i++)
        post((first + i) % MEMSC_PAGE_ENTRIES, LEAVE, SYS_getppid, none);
    for (uint32_t i = 0; i < (uint32_t)size; i++)
        sum += await((first + i) % MEMSC_PAGE_ENTRIES);
    caller.next = (first + (uint32_t)size) % MEMSC_PAGE_ENTRIES;
    (void)*(volatile long *)&sum;
}

/* ---- the search ---- */

enum { BLOCK = 2000, BLOCKS = 5, PASSES = 2 };

static struct rules rules_of(const struct variant *variant)
{
    return (struct rules){
        .place = value_of(variant, PLACE),
        .pauses = value_of(variant, PAUSES),
        .ahead = value_of(variant, AHEAD),
        .owns = value_of(variant, OWNS),
        .keeps = value_of(variant, KEEPS),
        .records = caller.records,
        .look = caller.whole * (uint64_t)value_of(variant, LOOK) / 100,
        .stay = caller.whole * (uint64_t)value_of(variant, STAY) / 100,
    };
}

/* What a call, or a batch, takes under these rules: the median of a block. */
static uint64_t block(const struct rules *rules, int size)
{
    static uint64_t array[BLOCK];
    size_t count = size ? BLOCK / (size_t)size + 1 : BLOCK;
    take_up(rules);
    for (size_t i = 0; i < count / 8 + count; i++) {
        uint64_t since = memsc_cycles();
        if (size)
            memsc_ring_batch(size);
        else if (rules->records)
            memsc_ring_recorded_call();
        else
            memsc_ring_call(SYS_getppid, none);
        if (i >= count / 8)
            array[i - count / 8] = memsc_cycles() - since;
    }
    return median_of(array, count);
}

/* The best value of one parameter, the others as they are. All take turns, so that the host's mood is none's
 * gain. */
static void choose(struct variant *best, enum parameter parameter, int size)
{
    enum { MOST = 16 };
    static uint64_t taken[MOST][BLOCKS];
    /* The stamps come in the entry, and so does the reply. */
    int count = parameter == PLACE && caller.records ? 1 : lists[parameter].count;
    for (int turn = 0; turn < BLOCKS; turn++)
        for (int i = 0; i < count; i++) {
            struct variant tried = *best;
            tried.at[parameter] = turn % 2 ? count - 1 - i : i;
            const struct rules rules = rules_of(&tried);
            taken[tried.at[parameter]][turn] = block(&rules, size);
        }
    uint64_t least = UINT64_MAX;
    for (int i = 0; i < count; i++) {
        uint64_t middle = median_of(taken[i], BLOCKS);
        if (middle < least) {
            least = middle;
            best->at[parameter] = i;
        }
    }
}

static void search(const enum parameter *parameters, size_t count, int size, const char *measures)
{
    struct variant best = {{0}};
    const struct rules plain = rules_of(&best);
    block(&plain, size);
    caller.whole = block(&plain, 0);
    for (int pass = 0; pass < PASSES; pass++)
        for (size_t i = 0; i < count; i++)
            choose(&best, parameters[i], size);
    const struct rules rules = rules_of(&best);
    take_up(&rules);
    FILE *file = fopen(measures, "w");
    if (!file)
        fail(measures, errno);
    fprintf(file, "{\"at-once\": %llu, \"look\": %llu, \"stay\": %llu",
            (unsigned long long)caller.whole, (unsigned long long)rules.look,
            (unsigned long long)rules.stay);
    for (enum parameter each = PLACE; each < PARAMETERS; each++)
        if (each != LOOK && each != STAY)
            fprintf(file, ", \"%s\": %d", lists[each].name, value_of(&best, each));
    if (fprintf(file, "}\n") < 0 || fclose(file))
        fail(measures, errno);
}

void memsc_ring_search(const char *measures)
{
    /* The places first, and again once the times are found that go with each. */
    static const enum parameter order[] = {LOOK, STAY, LOOK, PLACE, STAY, PAUSES, OWNS, KEEPS};
    search(order, sizeof order / sizeof *order, 0, measures);
}

void memsc_ring_search_recorded(const char *measures)
{
    caller.records = true;
    caller.calls = memory(RECORDS * sizeof *caller.calls, MAP_PRIVATE);
    memsc_ring_search(measures);
}

void memsc_ring_search_batch(int size, const char *measures)
{
    static const enum parameter order[] = {PLACE, AHEAD, PAUSES, OWNS};
    search(order, sizeof order / sizeof *order, size, measures);
}

void memsc_ring_begin(int here, int there)
{
    ring.there = there;
    atomic_store(&ring.order, IDLE);
    int error = pthread_create(&caller.thread, NULL, other_side, NULL);
    if (error)
        fail("thread", error);
    pin(here);
}

void memsc_ring_end(void)
{
    atomic_store(&ring.order, END);
    pthread_join(caller.thread, NULL);
}
