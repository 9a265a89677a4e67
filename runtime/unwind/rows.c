/* SPDX-License-Identifier: MIT */
#include "unwind.h"

#include <stdbool.h>
#include <string.h>

typedef uint64_t u64;

#include "rules.h"

enum {
    RIP = 16, /* as DWARF numbers it (psABI for x86-64, figure 3.36) */
    REGISTERS,
    NO_REGISTER = 0xff,
    KEPT_STATES = 16,
    LONGEST_COMMON =
        4096, /* functions that take turns with two of them have them read over and over */
    LONGEST_FUNCTION = 1 << 30,
};

/* ---- bytes ---- */

struct bytes {
    const uint8_t *at, *end;
    bool bad; /* more was read than there is; whatever came of it is worth nothing */
};

static uint64_t take(struct bytes *bytes, unsigned width)
{
    uint64_t value = 0;
    if ((size_t)(bytes->end - bytes->at) < width) {
        bytes->bad = true;
        bytes->at = bytes->end;
        return 0;
    }
    memcpy(&value, bytes->at, width);
    bytes->at += width;
    return value;
}

static uint64_t take_signed(struct bytes *bytes, unsigned width)
{
    uint64_t value = take(bytes, width);
    unsigned unused = 64 - 8 * width;
    return unused ? (uint64_t)((int64_t)(value << unused) >> unused) : value;
}

static uint64_t take_leb(struct bytes *bytes, bool is_signed)
{
    uint64_t value = 0;
    unsigned shift = 0;
    uint8_t byte;
    do {
        byte = (uint8_t)take(bytes, 1);
        if (shift < 64)
            value |= (uint64_t)(byte & 0x7f) << shift;
        shift += 7;
    } while (byte & 0x80 && !bytes->bad);
    if (is_signed && shift < 64 && byte & 0x40)
        value |= ~0ull << shift;
    return value;
}

static uint64_t take_number(struct bytes *bytes)
{
    return take_leb(bytes, false);
}

static int64_t take_difference(struct bytes *bytes)
{
    return (int64_t)take_leb(bytes, true);
}

/* The next so many bytes, passed over. */
static struct bytes take_block(struct bytes *bytes, uint64_t length)
{
    struct bytes block = {bytes->at, bytes->at, false};
    if (length > (uint64_t)(bytes->end - bytes->at))
        bytes->bad = true;
    else
        block.end = bytes->at += length;
    return block;
}

/* ---- what a frame's registers are ---- */

enum how {
    SAME = 0,
    AT, /* saved at the frame's address + number */
    EXPRESSION,
    IN, /* in the register of that number */
    UNDEFINED,
    UNTOLD, /* in a way that nobody but a debugger needs */
};

struct rule {
    enum how how;
    int64_t number;
    struct bytes expression;
};

/* The frame's address (CFA) is a register and an offset, or an expression. */
struct state {
    struct rule frame; /* IN: of frame_register, plus number; EXPRESSION; else not known */
    uint64_t frame_register;
    struct rule registers[REGISTERS];
};

static uint64_t rule_of(unsigned kind, unsigned rbp, unsigned more, unsigned reg, int64_t offset)
{
    if (offset >> (MEMSC_OFFSET_BITS - 1) != 0 && offset >> (MEMSC_OFFSET_BITS - 1) != -1)
        return MEMSC_RULE(MEMSC_UNTOLD, 0, 0, 0, 0);
    return MEMSC_RULE(kind, rbp, more, reg, (uint64_t)offset);
}

static uint64_t untold(void)
{
    return rule_of(MEMSC_UNTOLD, 0, 0, 0, 0);
}

/* How far below the frame's address a register is saved, in words; 0: it is as it was. */
static unsigned words_below(const struct rule *rule)
{
    bool told = rule->how == AT && rule->number < 0 && rule->number % 8 == 0 &&
                rule->number >= -8 * MEMSC_MORE_MOST;
    return told ? (unsigned)(-rule->number / 8) : 0;
}

/* `*(register + offset)`, and perhaps `+ addend` behind it. */
static bool is_indirect(struct bytes expression, unsigned *reg, int64_t *offset, uint64_t *addend)
{
    enum { BREG = 0x70, DEREF = 0x06, PLUS_UCONST = 0x23 };
    *reg = (unsigned)take(&expression, 1) - BREG;
    *offset = take_difference(&expression);
    *addend = 0;
    if (take(&expression, 1) != DEREF)
        return false;
    if (expression.at < expression.end) {
        if (take(&expression, 1) != PLUS_UCONST)
            return false;
        *addend = take_number(&expression);
    }
    return !expression.bad && expression.at == expression.end;
}

/* The linker's description of the lazy procedure linkage table: rsp + 8 + ((rip & 15) >= N) * 8. Returns N, -1: it
 * is something else. */
static int linkage_table(struct bytes expression)
{
    static const uint8_t head[] = {0x77, 8, 0x80, 0, 0x3f, 0x1a}, tail[] = {0x2a, 0x33, 0x24, 0x22};
    if (expression.end - expression.at != sizeof head + 1 + sizeof tail ||
        memcmp(expression.at, head, sizeof head) ||
        memcmp(expression.at + sizeof head + 1, tail, sizeof tail))
        return -1;
    int literal = expression.at[sizeof head] - 0x30;
    return literal >= 0 && literal < 16 ? literal : -1;
}

/* The layer's own (layer/stub.S): the return address stands in the slot. */
static bool is_slot(struct bytes expression)
{
    static const uint8_t slot[] = {
        0x80, 0, 0x09, (uint8_t)-MEMSC_WALK_SLOT, 0x1a, 0x23, MEMSC_WALK_RESUME};
    return expression.end - expression.at == sizeof slot &&
           !memcmp(expression.at, slot, sizeof slot);
}

static uint64_t rule_of_signal(const struct state *state)
{
    unsigned reg;
    int64_t offset;
    uint64_t addend;
    if (state->frame.how == EXPRESSION &&
        is_indirect(state->frame.expression, &reg, &offset, &addend) && reg == MEMSC_RSP && !addend)
        return rule_of(MEMSC_SIGNAL, 0, 0, MEMSC_RSP, offset - MEMSC_UC_RSP);
    return untold();
}

static uint64_t rule_of_expression(struct bytes expression, unsigned rbp)
{
    unsigned reg;
    int64_t offset;
    uint64_t addend;
    if (is_indirect(expression, &reg, &offset, &addend)) {
        if ((reg != MEMSC_RSP && reg != MEMSC_RBP) || addend % 8 || addend / 8 > MEMSC_MORE_MOST)
            return untold();
        return rule_of(MEMSC_INDIRECT, rbp, (unsigned)(addend / 8), reg, offset);
    }
    int literal = linkage_table(expression);
    return literal < 0 ? untold() : rule_of(MEMSC_LINKAGE, 0, 0, MEMSC_RSP, literal);
}

static uint64_t rule_of_state(const struct state *state, bool signal)
{
    const struct rule *caller = &state->registers[RIP];
    if (caller->how == UNDEFINED)
        return rule_of(MEMSC_OUTERMOST, 0, 0, 0, 0);
    if (signal)
        return rule_of_signal(state);
    bool by_register = state->frame.how == IN && state->frame_register < RIP;
    unsigned reg = (unsigned)state->frame_register;
    int64_t offset = state->frame.number;
    if (by_register && reg == MEMSC_RSP) {
        if (caller->how == EXPRESSION && is_slot(caller->expression))
            return rule_of(MEMSC_SLOT, 0, 0, reg, offset);
        if (caller->how == IN && caller->number >= 0 && caller->number < RIP)
            return rule_of(MEMSC_RETURN_IN, 0, (unsigned)caller->number, reg, offset);
    }
    if (caller->how != AT || caller->number != -8)
        return untold();
    unsigned rbp = words_below(&state->registers[MEMSC_RBP]);
    if (by_register) {
        if (reg != MEMSC_RSP && reg != MEMSC_RBP && reg != MEMSC_RBX)
            return rule_of(MEMSC_INNERMOST, rbp, 0, reg, offset);
        return rule_of(MEMSC_PLAIN, rbp, words_below(&state->registers[MEMSC_RBX]), reg, offset);
    }
    return state->frame.how == EXPRESSION ? rule_of_expression(state->frame.expression, rbp)
                                          : untold();
}

/* ---- rows ---- */

struct output {
    struct memsc_unwind_row *rows;
    uint64_t count, room;
};

static void put(struct output *output, uint64_t address, uint64_t rule)
{
    if (output->count < output->room)
        output->rows[output->count] = (struct memsc_unwind_row){address, rule};
    output->count++;
}

/* What is common to many functions (CIE). */
struct common {
    uint64_t code_factor;
    int64_t data_factor;
    uint8_t encoding;
    bool signal, augmented;
    struct bytes instructions;
};

/* One function while its instructions are followed; without output those common to many. */
struct function {
    const struct common *common;
    const struct state *initial;
    struct output *output;
    uint64_t address, end, rule;
};

static void settle(struct function *function, const struct state *state)
{
    uint64_t rule = rule_of_state(state, function->common->signal);
    if (rule != function->rule)
        put(function->output, function->address, rule);
    function->rule = rule;
}

static struct rule saved_at(const struct common *common, uint64_t number)
{
    return (struct rule){.how = AT, .number = (int64_t)(number * (uint64_t)common->data_factor)};
}

static struct rule by_expression(struct bytes *bytes)
{
    return (struct rule){.how = EXPRESSION, .expression = take_block(bytes, take_number(bytes))};
}

/* Follows instructions; false: there is one that nobody knows, or they are cut short. */
static bool follow(struct bytes bytes, struct function *function, struct state *state)
{
    const struct common *common = function->common;
    struct state kept[KEPT_STATES];
    unsigned depth = 0;
    while (bytes.at < bytes.end) {
        uint8_t code = (uint8_t)take(&bytes, 1), low = code & 0x3f;
        uint64_t reg = NO_REGISTER, advance = 0;
        struct rule rule = {.how = SAME};
        bool advances = false, restores = false;
        switch (code & 0xc0) {
        case 0x40: /* DW_CFA_advance_loc */
            advance = low, advances = true;
            code = 0;
            break;
        case 0x80: /* DW_CFA_offset */
            reg = low, rule = saved_at(common, take_number(&bytes));
            code = 0;
            break;
        case 0xc0: /* DW_CFA_restore */
            reg = low, restores = true;
            code = 0;
            break;
        }
        switch (code) {
        case 0x00: /* DW_CFA_nop */
            break;
        case 0x02: /* DW_CFA_advance_loc1, 2, 4 */
        case 0x03:
        case 0x04:
            advance = take(&bytes, 1u << (code - 2)), advances = true;
            break;
        case 0x05: /* DW_CFA_offset_extended */
            reg = take_number(&bytes), rule = saved_at(common, take_number(&bytes));
            break;
        case 0x06: /* DW_CFA_restore_extended */
            reg = take_number(&bytes), restores = true;
            break;
        case 0x07: /* DW_CFA_undefined */
            reg = take_number(&bytes), rule.how = UNDEFINED;
            break;
        case 0x08: /* DW_CFA_same_value */
            reg = take_number(&bytes);
            break;
        case 0x09: /* DW_CFA_register */
            reg = take_number(&bytes);
            rule = (struct rule){.how = IN, .number = (int64_t)take_number(&bytes)};
            break;
        case 0x0a: /* DW_CFA_remember_state */
            if (depth == KEPT_STATES)
                return false;
            kept[depth++] = *state;
            break;
        case 0x0b: /* DW_CFA_restore_state */
            if (!depth)
                return false;
            *state = kept[--depth];
            break;
        case 0x0c: /* DW_CFA_def_cfa */
            state->frame_register = take_number(&bytes);
            state->frame = (struct rule){.how = IN, .number = (int64_t)take_number(&bytes)};
            break;
        case 0x0d: /* DW_CFA_def_cfa_register */
            state->frame_register = take_number(&bytes);
            break;
        case 0x0e: /* DW_CFA_def_cfa_offset */
            state->frame.number = (int64_t)take_number(&bytes);
            break;
        case 0x0f: /* DW_CFA_def_cfa_expression */
            state->frame = by_expression(&bytes);
            break;
        case 0x10: /* DW_CFA_expression */
            reg = take_number(&bytes), rule = by_expression(&bytes);
            break;
        case 0x11: /* DW_CFA_offset_extended_sf */
            reg = take_number(&bytes), rule = saved_at(common, (uint64_t)take_difference(&bytes));
            break;
        case 0x12: /* DW_CFA_def_cfa_sf */
            state->frame_register = take_number(&bytes);
            state->frame = saved_at(common, (uint64_t)take_difference(&bytes));
            state->frame.how = IN;
            break;
        case 0x13: /* DW_CFA_def_cfa_offset_sf */
            state->frame.number = saved_at(common, (uint64_t)take_difference(&bytes)).number;
            break;
        case 0x14: /* DW_CFA_val_offset, _sf */
        case 0x15:
            reg = take_number(&bytes), rule.how = UNTOLD;
            take_number(&bytes);
            break;
        case 0x16: /* DW_CFA_val_expression */
            reg = take_number(&bytes), rule = by_expression(&bytes);
            rule.how = UNTOLD;
            break;
        case 0x2e: /* DW_CFA_GNU_args_size */
            take_number(&bytes);
            break;
        case 0x2f: /* DW_CFA_GNU_negative_offset_extended */
            reg = take_number(&bytes), rule = saved_at(common, -take_number(&bytes));
            break;
        default:
            return false;
        }
        if (bytes.bad)
            return false;
        if (restores && !function->initial)
            return false;
        if (reg < REGISTERS)
            state->registers[reg] = restores ? function->initial->registers[reg] : rule;
        if (!advances)
            continue;
        if (!function->output)
            return false;
        settle(function, state);
        advance *= common->code_factor;
        if (advance >= function->end - function->address)
            return true; /* what follows is of no instruction */
        function->address += advance;
    }
    if (function->output)
        settle(function, state);
    return true;
}

/* ---- entries of a section ---- */

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
    return follow(bytes, &function, initial);
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
    if (!follow(bytes, &function, &state)) {
        output->count = before;
        put(output, address, untold());
    }
    put(output, address + length, rule_of(MEMSC_UNKNOWN, 0, 0, 0, 0));
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
