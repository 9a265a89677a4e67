/* SPDX-License-Identifier: MIT
 *
 * While the C library's text is not executable nothing in here may call it, not even for a memcpy
 * the compiler put in: this file is built freestanding and copies byte by byte.
 */
#include "patch.h"

#include <asm/signal.h>
#include <linux/fcntl.h>
#include <linux/mman.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/syscall.h>

#include "bridge.h"
#include "cpu.h"
#include "slots.h"
#include "stub.h"

enum { PAGE = 4096, LEA_BYTES = 7 };

static void copy(uint8_t *to, const uint8_t *from, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++)
        to[i] = from[i];
}

/* Writes a jump that is to stand at `at`. */
static void put_jump(uint8_t *bytes, const uint8_t *at, const uint8_t *target)
{
    int32_t distance = (int32_t)(target - (at + MEMSC_HOP_BYTES));
    *bytes = 0xe9;
    copy(bytes + 1, (const uint8_t *)&distance, sizeof distance);
}

static int protect(const uint8_t *from, const uint8_t *to, int protection)
{
    uintptr_t begin = (uintptr_t)from & ~(uintptr_t)(PAGE - 1);
    uintptr_t end = ((uintptr_t)to + PAGE - 1) & ~(uintptr_t)(PAGE - 1);
    return (int)MEMSC_SYS(SYS_mprotect, begin, end - begin, protection, 0, 0, 0);
}

/* Between any byte of the site and any of the slot, a signed 32-bit distance must do. */
static bool in_reach(const uint8_t *live, const uint8_t *slot)
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
    copy(at, lea_r11, sizeof lea_r11);
    copy(at + sizeof lea_r11, (const uint8_t *)&distance, sizeof distance);
    put_jump(at + LEA_BYTES, at + LEA_BYTES, memsc_bridge_local);
    local[0] = 0xeb;
    local[1] = (uint8_t)(at - (local + MEMSC_SYSCALL_BYTES));
}

static void fill_slot(const struct memsc_site *site, ptrdiff_t to_live)
{
    uint8_t *slot = site->slot, *after = slot + MEMSC_SLOT_AFTER;
    uint8_t *resume = site->address + MEMSC_SYSCALL_BYTES + to_live;
    if (site->kind == MEMSC_SITE_BEFORE)
        copy(slot + MEMSC_SLOT_ENTRY - site->moved, site->address - site->moved, site->moved);
    if (site->kind == MEMSC_SITE_AFTER) {
        copy(after, site->address + MEMSC_SYSCALL_BYTES, site->moved);
        after += site->moved;
        resume += site->moved;
    }
    put_jump(after, after, resume);
    if (memsc_is_bridge(site))
        lead_to_bridge(slot, site->address + to_live);
    copy(slot + MEMSC_SLOT_RESUME, (const uint8_t *)&resume, sizeof resume);
}

int memsc_patch_stubs(const struct memsc_object *object, struct memsc_site *sites, uint32_t count,
                      uint32_t *slots)
{
    int error = protect(memsc_stubs, memsc_stubs_end, PROT_READ | PROT_WRITE);
    if (error)
        return error;
    for (uint32_t i = 0; i < count; i++) {
        struct memsc_site *site = &sites[i];
        if (site->kind == MEMSC_SITE_MISSED)
            continue;
        uint8_t *slot = memsc_stubs + (size_t)*slots * MEMSC_SLOT_BYTES;
        if (*slots == MEMSC_SLOTS || !in_reach(site->address + object->to_live, slot)) {
            site->kind = MEMSC_SITE_MISSED;
            site->missed = MEMSC_MISSED_STUBS;
            continue;
        }
        ++*slots;
        site->slot = slot;
        fill_slot(site, object->to_live);
    }
    /* A system that forbids this (SELinux's execmod, MemoryDenyWriteExecute=) tells so here, before
     * the C library has been touched. */
    return protect(memsc_stubs, memsc_stubs_end, PROT_READ | PROT_EXEC);
}

/* Bytes to be written at one place of the text. */
struct change {
    uint8_t *at; /* where it runs */
    uint32_t size;
    uint8_t bytes[MEMSC_SYSCALL_BYTES + MEMSC_MOVED_MAX];
};

/* What a site needs: first what is to be there when the rest is. Returns how many. */
static uint32_t changes_of(const struct memsc_site *site, ptrdiff_t to_live,
                           struct change changes[2])
{
    uint8_t *entry = site->slot + MEMSC_SLOT_ENTRY, *at = site->address + to_live;
    uint32_t moved = site->moved;
    uint32_t covered = moved + (memsc_is_bridge(site) ? 0 : (uint32_t)MEMSC_SYSCALL_BYTES);
    if (site->kind == MEMSC_SITE_HOP) {
        uint8_t *hop = site->hop + to_live;
        put_jump(changes[0].bytes, hop, entry);
        changes[0].at = hop;
        changes[0].size = MEMSC_HOP_BYTES;
        changes[1].bytes[0] = 0xeb;
        changes[1].bytes[1] = (uint8_t)(hop - (at + MEMSC_SYSCALL_BYTES));
        changes[1].at = at;
        changes[1].size = MEMSC_SYSCALL_BYTES;
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
    return 1;
}

static bool is_as_planned(const struct change *change, ptrdiff_t to_live)
{
    for (uint32_t i = 0; i < change->size; i++)
        if (change->at[i] != change->at[i - to_live])
            return false;
    return true;
}

static long write_change(const struct change *change, long memory)
{
    if (memory >= 0)
        return MEMSC_SYS(SYS_pwrite64, memory, change->bytes, change->size, change->at, 0, 0);
    copy(change->at, change->bytes, change->size);
    return change->size;
}

/* Through a descriptor of the process's memory, or by itself. */
static int change_sites(const struct memsc_object *object, struct memsc_site *sites, uint32_t count,
                        long memory)
{
    for (uint32_t i = 0; i < count; i++) {
        struct change changes[2];
        bool good = true;
        if (sites[i].kind == MEMSC_SITE_MISSED)
            continue;
        uint32_t needed = changes_of(&sites[i], object->to_live, changes);
        for (uint32_t k = 0; k < needed; k++)
            good = good && is_as_planned(&changes[k], object->to_live);
        for (uint32_t k = 0; k < needed && good; k++) {
            long written = write_change(&changes[k], memory);
            if (written < 0)
                return (int)written;
        }
        if (!good) {
            sites[i].kind = MEMSC_SITE_MISSED;
            sites[i].missed = MEMSC_MISSED_CHANGED;
        }
    }
    return 0;
}

/* Without the kernel's help. No handler may run on text that cannot be executed. */
static int change_by_hand(const struct memsc_object *object, struct memsc_site *sites,
                          uint32_t count)
{
    uint8_t *begin = object->text + object->to_live, *end = object->text_end + object->to_live;
    uint64_t all = ~0ull, before = 0;
    MEMSC_SYS(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof all, 0, 0);
    int error = protect(begin, end, PROT_READ | PROT_WRITE);
    if (!error) {
        change_sites(object, sites, count, -1);
        error = protect(begin, end, PROT_READ | PROT_EXEC);
    }
    MEMSC_SYS(SYS_rt_sigprocmask, SIG_SETMASK, &before, 0, sizeof all, 0, 0);
    return error;
}

int memsc_patch_sites(const struct memsc_object *object, struct memsc_site *sites, uint32_t count)
{
    long memory = MEMSC_SYS(SYS_openat, AT_FDCWD, "/proc/self/mem", O_RDWR | O_CLOEXEC, 0, 0, 0);
    int error = memory < 0 ? (int)memory : change_sites(object, sites, count, memory);
    if (memory >= 0)
        MEMSC_SYS(SYS_close, memory, 0, 0, 0, 0, 0);
    /* A kernel can be told to let nobody write what is only to be read: at the first site it says so. */
    if (error)
        error = change_by_hand(object, sites, count);
    for (uint32_t i = 0; i < count && error; i++)
        if (sites[i].kind != MEMSC_SITE_MISSED) {
            sites[i].kind = MEMSC_SITE_MISSED;
            sites[i].missed = MEMSC_MISSED_PROTECTED;
        }
    return error;
}
