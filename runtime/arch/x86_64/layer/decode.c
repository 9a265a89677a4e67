/* SPDX-License-Identifier: MIT */
#include "decode.h"

#include <stddef.h>

/* What follows an opcode, by its first byte. '.' nothing, m ModRM, b imm8, z imm16/32, M ModRM+imm8,
 * Z ModRM+imm16/32, v immediate as wide as the operand, j rel8, J rel32, a address, w imm16,
 * e imm16+imm8, g/G group 3 (immediate only for TEST), o POP group, p prefix, r REX, x not in 64-bit
 * mode, 0 two-byte opcodes, 2/3 VEX of that length, 4 EVEX. */
static const char one_byte[256 + 1] = "mmmmbzxxmmmmbzx0"
                                      "mmmmbzxxmmmmbzxx"
                                      "mmmmbzpxmmmmbzpx"
                                      "mmmmbzpxmmmmbzpx"
                                      "rrrrrrrrrrrrrrrr"
                                      "................"
                                      "xx4mppppzZbM...."
                                      "jjjjjjjjjjjjjjjj"
                                      "MZxMmmmmmmmmmmmo"
                                      "..........x....."
                                      "aaaa....bz......"
                                      "bbbbbbbbvvvvvvvv"
                                      "MMw.32MZe.w..bx."
                                      "mmmmxxx.mmmmmmmm"
                                      "jjjjbbbbJJxj...."
                                      "p.pp..gG......mm";

/* The same behind 0f. 8 and A lead to the three-byte maps. */
static const char two_byte[256 + 1] = "mmmmx.....x.xm.M"
                                      "mmmmmmmmmmmmmmmm"
                                      "mmmmxxxxmmmmmmmm"
                                      "......x.8xAxxxxx"
                                      "mmmmmmmmmmmmmmmm"
                                      "mmmmmmmmmmmmmmmm"
                                      "mmmmmmmmmmmmmmmm"
                                      "MMMMmmm.mmmmmmmm"
                                      "JJJJJJJJJJJJJJJJ"
                                      "mmmmmmmmmmmmmmmm"
                                      "...mMmxx...mMmmm"
                                      "mmmmmmmmmmMmmmmm"
                                      "mmMmMMMm........"
                                      "mmmmmmmmmmmmmmmm"
                                      "mmmmmmmmmmmmmmmm"
                                      "mmmmmmmmmmmmmmmm";

enum { STACK_POINTER = 4, LONGEST = 15 };

struct cursor {
    const uint8_t *at, *end;
    bool failed;
};

static uint8_t take(struct cursor *cursor)
{
    if (cursor->at >= cursor->end) {
        cursor->failed = true;
        return 0;
    }
    return *cursor->at++;
}

static void skip(struct cursor *cursor, ptrdiff_t bytes)
{
    if (cursor->end - cursor->at < bytes)
        cursor->failed = true;
    else
        cursor->at += bytes;
}

/* Takes ModRM, SIB and displacement; *relative: the operand's address depends on where we are. */
static uint8_t take_operand(struct cursor *cursor, bool *relative)
{
    uint8_t modrm = take(cursor);
    uint8_t mode = modrm >> 6, base = modrm & 7;
    if (mode == 3)
        return modrm;
    if (base == 4) {
        base = take(cursor) & 7;
        if (mode == 0 && base == 5)
            skip(cursor, 4);
    } else if (mode == 0 && base == 5) {
        *relative = true;
        skip(cursor, 4);
    }
    if (mode == 1)
        skip(cursor, 1);
    else if (mode == 2)
        skip(cursor, 4);
    return modrm;
}

static int32_t little(const uint8_t *at)
{
    return (int32_t)((uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 |
                     (uint32_t)at[3] << 24);
}

/* Vector encodings: everything but vzeroupper has ModRM; map 3 and a few of map 1 an immediate. */
static void take_vector(struct cursor *cursor, char kind, struct memsc_instruction *out)
{
    uint8_t map = 1;
    bool relative = false;
    uint8_t payload = take(cursor);
    if (kind == '3') {
        map = payload & 0x1f;
        skip(cursor, 1);
    } else if (kind == '4') {
        map = payload & 7;
        skip(cursor, 2);
    }
    uint8_t opcode = take(cursor);
    if (map == 0 || map > 6 || (map > 3 && kind != '4'))
        cursor->failed = true;
    if (map == 1 && opcode == 0x77 && kind != '4')
        return;
    take_operand(cursor, &relative);
    if (map == 3 || (map == 1 && ((opcode >= 0x70 && opcode <= 0x73) || opcode == 0xc2 ||
                                  (opcode >= 0xc4 && opcode <= 0xc6))))
        skip(cursor, 1);
    out->flow = MEMSC_FLOW_NEXT;
}

/* Plain register and memory moves, arithmetic and comparisons: what stands beside a system call.
 * Others are not worth proving movable. */
static bool may_move(uint8_t opcode, uint8_t modrm, uint8_t rex)
{
    uint8_t reg = (modrm >> 3 & 7) | (rex & 4) << 1, rm = (modrm & 7) | (rex & 1) << 3;
    bool direct = modrm >> 6 == 3;
    switch (opcode) {
    case 0x31: /* xor, and mov, to r/m */
    case 0x89:
    case 0x83: /* arithmetic with an immediate */
    case 0x81:
    case 0xc7: /* mov immediate */
        return !direct || rm != STACK_POINTER;
    case 0x33: /* xor, and mov, and lea, to a register */
    case 0x8b:
    case 0x8d:
        return reg != STACK_POINTER;
    case 0x39: /* cmp and test write nothing */
    case 0x3b:
    case 0x3d:
    case 0x85:
        return true;
    default: /* mov immediate to a register */
        return opcode >= 0xb8 && opcode <= 0xbf && ((opcode & 7) | (rex & 1) << 3) != STACK_POINTER;
    }
}

static void classify(uint8_t opcode, uint8_t modrm, bool two, struct memsc_instruction *out)
{
    if (two) {
        if (opcode == 0x05)
            out->flow = MEMSC_FLOW_SYSCALL;
        else if (opcode == 0x0b)
            out->flow = MEMSC_FLOW_AWAY;
        else if (opcode >= 0x80 && opcode <= 0x8f)
            out->flow = MEMSC_FLOW_BRANCH;
        out->padding = opcode == 0x1f;
        return;
    }
    switch (opcode) {
    case 0xe9:
    case 0xeb:
        out->flow = MEMSC_FLOW_JUMP;
        break;
    case 0xe8:
    case 0xe0:
    case 0xe1:
    case 0xe2:
    case 0xe3:
        out->flow = MEMSC_FLOW_BRANCH;
        break;
    case 0xc2:
    case 0xc3:
    case 0xca:
    case 0xcb:
    case 0xcc:
    case 0xf4:
        out->flow = MEMSC_FLOW_AWAY;
        break;
    case 0xff:
        if ((modrm >> 3 & 7) == 4 || (modrm >> 3 & 7) == 5)
            out->flow = MEMSC_FLOW_INDIRECT;
        break;
    default:
        if (opcode >= 0x70 && opcode <= 0x7f)
            out->flow = MEMSC_FLOW_BRANCH;
        else if (opcode == 0xc7 && modrm == 0xf8) /* xbegin */
            out->flow = MEMSC_FLOW_BRANCH;
    }
    out->padding = opcode == 0x90 || opcode == 0xcc;
    out->compares =
        opcode == 0x3d || (opcode == 0x83 && modrm == 0xf8) || (opcode == 0x85 && modrm == 0xc0);
}

bool memsc_decode(const uint8_t *at, const uint8_t *end, struct memsc_instruction *out)
{
    *out = (struct memsc_instruction){.flow = MEMSC_FLOW_NEXT};
    struct cursor cursor = {at, end - at > LONGEST ? at + LONGEST : end, false};
    bool narrow = false, relative = false, two = false, repeats = false;
    bool short_address = false;
    uint8_t rex = 0, modrm = 0;
    uint8_t opcode = take(&cursor);
    char kind = one_byte[opcode];
    while (kind == 'p' || kind == 'r') {
        if (kind == 'r') {
            rex = opcode;
        } else {
            rex = 0; /* counts only directly before the opcode */
            narrow |= opcode == 0x66;
            short_address |= opcode == 0x67;
            repeats |= opcode == 0xf2 || opcode == 0xf3;
        }
        opcode = take(&cursor);
        kind = one_byte[opcode];
    }
    if (kind >= '2' && kind <= '4') {
        take_vector(&cursor, kind, out);
        goto done;
    }
    if (kind == '0') {
        two = true;
        opcode = take(&cursor);
        kind = two_byte[opcode];
        if (kind == '8' || kind == 'A') {
            skip(&cursor, 1);
            take_operand(&cursor, &relative);
            if (kind == 'A')
                skip(&cursor, 1);
            goto done;
        }
    }
    ptrdiff_t wide = narrow && !(rex & 8) ? 2 : 4;
    switch (kind) {
    case '.':
        break;
    case 'm':
    case 'M':
    case 'Z':
    case 'g':
    case 'G':
    case 'o':
        modrm = take_operand(&cursor, &relative);
        if (kind == 'M' || (kind == 'g' && (modrm >> 3 & 7) < 2))
            skip(&cursor, 1);
        else if (kind == 'Z' || (kind == 'G' && (modrm >> 3 & 7) < 2))
            skip(&cursor, wide);
        else if (kind == 'o' && (modrm >> 3 & 7) != 0)
            cursor.failed = true; /* AMD's XOP: nobody emits it any more */
        break;
    case 'b':
    case 'j':
        skip(&cursor, 1);
        break;
    case 'z':
        skip(&cursor, wide);
        break;
    case 'v':
        skip(&cursor, rex & 8 ? 8 : wide);
        break;
    case 'J':
        skip(&cursor, 4); /* 0x66 changes nothing on Intel; no compiler emits it with effect */
        break;
    case 'a':
        skip(&cursor, short_address ? 4 : 8);
        break;
    case 'w':
        skip(&cursor, 2);
        break;
    case 'e':
        skip(&cursor, 3);
        break;
    default:
        return false;
    }
    classify(opcode, modrm, two, out);
    out->padding &= !repeats; /* pause and endbr are not for padding */
    if (!cursor.failed && (kind == 'j' || out->flow == MEMSC_FLOW_JUMP || kind == 'J'))
        out->target = cursor.at + (kind == 'j' ? (int8_t)cursor.at[-1] : little(cursor.at - 4));
    else if (!cursor.failed && out->flow == MEMSC_FLOW_BRANCH)
        out->target = cursor.at + little(cursor.at - 4);
    out->movable = !two && !relative && !repeats && out->flow == MEMSC_FLOW_NEXT &&
                   may_move(opcode, modrm, rex);
done:
    out->length = (uint8_t)(cursor.at - at);
    return !cursor.failed;
}
