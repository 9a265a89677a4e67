/* SPDX-License-Identifier: MIT */
#include "rewrite.h"

#include "bridge.h"
#include "raw.h"
#include "slots.h"
#include "stub.h"

enum { REACH = 128 << 20 };

/* A branch that is to stand at `at`. */
static void put_branch(uint8_t *bytes, const uint8_t *at, const uint8_t *target)
{
    enum { BRANCH = 0x14000000, DISTANCE = 0x03ffffff };
    uint32_t word = BRANCH | ((uint32_t)((target - at) / 4) & DISTANCE);
    memsc_copy_bytes(bytes, (const uint8_t *)&word, sizeof word);
}

/* Between the site and any instruction of the slot. */
bool memsc_reaches(const uint8_t *live, const uint8_t *slot)
{
    int64_t distance = slot - live;
    return distance > -REACH + MEMSC_SLOT_BYTES && distance < REACH - MEMSC_SLOT_BYTES;
}

void memsc_fill_area(uint8_t *slots)
{
    extern const uint8_t memsc_stub_common[];
    const uint8_t *common = memsc_stub_common, *bridge = memsc_bridge_local;
    memsc_copy_bytes(slots + MEMSC_AREA_COMMON, (const uint8_t *)&common, sizeof common);
    memsc_copy_bytes(slots + MEMSC_AREA_BRIDGE, (const uint8_t *)&bridge, sizeof bridge);
}

void memsc_fill_slot(const struct memsc_site *site, ptrdiff_t to_live)
{
    uint8_t *back = site->slot + MEMSC_SLOT_BACK;
    uint8_t *resume = site->address + MEMSC_SYSCALL_BYTES + to_live;
    put_branch(back, back, resume);
    if (site->bridge) {
        uint8_t *local = site->slot + MEMSC_SLOT_LOCAL;
        put_branch(local, local, site->slot + MEMSC_SLOT_BRIDGE);
        memsc_copy_bytes(site->slot + MEMSC_SLOT_ENTRY, site->bytes, MEMSC_SYSCALL_BYTES);
    }
    memsc_copy_bytes(site->slot + MEMSC_SLOT_RESUME, (const uint8_t *)&resume, sizeof resume);
}

uint32_t memsc_changes(const struct memsc_site *site, ptrdiff_t to_live,
                       struct memsc_change changes[2])
{
    changes[0].at = site->address + to_live - site->moved;
    changes[0].size = MEMSC_SYSCALL_BYTES;
    changes[0].before = site->bytes;
    put_branch(changes[0].bytes, changes[0].at,
               site->bridge ? site->slot + MEMSC_SLOT_ENTRY : site->slot);
    return 1;
}

/* Data first, as far as instructions are fetched from, then what has been fetched. No other thread exists yet, and
 * one that begins later begins behind a change of context. */
void memsc_see_text(const uint8_t *from, const uint8_t *to)
{
    enum { DATA_LINE = 16, TEXT_LINE = 0, FIELD = 15 };
    uint64_t type;
    __asm__("mrs %0, ctr_el0" : "=r"(type)); /* logarithms of words */
    uintptr_t data = (uintptr_t)4 << (type >> DATA_LINE & FIELD);
    uintptr_t text = (uintptr_t)4 << (type >> TEXT_LINE & FIELD);
    for (uintptr_t at = (uintptr_t)from & -data; at < (uintptr_t)to; at += data)
        __asm__ volatile("dc cvau, %0" ::"r"(at) : "memory");
    __asm__ volatile("dsb ish" ::: "memory");
    for (uintptr_t at = (uintptr_t)from & -text; at < (uintptr_t)to; at += text)
        __asm__ volatile("ic ivau, %0" ::"r"(at) : "memory");
    __asm__ volatile("dsb ish\n\tisb" ::: "memory");
}
