/* SPDX-License-Identifier: MIT
 *
 * Lengths and control flow of x86-64 instructions: enough to know where instructions begin, which of
 * them can run at another address, and where jumps lead. No operand is described.
 */
#ifndef MEMSC_LAYER_DECODE_H
#define MEMSC_LAYER_DECODE_H

#include <stdbool.h>
#include <stdint.h>

enum memsc_flow {
    MEMSC_FLOW_NEXT = 0, /* goes on behind itself */
    MEMSC_FLOW_BRANCH,   /* may go to target (calls too: execution comes back) */
    MEMSC_FLOW_JUMP,     /* goes to target */
    MEMSC_FLOW_AWAY,     /* return or trap: never goes on behind itself */
    MEMSC_FLOW_INDIRECT, /* jumps to an address only the running program knows */
    MEMSC_FLOW_SYSCALL,  /* the instruction this layer is about */
};

struct memsc_instruction {
    uint8_t length;
    uint8_t flow;  /* enum memsc_flow */
    bool padding;  /* a no-operation as compilers and assemblers pad with */
    bool movable;  /* does the same at any address, and leaves the stack pointer alone */
    bool compares; /* only compares the accumulator: of no use but behind what computed it */
    const uint8_t *target; /* of BRANCH and JUMP */
};

/* Decodes the instruction at `at`; false: unknown, or longer than the bytes before `end`. */
bool memsc_decode(const uint8_t *at, const uint8_t *end, struct memsc_instruction *out);

#endif
