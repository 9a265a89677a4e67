/* SPDX-License-Identifier: MIT */
#include "hostile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "layout.h"

enum { AREAS = 8, LINES = 1 << 16, ENTRIES = MEMSC_MAX_SLOTS * MEMSC_PAGE_ENTRIES };

static struct {
    uintptr_t start;
    size_t bytes;
    char *writable;
} areas[AREAS];
static int areas_used;

static const uint8_t *input;
static size_t input_left;
static uint64_t state;

static uint64_t loads_left;
static void (*when_exhausted)(void);
static uint64_t states; /* different contents of hostile memory that a load has met */

static char *lines[LINES]; /* touched */
static uint32_t lines_used;

static uintptr_t first_entry;
static size_t entries;
static uint8_t read_words[ENTRIES]; /* bit 0: the number, 1 … 6: the arguments, since the status */

/* ---- choices ---- */

void memsc_choices_from(const uint8_t *data, size_t size)
{
    input = data;
    input_left = size;
    state = 0x9e3779b97f4a7c15ull + size;
    for (size_t i = 0; i < size; i++)
        state = (state ^ data[i]) * 0x100000001b3ull;
}

static uint64_t word(void)
{
    if (input_left >= 2) {
        uint64_t value = input[0] | (uint64_t)input[1] << 8;
        input += 2;
        input_left -= 2;
        return value;
    }
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state >> 8;
}

uint64_t memsc_choose(uint64_t below)
{
    return word() % below;
}

/* ---- hostile memory ---- */

void memsc_hostile(const void *start, size_t bytes, void *writable)
{
    areas[areas_used].start = (uintptr_t)start;
    areas[areas_used].bytes = bytes;
    areas[areas_used++].writable = writable;
}

void memsc_hostile_entries(const void *start, size_t count)
{
    first_entry = (uintptr_t)start;
    entries = count;
}

/* So many are enough: MEMSC_FUZZ_STATES. */
static void end_when_enough(void)
{
    static uint64_t enough;
    if (!enough) {
        const char *text = getenv("MEMSC_FUZZ_STATES");
        enough = text ? strtoull(text, NULL, 10) : UINT64_MAX;
    }
    if (states < enough)
        return;
    fprintf(stderr, "%llu states, no fault\n", (unsigned long long)states);
    _exit(0);
}

void memsc_hostile_begin(uint64_t loads, void (*exhausted)(void))
{
    loads_left = loads;
    when_exhausted = exhausted;
}

void memsc_hostile_end(void)
{
    when_exhausted = NULL;
    for (uint32_t i = 0; i < lines_used; i++)
        memset(lines[i], 0, MEMSC_LINE);
    lines_used = 0;
    end_when_enough();
}

static uint64_t value_of(size_t bytes)
{
    uint64_t kind = memsc_choose(8);
    if (bytes == 4 && kind < 4)
        return MEMSC_SUBMITTED | memsc_choose(4) << 8 | memsc_choose(256) << MEMSC_NEXT_SHIFT;
    switch (kind) {
    case 4:
        return memsc_choose(MEMSC_NUMBERS);
    case 5:
        return 1ull << memsc_choose(64);
    case 6:
        return -1ull - memsc_choose(4);
    case 7:
        return memsc_choose(8);
    default:
        return word() << 40 ^ word() << 20 ^ word();
    }
}

static void check_single_read(uintptr_t address)
{
    if (address - first_entry >= entries * sizeof(struct memsc_entry))
        return;
    size_t entry = (address - first_entry) / sizeof(struct memsc_entry);
    size_t offset = (address - first_entry) % sizeof(struct memsc_entry);
    if (offset < offsetof(struct memsc_entry, number)) {
        read_words[entry] = 0;
        return;
    }
    if (offset >= offsetof(struct memsc_entry, result) &&
        offset < offsetof(struct memsc_entry, args))
        return;
    int word = offset < offsetof(struct memsc_entry, result)
                   ? 0
                   : 1 + (int)(offset - offsetof(struct memsc_entry, args)) / 8;
    if (read_words[entry] & 1 << word) {
        fprintf(stderr, "word %d of entry %zu is read twice\n", word, entry);
        abort();
    }
    read_words[entry] |= (uint8_t)(1 << word);
}

static void before_load(uintptr_t address, size_t bytes)
{
    if (!when_exhausted)
        return;
    for (int i = 0; i < areas_used; i++) {
        if (address - areas[i].start >= areas[i].bytes)
            continue;
        check_single_read(address);
        if (loads_left && !--loads_left)
            when_exhausted();
        char *place = areas[i].writable + (address - areas[i].start);
        /* What the service itself writes lies in the lines that it reads. */
        char *line = (char *)((uintptr_t)place & -(uintptr_t)MEMSC_LINE);
        if (lines_used < LINES && (!lines_used || lines[lines_used - 1] != line))
            lines[lines_used++] = line;
        if (memsc_choose(4) == 0)
            return;
        uint64_t value = value_of(bytes);
        if (memcmp(place, &value, bytes)) {
            memcpy(place, &value, bytes);
            states++;
        }
        return;
    }
}

void __sanitizer_cov_load1(uint8_t *address)
{
    before_load((uintptr_t)address, 1);
}

void __sanitizer_cov_load2(uint16_t *address)
{
    before_load((uintptr_t)address, 2);
}

void __sanitizer_cov_load4(uint32_t *address)
{
    before_load((uintptr_t)address, 4);
}

void __sanitizer_cov_load8(uint64_t *address)
{
    before_load((uintptr_t)address, 8);
}

/* Nothing that is shared is read in pieces of this size. */
void __sanitizer_cov_load16(void *address)
{
    (void)address;
}
