/* SPDX-License-Identifier: GPL-2.0 OR MIT
 *
 * How to get from a frame to its caller's, in 64 bits: made by runtime/unwind of a file's call frame information,
 * followed by walk.h. And how large the tables of them are, which the session fills and BPF programs read.
 */
#ifndef MEMSC_RULES_H
#define MEMSC_RULES_H

/* Where the frame's address (CFA) and the caller's instruction pointer are. */
#define MEMSC_UNKNOWN 0   /* no function here */
#define MEMSC_PLAIN 1     /* address: register + offset; the return address is below it */
#define MEMSC_INDIRECT 2  /* address: *(register + offset) + 8 * more */
#define MEMSC_INNERMOST 3 /* as plain, by a register that is known of the innermost frame alone */
#define MEMSC_CHAIN 4     /* no rule is known: by the chain of frame pointers */
#define MEMSC_LINKAGE 5   /* of the lazy procedure linkage table */
#define MEMSC_SIGNAL 6    /* all registers are at rsp + offset, as the kernel saved them */
#define MEMSC_SLOT 7      /* of the layer: the return address is in the slot; no frame of its own */
#define MEMSC_OUTERMOST 8 /* nobody called */
#define MEMSC_RETURN_IN 9 /* the return address is in register number more, innermost */
#define MEMSC_UNTOLD 10   /* in a way that is not followed */

/* Registers, as DWARF numbers them. */
#define MEMSC_RBX 3
#define MEMSC_RBP 6
#define MEMSC_RSP 7

#define MEMSC_MORE_MOST 255
/* In a row that is not in a table yet, where that has the place in the page: a function begins here. */
#define MEMSC_BEGINS 1
/* Bits: place in the page 0-11, kind 12-15, rbp 16-23 and more 24-31 (rbp and rbx are saved so many words below; 0:
 * unchanged), register 32-35, offset 36-63. */
#define MEMSC_RULE(kind, rbp, more, reg, offset)                                                   \
    ((u64)(kind) << 12 | (u64)(rbp) << 16 | (u64)(more) << 24 | (u64)(reg) << 32 |                 \
     (u64)(offset) << 36)
#define MEMSC_OFFSET_BITS 28

/* In what the kernel saves for a signal (struct ucontext), and in a slot of the layer (layer/stub.h). */
#define MEMSC_UC_RBP 120
#define MEMSC_UC_RBX 128
#define MEMSC_UC_RSP 160
#define MEMSC_UC_RIP 168
#define MEMSC_WALK_SLOT 64
#define MEMSC_WALK_RESUME 56

/* How a walk ended. */
#define MEMSC_WALK_ON 0
#define MEMSC_WALK_DONE 1       /* at the thread's first frame */
#define MEMSC_WALK_NOWHERE 2    /* nothing is known to be mapped there */
#define MEMSC_WALK_NO_RULE 3    /* no function is known there */
#define MEMSC_WALK_UNREADABLE 4 /* the stack, or the copy of it, ends before */
#define MEMSC_WALK_ASTRAY 5     /* the caller's frame would not lie above */
#define MEMSC_WALK_UNTOLD 6
#define MEMSC_WALK_DEEP 7 /* more frames than there is room for */

/* The session's tables. */
#define MEMSC_WALK_FRAMES 127
#define MEMSC_WALK_PLACES 256 /* of a space; the first and those left over are of nothing */
#define MEMSC_WALK_SPACES 256 /* the first is nobody's */
#define MEMSC_WALK_PROCESSES 4096
#define MEMSC_WALK_PAGES 65536  /* of code in all files, 4 KiB each */
#define MEMSC_WALK_CHUNK 131072 /* rows; those of a page lie in one chunk */
#define MEMSC_WALK_CHUNKS 16
#define MEMSC_WALK_PAGE_ROWS 1024 /* less than so many */

/* Flags of a place (walk.h). */
#define MEMSC_PLACE_FRAMES 1  /* no rules: by frame pointers */
#define MEMSC_PLACE_CALLERS 2 /* callers keep frame pointers: cheaper */
#define MEMSC_PLACE_FLAGS 4095

#endif
