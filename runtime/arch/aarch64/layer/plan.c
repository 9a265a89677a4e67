/* SPDX-License-Identifier: MIT
 *
 * Every instruction is a word, so what is to be told is only which words are instructions: text has data in it, and
 * some linkers put all that is only read beside it. A word with the bits of `svc #0` is taken for one if it lies in a
 * function, by the unwind tables, and nothing in that function loads data from there or takes its address.
 *
 * Where the C library expects a thread that is to be cancelled (bridge.h) the `svc` stays as it is, and the instruction
 * before it becomes the branch, if that only copies a register. It is known by the `ret` behind it and a number that is
 * no constant; one too many does no harm.
 */
#include "plan.h"

#include <elf.h>
#include <stdbool.h>
#include <stddef.h>

#include "raw.h"

enum {
    SVC = 0xd4000001,
    RET = 0xd65f03c0,
    SIGRETURN = 139,
    BACK = 16, /* words before an `svc` in which its number may be set */
};

static uint32_t word_at(const uint8_t *address)
{
    return *(const uint32_t *)(const void *)address;
}

static int64_t sign_extended(uint32_t value, int bits)
{
    return (int64_t)((uint64_t)value << (64 - bits)) >> (64 - bits);
}

/* The address that an instruction reads or makes from its own; NULL: none. */
static const uint8_t *data_of(const uint8_t *at)
{
    enum { NINETEEN = 0x7ffff };
    uint32_t word = word_at(at), high = word >> 5 & NINETEEN;
    if ((word & 0x3b000000) == 0x18000000) /* ldr, of a literal */
        return at + sign_extended(high << 2, 21);
    if ((word & 0x9f000000) == 0x10000000) /* adr */
        return at + sign_extended(high << 2 | (word >> 29 & 3), 21);
    return NULL;
}

static bool is_data(struct memsc_function function, const uint8_t *address)
{
    for (const uint8_t *at = function.begin; at + MEMSC_SYSCALL_BYTES <= function.end;
         at += MEMSC_SYSCALL_BYTES)
        if (data_of(at) == address)
            return true;
    return false;
}

/* The number that the instructions just before set in x8; -1: it is no constant there. */
static int number_of(struct memsc_function function, const uint8_t *address)
{
    for (unsigned i = 0; i < BACK && address > function.begin; i++) {
        address -= MEMSC_SYSCALL_BYTES;
        uint32_t word = word_at(address);
        if ((word & 0x7fe0001f) == 0x52800008) /* mov x8 or w8, # */
            return (int)(word >> 5 & 0xffff);
        if ((word & 0x7fe0ffff) == 0x2a0003e8) /* mov x8 or w8, of another */
            return -1;
    }
    return -1;
}

/* The function around an address; where its description ends early, as that of clone may, all up to the next
 * function. False: it is in none. *sure: it is described as of it. */
static bool find_function(const struct memsc_frames *frames, const uint8_t *address,
                          struct memsc_function *function, bool *sure)
{
    struct memsc_function next;
    int index = memsc_frames_find(frames, address);
    if (!memsc_frames_get(frames, index, function))
        return false;
    *sure = address < function->end;
    if (*sure)
        return true;
    if (!memsc_frames_get(frames, index + 1, &next))
        return false;
    function->end = next.begin;
    return true;
}

/* mov of one register to another, neither of them the stack pointer. */
static bool is_copy(uint32_t word)
{
    return (word & 0x7fe0ffe0) == 0x2a0003e0;
}

static void plan_bridge(struct memsc_site *site, struct memsc_function function)
{
    const uint8_t *before = site->address - MEMSC_SYSCALL_BYTES;
    site->missed = MEMSC_MISSED_BRIDGE;
    if (before <= function.begin || !is_copy(word_at(before)) || is_data(function, before))
        return;
    site->kind = MEMSC_SITE_IN_PLACE;
    site->bridge = 1;
    site->moved = MEMSC_SYSCALL_BYTES;
}

static void plan_site(struct memsc_site *site, struct memsc_function function, bool sure)
{
    bool returns = word_at(site->address + MEMSC_SYSCALL_BYTES) == RET;
    if (!sure)
        site->missed = MEMSC_MISSED_UNDECODED;
    else if (site->address == function.begin)
        site->missed = MEMSC_MISSED_ENTRY;
    else if (returns && number_of(function, site->address) < 0)
        plan_bridge(site, function);
    else
        site->kind = MEMSC_SITE_IN_PLACE;
}

/* What becomes a branch. */
static uint8_t *changed(const struct memsc_site *site)
{
    return site->address - site->moved;
}

/* Also in the middle of what the unwind table takes for one function some others can be entered. */
static void check_symbols(const struct memsc_object *object, struct memsc_site *sites,
                          uint32_t count)
{
    const Elf64_Sym *symbol = object->symbols;
    for (uint32_t i = 0; i < object->symbol_count; i++, symbol++) {
        int type = ELF64_ST_TYPE(symbol->st_info);
        const uint8_t *entry = object->symbol_base + symbol->st_value;
        if ((type != STT_FUNC && type != STT_GNU_IFUNC) || symbol->st_shndx == SHN_UNDEF ||
            entry < object->text || entry + MEMSC_SYSCALL_BYTES > object->text_end ||
            (word_at(entry) != SVC && !is_copy(word_at(entry))))
            continue;
        for (uint32_t k = 0; k < count; k++)
            if (changed(&sites[k]) == entry) {
                sites[k].kind = MEMSC_SITE_MISSED;
                sites[k].missed = MEMSC_MISSED_ENTRY;
            }
    }
}

uint32_t memsc_plan(const struct memsc_object *object, struct memsc_site *sites, uint32_t room)
{
    uint32_t count = 0;
    uint8_t *at = (uint8_t *)(((uintptr_t)object->text + 3) & ~(uintptr_t)3);
    /* One word less: what is behind an `svc` is looked at, and a function ends otherwise. */
    for (; object->text_end - at > MEMSC_SYSCALL_BYTES && count < room; at += MEMSC_SYSCALL_BYTES) {
        struct memsc_function function;
        bool sure;
        if (word_at(at) != SVC || !find_function(&object->frames, at, &function, &sure) ||
            is_data(function, at) || number_of(function, at) == SIGRETURN)
            continue;
        struct memsc_site *site = &sites[count++];
        *site = (struct memsc_site){.address = at};
        plan_site(site, function, sure);
    }
    check_symbols(object, sites, count);
    for (uint32_t i = 0; i < count; i++)
        if (sites[i].kind == MEMSC_SITE_IN_PLACE)
            __builtin_memcpy(sites[i].bytes, changed(&sites[i]), MEMSC_SYSCALL_BYTES);
    return count;
}

bool memsc_is_sound(const struct memsc_site *site, const struct memsc_object *object,
                    uintptr_t *from)
{
    uintptr_t begin = (uintptr_t)site->address, end = begin + MEMSC_SYSCALL_BYTES;
    if (site->hop || site->moved != (site->bridge ? MEMSC_SYSCALL_BYTES : 0) ||
        begin < *from + site->moved || begin % MEMSC_SYSCALL_BYTES ||
        end > (uintptr_t)object->text_end)
        return false;
    *from = end;
    if (site->kind == MEMSC_SITE_MISSED)
        return site->missed < MEMSC_MISSED_REASONS && !site->bridge;
    return site->kind == MEMSC_SITE_IN_PLACE &&
           (site->bridge ? is_copy(word_at(site->bytes)) : word_at(site->bytes) == SVC);
}
