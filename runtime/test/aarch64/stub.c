/* SPDX-License-Identifier: MIT
 *
 * This program as the object to be rewritten: each kind of site is found as the kind it is, and behaves after
 * rewriting exactly as before, whether the dispatch answers or has the call run here. Unwinders find their way from
 * the dispatch, and from a signal that comes while a slot makes the call.
 */
#include "rewritten.h"

#include "raw.h"

#include <errno.h>
#include <unwind.h>

struct registers {
    uint64_t general[31], flags;
    uint8_t vectors[32][16];
};

struct registers registers_in, registers_out;

/* No thread is cancelled here. */
_Thread_local volatile uint32_t memsc_cancel_came;
uint32_t memsc_cancels_came;

#define SITE(name)                                                                                 \
    void name(void);                                                                               \
    extern uint8_t name##_svc[];
SITE(site_plain)
SITE(site_number)
SITE(site_leaf)
SITE(site_constant)
SITE(site_bridge)
SITE(site_bridge_fixed)
SITE(site_entry)
SITE(site_return)
SITE(site_literal)
SITE(site_table)
SITE(site_outside)
SITE(site_behind)

enum { NO_SITE = -1, RUN = 2 /* the first of the cases are run, with all registers */ };

static const struct {
    const char *name;
    void (*run)(void);
    uint8_t *address;
    int missed; /* enum memsc_missed, or MEMSC_MISSED_REASONS for one that is changed */
} cases[] = {
#define CASE(name, missed) {#name, name, name##_svc, missed}
#define NOT_RUN(name, missed) {#name, NULL, name##_svc, missed}
    CASE(site_plain, MEMSC_MISSED_REASONS),
    CASE(site_number, MEMSC_MISSED_REASONS),
    CASE(site_leaf, MEMSC_MISSED_REASONS),
    CASE(site_constant, MEMSC_MISSED_REASONS),
    CASE(site_bridge, MEMSC_MISSED_REASONS),
    CASE(site_bridge_fixed, MEMSC_MISSED_BRIDGE),
    CASE(site_entry, MEMSC_MISSED_ENTRY),
    CASE(site_return, NO_SITE),
    CASE(site_literal, NO_SITE),
    CASE(site_table, NO_SITE),
    NOT_RUN(site_outside, MEMSC_MISSED_UNDECODED),
    NOT_RUN(site_behind, MEMSC_MISSED_UNDECODED),
};
enum { CASES = sizeof cases / sizeof cases[0] };

/* Addresses that lead here, in their order. */
struct trace {
    uintptr_t addresses[64];
    int count;
};

static _Unwind_Reason_Code step(struct _Unwind_Context *context, void *data)
{
    struct trace *trace = data;
    trace->addresses[trace->count++] = _Unwind_GetIP(context);
    return trace->count == 64 ? _URC_END_OF_STACK : _URC_NO_REASON;
}

/* Where of the trace something is that lies in a function; -1: nowhere. */
static int place(const struct trace *trace, uintptr_t begin, uintptr_t bytes)
{
    for (int i = 0; i < trace->count; i++)
        if (trace->addresses[i] >= begin && trace->addresses[i] < begin + bytes)
            return i;
    return -1;
}

static struct trace from_dispatch, from_signal;
static bool traces;

__attribute__((target("general-regs-only"), noinline)) static void ruin(void)
{
    __asm__ volatile("mov x9, xzr\n\tcmp x9, #1\n\tmov x18, xzr" ::
                         : "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11",
                           "x12", "x13", "x14", "x15", "x16", "x17", "x18", "cc");
}

__attribute__((target("general-regs-only"))) struct memsc_answer
memsc_dispatch(long number, const uint64_t args[6])
{
    note(number, args);
    if (traces)
        _Unwind_Backtrace(step, &from_dispatch);
    else
        ruin();
    return (struct memsc_answer){answers ? (long)0x1234 : 77, answers};
}

enum { FLAG_SETS = 16 };

static void run(int which, int flags, struct registers *out)
{
    for (unsigned i = 0; i < sizeof registers_in; i++)
        ((uint8_t *)&registers_in)[i] = (uint8_t)(i * 37 + 11);
    registers_in.flags = (uint64_t)flags << 28;
    registers_in.general[8] = SYS_getpid;
    memset(&registers_out, 0, sizeof registers_out);
    cases[which].run();
    *out = registers_out;
}

static void compare(struct registers expected[RUN][FLAG_SETS])
{
    for (int i = 0; i < RUN; i++)
        for (int f = 0; f < FLAG_SETS; f++) {
            struct registers got, *wanted = &expected[i][f];
            int before = dispatched;
            run(i, f, &got);
            CHECK_EQUAL(dispatched, before + 1);
            CHECK_EQUAL(seen_number, SYS_getpid);
            CHECK_EQUAL(got.general[0], answers ? 0x1234 : (uint64_t)getpid());
            for (int a = 0; a < 6; a++)
                CHECK_EQUAL(seen[a], registers_in.general[a]);
            for (int r = 1; r < 31; r++)
                CHECK_EQUAL(got.general[r], wanted->general[r]);
            CHECK_EQUAL(got.flags, wanted->flags);
            CHECK(memcmp(got.vectors, wanted->vectors, sizeof got.vectors) == 0);
        }
}

/* A bridge's own instruction stays, and is what makes a call that nobody answers. The number is copied by the
 * instruction that has moved; the look for a cancelled thread finds none. */
static void check_bridge(void)
{
    long (*bridge)(long, long) = (long (*)(long, long))site_bridge;
    CHECK_EQUAL(memcmp(site_bridge_svc, (uint8_t[]){1, 0, 0, 0xd4}, MEMSC_SYSCALL_BYTES), 0);
    for (memsc_cancels_came = 0; memsc_cancels_came < 2; memsc_cancels_came++) {
        int before = dispatched;
        CHECK_EQUAL(bridge(5, SYS_getpid), answers ? 0x1234 : getpid());
        CHECK_EQUAL(dispatched, before + 1);
        CHECK_EQUAL(seen_number, SYS_getpid);
        CHECK_EQUAL(seen[0], 5);
    }
}

static void handler(int signal)
{
    (void)signal;
    _Unwind_Backtrace(step, &from_signal);
}

/* From the dispatch, and then from a handler that interrupts the slot, back to the site and to who called its
 * function, which changes neither the stack nor x30. */
__attribute__((noinline)) static void check_unwinding(void)
{
    enum { LEAF_BYTES = 16, OWN_BYTES = 512 };
    long (*wait)(void *, long, const struct timespec *, void *, long) =
        (long (*)(void *, long, const struct timespec *, void *, long))site_leaf;
    const struct timespec long_enough = {20, 0};
    struct sigaction action = {.sa_handler = handler};
    CHECK_EQUAL(sigaction(SIGALRM, &action, NULL), 0);
    traces = true;
    answers = false;
    ualarm(100000, 0);
    CHECK_EQUAL(wait(NULL, 0, &long_enough, NULL, 8), -EINTR);
    traces = false;
    const struct trace *const all[] = {&from_dispatch, &from_signal};
    for (int i = 0; i < 2; i++) {
        int leaf = place(all[i], (uintptr_t)site_leaf, LEAF_BYTES);
        int here = place(all[i], (uintptr_t)check_unwinding, OWN_BYTES);
        CHECK(leaf > 0);
        CHECK_EQUAL(here, leaf + 1);
    }
}

int main(void)
{
    static struct registers expected[RUN][FLAG_SETS];
    pid_t by_hand = begin_by_hand_too();
    for (int i = 0; i < RUN; i++)
        for (int f = 0; f < FLAG_SETS; f++)
            run(i, f, &expected[i][f]);

    struct memsc_object object = plan_this_program();
    uint32_t planned = 0;
    for (int i = 0; i < CASES; i++) {
        const struct memsc_site *site = site_at(cases[i].address);
        int found = !site                               ? NO_SITE
                    : site->kind == MEMSC_SITE_IN_PLACE ? MEMSC_MISSED_REASONS
                                                        : site->missed;
        if (found != cases[i].missed)
            fprintf(stderr, "%s: %d, not %d\n", cases[i].name, found, cases[i].missed);
        CHECK_EQUAL(found, cases[i].missed);
        planned += site != NULL;
    }
    CHECK_EQUAL(planned, site_count);

    CHECK_EQUAL(rewrite(&object), 5);
    for (int i = 0; i < CASES; i++)
        CHECK(!site_at(cases[i].address) ||
              site_at(cases[i].address)->bridge == (cases[i].run == site_bridge));
    compare(expected);
    check_bridge();
    answers = true;
    compare(expected);
    check_bridge();
    check_unwinding();
    end_by_hand_too(by_hand);
    return 0;
}
