/* SPDX-License-Identifier: MIT */
#include "rewrite.h"

#include "bridge.h"
#include "slots.h"
#include "stub.h"

enum { PAGE = 4096, LEA_BYTES = 7 };

/* Writes a jump that is to stand at `at`. */
static void put_jump(uint8_t *bytes, const uint8_t *at, const uint8_t *target)
{
    int32_t distance = (int32_t)(target - (at + MEMSC_HOP_BYTES));
    *bytes = 0xe9;
    memsc_copy_bytes(bytes + 1, (const uint8_t *)&distance, sizeof distance);
}

/* Between any byte of the site and any of the slot, a signed 32-bit distance must do. */
bool memsc_reaches(const uint8_t *live, const uint8_t *slot)
{
    int64_t distance = slot - live;
    return distance > INT32_MIN + PAGE && distance < INT32_MAX - PAGE;
}

/* What is to be run on the caller is run at the site: r11 leads there, which a system call ruins anyway. */
static void lead_to_bridge(uint8_t *slot, const uint8_t *bridge)
{
    static const uint8_t lea_r11[] = {0x4c, 0x8d, 0x1d};
    uint8_t *at = slot + MEMSC_SLOT_BRIDGE, *local = slot + MEMSC_SLOT_LOCAL;
    int32_t distance = (int32_t)(bridge - (at + LEA_BYTES));
    memsc_copy_bytes(at, lea_r11, sizeof lea_r11);
    memsc_copy_bytes(at + sizeof lea_r11, (const uint8_t *)&distance, sizeof distance);
    put_jump(at + LEA_BYTES, at + LEA_BYTES, memsc_bridge_local);
    local[0] = 0xeb;
    local[1] = (uint8_t)(at - (local + MEMSC_SYSCALL_BYTES));
}

/* A jump reaches 2 GiB, further than libraries ever lie apart. */
uint8_t *memsc_area_near(const uint8_t *text, const uint8_t *text_end)
{
    (void)text, (void)text_end;
    return NULL;
}

void memsc_fill_area(uint8_t *slots)
{
    (void)slots; /* all leave by jumps */
}

void memsc_fill_slot(const struct memsc_site *site, ptrdiff_t to_live)
{
    uint8_t *slot = site->slot, *after = slot + MEMSC_SLOT_AFTER;
    uint8_t *resume = site->address + MEMSC_SYSCALL_BYTES + to_live;
    if (site->kind == MEMSC_SITE_BEFORE)
        memsc_copy_bytes(slot + MEMSC_SLOT_ENTRY - site->moved, site->bytes, site->moved);
    if (site->kind == MEMSC_SITE_AFTER) {
        memsc_copy_bytes(after, site->bytes + MEMSC_SYSCALL_BYTES, site->moved);
        after += site->moved;
        resume += site->moved;
    }
    put_jump(after, after, resume);
    if (site->bridge)
        lead_to_bridge(slot, site->address + to_live);
    memsc_copy_bytes(slot + MEMSC_SLOT_RESUME, (const uint8_t *)&resume, sizeof resume);
}

uint32_t memsc_changes(const struct memsc_site *site, ptrdiff_t to_live,
                       struct memsc_change changes[2])
{
    uint8_t *entry = site->slot + MEMSC_SLOT_ENTRY, *at = site->address + to_live;
    uint32_t moved = site->moved;
    uint32_t covered = moved + (site->bridge ? 0 : (uint32_t)MEMSC_SYSCALL_BYTES);
    if (site->kind == MEMSC_SITE_HOP) {
        uint8_t *hop = site->hop + to_live;
        put_jump(changes[0].bytes, hop, entry);
        changes[0].at = hop;
        changes[0].size = MEMSC_HOP_BYTES;
        changes[0].before = site->bytes + MEMSC_SYSCALL_BYTES;
        changes[1].bytes[0] = 0xeb;
        changes[1].bytes[1] = (uint8_t)(hop - (at + MEMSC_SYSCALL_BYTES));
        changes[1].at = at;
        changes[1].size = MEMSC_SYSCALL_BYTES;
        changes[1].before = site->bytes;
        return 2;
    }
    if (site->kind == MEMSC_SITE_BEFORE) {
        at -= moved;
        entry -= moved;
    }
    put_jump(changes[0].bytes, at, entry);
    /* Nothing leads to the rest; should the planner be wrong, a trap beats half an instruction. */
    uint32_t size = MEMSC_HOP_BYTES;
    for (; size < covered; size++)
        changes[0].bytes[size] = 0xcc;
    changes[0].at = at;
    changes[0].size = size;
    changes[0].before = site->bytes;
    return 1;
}

/* Processors of this kind see by themselves what was written. */
void memsc_see_text(const uint8_t *from, const uint8_t *to)
{
    (void)from, (void)to;
}
