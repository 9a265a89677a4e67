/* SPDX-License-Identifier: MIT
 *
 * The instructions of a function's frames (DWARF 5, 6.4.2), followed to the rows that they make.
 */
#ifndef MEMSC_UNWIND_FUNCTION_H
#define MEMSC_UNWIND_FUNCTION_H

#include "state.h"
#include "unwind.h"

struct output {
    struct memsc_unwind_row *rows;
    uint64_t count, room;
};

/* Counts a row, and writes it where there is room. */
void memsc_put_row(struct output *output, uint64_t address, uint64_t rule);

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

/* Follows instructions; false: there is one that nobody knows, or they are cut short. */
bool memsc_follow(struct bytes bytes, struct function *function, struct state *state);

#endif
