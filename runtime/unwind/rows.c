/* SPDX-License-Identifier: MIT */
#include "function.h"

enum {
    LONGEST_COMMON =
        4096, /* functions that take turns with two of them have them read over and over */
    LONGEST_FUNCTION = 1 << 30,
};

struct section {
    const uint8_t *bytes;
    uint64_t size, address;
    bool debug;
};

/* An encoded address (LSB core, 10.5.1). False: not one of code that is linked. */
static bool take_pointer(const struct section *section, struct bytes *bytes, uint8_t encoding,
                         uint64_t *value)
{
    enum { PC_RELATIVE = 0x10, APPLICATION = 0x70, INDIRECT = 0x80 };
    uint64_t here = section->address + (uint64_t)(bytes->at - section->bytes);
    switch (encoding & 0x0f) {
    case 0x00: /* a pointer, 8 bytes, signed 8 bytes */
    case 0x04:
    case 0x0c:
        *value = take(bytes, 8);
        break;
    case 0x01:
        *value = take_number(bytes);
        break;
    case 0x02:
    case 0x03:
        *value = take(bytes, 2u << (encoding & 1));
        break;
    case 0x09:
        *value = (uint64_t)take_difference(bytes);
        break;
    case 0x0a:
    case 0x0b:
        *value = take_signed(bytes, 2u << (encoding & 1));
        break;
    default:
        return false;
    }
    if ((encoding & APPLICATION) == PC_RELATIVE)
        *value += here;
    else if (encoding & APPLICATION)
        return false;
    return !(encoding & INDIRECT) && !bytes->bad;
}

struct entry {
    struct bytes bytes; /* behind its identity */
    uint64_t identity;  /* 0: common to functions; else where what is common to this one begins */
    uint64_t common_at;
};

/* The entry that begins at `at`; *next is where the one behind it does. False: there are no more. */
static bool read_entry(const struct section *section, uint64_t at, struct entry *entry,
                       uint64_t *next)
{
    struct bytes bytes = {section->bytes + at, section->bytes + section->size, false};
    uint64_t length = take(&bytes, 4);
    bool wide = length == UINT32_MAX;
    if (wide)
        length = take(&bytes, 8);
    if (bytes.bad || (!length && !section->debug))
        return false;
    const uint8_t *begin = bytes.at;
    entry->bytes = take_block(&bytes, length);
    if (bytes.bad)
        return false;
    *next = (uint64_t)(bytes.at - section->bytes);
    unsigned width = section->debug && wide ? 8 : 4;
    uint64_t identity = take(&entry->bytes, width);
    if (entry->bytes.bad) { /* empty */
        entry->identity = 0;
        return true;
    }
    if (section->debug) {
        uint64_t common = wide ? UINT64_MAX : UINT32_MAX;
        entry->identity = identity != common;
        entry->common_at = identity;
    } else {
        entry->identity = identity;
        entry->common_at = (uint64_t)(begin - section->bytes) - identity;
    }
    return true;
}

static bool read_augmentation(const struct section *section, const uint8_t *letters,
                              struct bytes data, struct common *common)
{
    uint64_t ignored;
    for (; *letters; letters++) {
        switch (*letters) {
        case 'R':
            common->encoding = (uint8_t)take(&data, 1);
            break;
        case 'L':
            take(&data, 1);
            break;
        case 'P':
            if (!take_pointer(section, &data, (uint8_t)take(&data, 1) & 0x0f, &ignored))
                return false;
            break;
        case 'S':
            common->signal = true;
            break;
        case 'B':
            break;
        default:
            return false;
        }
    }
    return !data.bad;
}

static bool read_common(const struct section *section, uint64_t at, struct common *common,
                        struct state *initial)
{
    struct entry entry;
    uint64_t next;
    if (at >= section->size || !read_entry(section, at, &entry, &next) || entry.identity)
        return false;
    *common = (struct common){.encoding = 0};
    struct bytes bytes = entry.bytes;
    if (bytes.end - bytes.at > LONGEST_COMMON)
        return false;
    uint64_t version = take(&bytes, 1);
    const uint8_t *letters = bytes.at;
    while (bytes.at < bytes.end && *bytes.at)
        bytes.at++;
    take(&bytes, 1);
    if (bytes.bad || (version != 1 && version != 3 && version != 4))
        return false;
    if (version == 4 && (take(&bytes, 1) != 8 || take(&bytes, 1) != 0))
        return false;
    common->code_factor = take_number(&bytes);
    common->data_factor = take_difference(&bytes);
    uint64_t caller = version == 1 ? take(&bytes, 1) : take_number(&bytes);
    if (*letters == 'z') {
        struct bytes data = take_block(&bytes, take_number(&bytes));
        common->augmented = true;
        if (!read_augmentation(section, letters + 1, data, common))
            return false;
    } else if (*letters) {
        return false;
    }
    if (bytes.bad || caller != RIP)
        return false;
    *initial = (struct state){.frame = {.how = UNTOLD}};
    struct function function = {.common = common};
    return memsc_follow(bytes, &function, initial);
}

static void read_function(const struct section *section, struct bytes bytes,
                          const struct common *common, const struct state *initial,
                          struct output *output)
{
    uint64_t address, length;
    if (!take_pointer(section, &bytes, common->encoding, &address) ||
        !take_pointer(section, &bytes, common->encoding & 0x0f, &length))
        return;
    if (!address || !length || length > LONGEST_FUNCTION || address + length < address)
        return;
    if (common->augmented)
        take_block(&bytes, take_number(&bytes));
    if (bytes.bad)
        return;
    struct state state = *initial;
    struct function function = {common, initial, output, address, address + length, UINT64_MAX};
    uint64_t before = output->count;
    if (!memsc_follow(bytes, &function, &state)) {
        output->count = before;
        memsc_put_row(output, address, untold());
    }
    if (before < output->room && before < output->count)
        output->rows[before].rule |= MEMSC_BEGINS;
    memsc_put_row(output, address + length, rule_of(MEMSC_UNKNOWN, 0, 0, 0, 0));
}

uint64_t memsc_unwind_rows(const uint8_t *bytes, uint64_t size, uint64_t address,
                           enum memsc_unwind_section kind, struct memsc_unwind_row *rows,
                           uint64_t room)
{
    const struct section section = {bytes, size, address, kind == MEMSC_DEBUG_FRAME};
    struct output output = {rows, 0, room};
    struct entry entry;
    struct common common;
    struct state initial;
    uint64_t known = UINT64_MAX, next;
    bool usable = false;
    for (uint64_t at = 0; at < size && read_entry(&section, at, &entry, &next); at = next) {
        if (!entry.identity)
            continue;
        if (entry.common_at != known) {
            known = entry.common_at;
            usable = read_common(&section, known, &common, &initial);
        }
        if (usable)
            read_function(&section, entry.bytes, &common, &initial, &output);
    }
    return output.count;
}
