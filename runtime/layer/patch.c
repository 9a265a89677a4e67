/* SPDX-License-Identifier: MIT
 *
 * While the C library's text is not executable nothing in here may call it (rewrite.h).
 */
#include "patch.h"

#include <asm/signal.h>
#include <linux/fcntl.h>
#include <linux/mman.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/auxv.h>
#include <sys/syscall.h>

#include "cpu.h"
#include "rewrite.h"
#include "slots.h"
#include "stub.h"

static uintptr_t page; /* bytes */

static int protect(const uint8_t *from, const uint8_t *to, int protection)
{
    uintptr_t begin = (uintptr_t)from & ~(page - 1);
    uintptr_t end = ((uintptr_t)to + page - 1) & ~(page - 1);
    return (int)MEMSC_SYS(SYS_mprotect, begin, end - begin, protection, 0, 0, 0);
}

int memsc_patch_stubs(const struct memsc_object *object, struct memsc_site *sites, uint32_t count,
                      uint32_t *slots)
{
    page = getauxval(AT_PAGESZ);
    int error = protect(memsc_stubs, memsc_stubs_end, PROT_READ | PROT_WRITE);
    if (error)
        return error;
    for (uint32_t i = 0; i < count; i++) {
        struct memsc_site *site = &sites[i];
        if (site->kind == MEMSC_SITE_MISSED)
            continue;
        uint8_t *slot = memsc_stubs + (size_t)*slots * MEMSC_SLOT_BYTES;
        if (*slots == MEMSC_SLOTS || !memsc_reaches(site->address + object->to_live, slot)) {
            site->kind = MEMSC_SITE_MISSED;
            site->missed = MEMSC_MISSED_STUBS;
            continue;
        }
        ++*slots;
        site->slot = slot;
        memsc_fill_slot(site, object->to_live);
    }
    memsc_see_text(memsc_stubs, memsc_stubs_end);
    /* A system that forbids this (SELinux's execmod, MemoryDenyWriteExecute=) tells so here, before
     * the C library has been touched. */
    return protect(memsc_stubs, memsc_stubs_end, PROT_READ | PROT_EXEC);
}

static bool is_as_planned(const struct memsc_change *change)
{
    for (uint32_t i = 0; i < change->size; i++)
        if (change->at[i] != change->before[i])
            return false;
    return true;
}

static long write_change(const struct memsc_change *change, long memory)
{
    if (memory >= 0)
        return MEMSC_SYS(SYS_pwrite64, memory, change->bytes, change->size, change->at, 0, 0);
    memsc_copy_bytes(change->at, change->bytes, change->size);
    return change->size;
}

/* Through a descriptor of the process's memory, or by itself. */
static int change_sites(const struct memsc_object *object, struct memsc_site *sites, uint32_t count,
                        long memory)
{
    for (uint32_t i = 0; i < count; i++) {
        struct memsc_change changes[2];
        bool good = true;
        if (sites[i].kind == MEMSC_SITE_MISSED)
            continue;
        uint32_t needed = memsc_changes(&sites[i], object->to_live, changes);
        for (uint32_t k = 0; k < needed; k++)
            good = good && is_as_planned(&changes[k]);
        for (uint32_t k = 0; k < needed && good; k++) {
            long written = write_change(&changes[k], memory);
            if (written < 0)
                return (int)written;
            memsc_see_text(changes[k].at, changes[k].at + changes[k].size);
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
