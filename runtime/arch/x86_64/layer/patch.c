/* SPDX-License-Identifier: MIT
 *
 * While the C library's text is not executable nothing in here may call it, not even for a memcpy
 * the compiler put in: this file is built freestanding and copies byte by byte.
 */
#include "patch.h"

#include <asm/signal.h>
#include <linux/mman.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/syscall.h>

#include "cpu.h"
#include "slots.h"
#include "stub.h"

enum { PAGE = 4096, SYSCALL_BYTES = 2 };

static void copy(uint8_t *to, const uint8_t *from, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++)
        to[i] = from[i];
}

static void put_jump(uint8_t *at, const uint8_t *target)
{
    int32_t distance = (int32_t)(target - (at + MEMSC_HOP_BYTES));
    *at = 0xe9;
    copy(at + 1, (const uint8_t *)&distance, sizeof distance);
}

static int protect(const uint8_t *from, const uint8_t *to, int protection)
{
    uintptr_t begin = (uintptr_t)from & ~(uintptr_t)(PAGE - 1);
    uintptr_t end = ((uintptr_t)to + PAGE - 1) & ~(uintptr_t)(PAGE - 1);
    return (int)MEMSC_SYS(SYS_mprotect, begin, end - begin, protection, 0, 0, 0);
}

/* Between any byte of the site and any of the slot, a signed 32-bit distance must do. */
static bool in_reach(const struct memsc_site *site, const uint8_t *slot)
{
    int64_t distance = slot - site->address;
    return distance > INT32_MIN + PAGE && distance < INT32_MAX - PAGE;
}

static void fill_slot(const struct memsc_site *site)
{
    uint8_t *slot = site->slot, *after = slot + MEMSC_SLOT_AFTER;
    uint8_t *resume = site->address + SYSCALL_BYTES;
    if (site->kind == MEMSC_SITE_BEFORE)
        copy(slot + MEMSC_SLOT_ENTRY - site->moved, site->address - site->moved, site->moved);
    if (site->kind == MEMSC_SITE_AFTER) {
        copy(after, resume, site->moved);
        after += site->moved;
        resume += site->moved;
    }
    put_jump(after, resume);
    copy(slot + MEMSC_SLOT_RESUME, (const uint8_t *)&resume, sizeof resume);
}

int memsc_patch_stubs(struct memsc_site *sites, uint32_t count, uint32_t *slots)
{
    int error = protect(memsc_stubs, memsc_stubs_end, PROT_READ | PROT_WRITE);
    if (error)
        return error;
    for (uint32_t i = 0; i < count; i++) {
        struct memsc_site *site = &sites[i];
        if (site->kind == MEMSC_SITE_MISSED)
            continue;
        uint8_t *slot = memsc_stubs + (size_t)*slots * MEMSC_SLOT_BYTES;
        if (*slots == MEMSC_SLOTS || !in_reach(site, slot)) {
            site->kind = MEMSC_SITE_MISSED;
            site->missed = MEMSC_MISSED_STUBS;
            continue;
        }
        ++*slots;
        site->slot = slot;
        fill_slot(site);
    }
    /* A system that forbids this (SELinux's execmod, MemoryDenyWriteExecute=) tells so here, before
     * the C library has been touched. */
    return protect(memsc_stubs, memsc_stubs_end, PROT_READ | PROT_EXEC);
}

static void change(const struct memsc_site *site)
{
    uint8_t *entry = site->slot + MEMSC_SLOT_ENTRY, *at = site->address;
    switch (site->kind) {
    case MEMSC_SITE_HOP:
        put_jump(site->hop, entry);
        at[0] = 0xeb;
        at[1] = (uint8_t)(site->hop - (at + SYSCALL_BYTES));
        break;
    case MEMSC_SITE_BEFORE:
        at -= site->moved;
        entry -= site->moved;
        /* fall through */
    case MEMSC_SITE_AFTER:
        put_jump(at, entry);
        /* Nothing leads to the rest; should the planner be wrong, a trap beats half an instruction. */
        for (uint32_t i = MEMSC_HOP_BYTES; i < (uint32_t)SYSCALL_BYTES + site->moved; i++)
            at[i] = 0xcc;
    }
}

int memsc_patch_sites(const struct memsc_object *object, const struct memsc_site *sites,
                      uint32_t count)
{
    /* No handler may run on text that cannot be executed. */
    uint64_t all = ~0ull, before = 0;
    MEMSC_SYS(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof all, 0, 0);
    int error = protect(object->text, object->text_end, PROT_READ | PROT_WRITE);
    if (!error) {
        for (uint32_t i = 0; i < count; i++)
            change(&sites[i]);
        error = protect(object->text, object->text_end, PROT_READ | PROT_EXEC);
    }
    MEMSC_SYS(SYS_rt_sigprocmask, SIG_SETMASK, &before, 0, sizeof all, 0, 0);
    return error;
}
