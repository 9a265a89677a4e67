/* SPDX-License-Identifier: MIT
 *
 * This program as the object to be rewritten: each kind of site is found as the kind it is, and
 * behaves after rewriting exactly as before, whether the dispatch answers or has the call run here.
 */
#include "rewritten.h"
#include "slots.h"

struct registers {
    uint64_t general[14], result, stack_pointer;
    uint64_t red_zone[16];
    uint64_t flags;
    uint8_t vectors[16][16];
} __attribute__((packed));

struct registers registers_in, registers_out;

#define SITE(name)                                                                                 \
    void name(void);                                                                               \
    extern uint8_t name##_syscall[];
SITE(site_hop)
SITE(site_after)
SITE(site_after_two)
SITE(site_before)
SITE(site_before_two)
SITE(site_jump)
SITE(site_jump_before)
SITE(site_return)
SITE(site_full)
SITE(site_entry)
SITE(site_marked)
SITE(site_bridge)
SITE(site_false)

static const struct {
    const char *name;
    void (*run)(void);
    uint8_t *address;
    int kind;
} cases[] = {
#define CASE(name, kind) {#name, name, name##_syscall, kind}
    CASE(site_hop, MEMSC_SITE_HOP),
    CASE(site_after, MEMSC_SITE_AFTER),
    CASE(site_after_two, MEMSC_SITE_AFTER),
    CASE(site_before, MEMSC_SITE_BEFORE),
    CASE(site_before_two, MEMSC_SITE_BEFORE),
    CASE(site_jump, MEMSC_SITE_BEFORE),
    CASE(site_jump_before, MEMSC_SITE_MISSED),
    CASE(site_return, MEMSC_SITE_AFTER),
    CASE(site_full, MEMSC_SITE_HOP),
    CASE(site_entry, MEMSC_SITE_MISSED),
    CASE(site_marked, MEMSC_SITE_HOP),
    CASE(site_bridge, MEMSC_SITE_BEFORE),
};
enum { CASES = sizeof cases / sizeof cases[0] };

/* No thread is cancelled here. */
_Thread_local volatile uint32_t memsc_cancel_came;
uint32_t memsc_cancels_came;

__attribute__((target("general-regs-only"))) struct memsc_answer
memsc_dispatch(long number, const uint64_t args[6])
{
    note(number, args);
    /* Ruins the flags and whatever else the stub must keep. */
    uint64_t scratch = ~0ull;
    __asm__ volatile("addq $1, %0"
                     : "+r"(scratch)::"rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "cc");
    return (struct memsc_answer){answers ? getpid() : 77, answers};
}

static void run(int which, uint64_t flags, struct registers *out)
{
    for (unsigned i = 0; i < sizeof registers_in; i++)
        ((uint8_t *)&registers_in)[i] = (uint8_t)(i * 37 + 11);
    registers_in.flags = 0x202 | flags;
    memset(&registers_out, 0, sizeof registers_out);
    cases[which].run();
    registers_out.stack_pointer -= registers_in.stack_pointer; /* must come to nothing */
    *out = registers_out;
}

/* All flag patterns that a comparison could leave. */
static const uint64_t flag_sets[] = {0, 0x8d5, 0x1, 0x4, 0x10, 0x40, 0x80, 0x800, 0x845};
enum { FLAG_SETS = sizeof flag_sets / sizeof flag_sets[0] };

static void compare(struct registers expected[CASES][FLAG_SETS])
{
    for (int i = 0; i < CASES; i++) {
        if (cases[i].kind == MEMSC_SITE_MISSED)
            continue;
        for (int f = 0; f < FLAG_SETS; f++) {
            struct registers got;
            int before = dispatched;
            run(i, flag_sets[f], &got);
            CHECK_EQUAL(dispatched, before + 1);
            CHECK_EQUAL(seen_number, SYS_getpid);
            /* rdi, rsi, rdx, r10, r8, r9 */
            static const int order[] = {4, 3, 2, 8, 6, 7};
            for (int a = 0; a < 6; a++)
                if (!(a == 2 && cases[i].run == site_before_two))
                    CHECK_EQUAL(seen[a], registers_in.general[order[a]]);
            if (memcmp(&got, &expected[i][f], sizeof got) != 0) {
                for (unsigned b = 0; b < sizeof got; b++)
                    if (((uint8_t *)&got)[b] != ((uint8_t *)&expected[i][f])[b])
                        fprintf(stderr, "%s: byte %u differs\n", cases[i].name, b);
                exit(1);
            }
        }
    }
}

int main(void)
{
    static struct registers expected[CASES][FLAG_SETS];
    pid_t by_hand = begin_by_hand_too();
    for (int i = 0; i < CASES; i++)
        for (int f = 0; f < FLAG_SETS; f++)
            run(i, flag_sets[f], &expected[i][f]);

    struct memsc_object object = plan_this_program();
    for (int i = 0; i < CASES; i++) {
        const struct memsc_site *site = site_at(cases[i].address);
        CHECK(site);
        if (site->kind != cases[i].kind)
            fprintf(stderr, "%s: kind %d, not %d\n", cases[i].name, site->kind, cases[i].kind);
        CHECK_EQUAL(site->kind, cases[i].kind);
    }
    CHECK(!site_at(site_false_syscall));
    for (int i = 0; i < CASES; i++)
        CHECK_EQUAL(site_at(cases[i].address)->bridge, cases[i].run == site_bridge);

    rewrite(&object);
    CHECK(site_bridge_syscall[0] == 0x0f && site_bridge_syscall[1] == 0x05);
    compare(expected);
    answers = true;
    compare(expected);
    end_by_hand_too(by_hand);
    return 0;
}
