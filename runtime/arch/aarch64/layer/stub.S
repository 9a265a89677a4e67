/* SPDX-License-Identifier: MIT
 *
 * Where rewritten `svc` instructions lead.
 *
 * Each site owns one slot. A slot looks to the outside like the instruction it stands for: it keeps all
 * registers but x0, the vector registers by not touching them, and the flags, and goes on behind the site. There is
 * no red zone here, but no free register either: not x16 and x17, which only calls between functions may change, and
 * not x30. So what the dispatch has answered is told by where memsc_stub_common returns to. If that is "run it here",
 * the slot executes the system call itself, with registers and stack as the site left them; so clone, vfork and
 * whatever else cares about the stack or returns twice needs no care.
 *
 * Slots are filled in at start-up (memsc_patch), on pages of their own, as large as pages can be, because pages are
 * never writable and executable at once. They may be mapped once more, near a library that is too far from these
 * (area.c); so they leave by addresses that stand behind them. Branches here need no landing pads, for this library
 * does not ask for its pages to be guarded.
 *
 * All slots look alike, which is what lets the assembler describe them to unwinders: cancellation and
 * backtraces pass through here. A frame in a slot or in memsc_stub_common is one that its site's function has called
 * without changing x30, so where it goes on stands in a column of its own: the one that unwinders also have for what a
 * signal has interrupted. In a slot itself, only a signal can have interrupted.
 */
#include "slots.h"

#define LARGEST_PAGE 65536
#define PC 96                           /* the column */

    /* Its value stands at (pc & -SLOT_BYTES) + SLOT_RESUME. */
    .macro cfi_pc_in_slot
    .cfi_escape 0x10, PC, 8, 0x92, PC, 0x00, 0x09, (-MEMSC_SLOT_BYTES & 0xff), 0x1a, 0x23, MEMSC_SLOT_RESUME
    .endm

    .macro cfi_frame
    .cfi_def_cfa_offset MEMSC_FRAME_BYTES
    .cfi_offset x29, -MEMSC_FRAME_BYTES
    .cfi_offset x30, 8 - MEMSC_FRAME_BYTES
    .endm

    .macro cfi_no_frame
    .cfi_def_cfa_offset 0
    .cfi_restore x29
    .cfi_restore x30
    .endm

    .section .memsc_stubs, "ax", %progbits
    .balign LARGEST_PAGE
    .global memsc_stubs, memsc_stubs_end
    .hidden memsc_stubs, memsc_stubs_end
    .type memsc_stubs, %function
memsc_stubs:
    .cfi_startproc
    .cfi_return_column PC
    cfi_pc_in_slot
    .rept MEMSC_SLOTS
1:  stp x29, x30, [sp, #-MEMSC_FRAME_BYTES]!
    cfi_frame
    ldr x30, memsc_stubs + MEMSC_AREA_COMMON
    blr x30
    ldp x29, x30, [sp], #MEMSC_FRAME_BYTES
    cfi_no_frame
2:  brk #0                              /* b, behind the site */
    cfi_frame
    ldp x29, x30, [sp], #MEMSC_FRAME_BYTES  /* two instructions behind the call's return */
    cfi_no_frame
    svc #0                              /* of a bridge: b 3f */
    b 2b
3:  ldr x17, 1b + MEMSC_SLOT_RESUME     /* the site's own call */
    sub x17, x17, #4
    ldr x16, memsc_stubs + MEMSC_AREA_BRIDGE
    br x16
    brk #0                              /* moved from before a bridge's call */
    b 1b
    .quad 0                             /* where the site goes on */
    .endr
    .cfi_endproc
    .quad 0, 0                          /* to be filled in */
    .balign MEMSC_SLOT_BYTES
memsc_stubs_end:
    .size memsc_stubs, . - memsc_stubs
    .balign LARGEST_PAGE

    .text
    .global memsc_stub_common
    .hidden memsc_stub_common
    .type memsc_stub_common, %function
memsc_stub_common:
    .cfi_startproc
    .cfi_return_column PC
    cfi_frame
    .cfi_escape 0x10, PC, 2, 0x8e, MEMSC_SLOT_RESUME - MEMSC_SLOT_CALLED /* at x30 + so much */
    stp x0, x1, [sp, #MEMSC_FRAME_ARGS]
    mrs x1, nzcv
    stp x2, x3, [sp, #MEMSC_FRAME_ARGS + 16]
    stp x4, x5, [sp, #MEMSC_FRAME_ARGS + 32]
    stp x8, x1, [sp, #MEMSC_FRAME_NUMBER]
    ldr x1, [x30, #MEMSC_SLOT_RESUME - MEMSC_SLOT_CALLED]
    stp x30, x6, [sp, #MEMSC_FRAME_LINK]
    stp x29, x1, [sp, #MEMSC_FRAME_RECORD]
    .cfi_offset PC, MEMSC_FRAME_RECORD + 8 - MEMSC_FRAME_BYTES
    stp x7, x9, [sp, #112]
    stp x10, x11, [sp, #128]
    stp x12, x13, [sp, #144]
    stp x14, x15, [sp, #160]
    stp x16, x17, [sp, #176]
    stp x18, x19, [sp, #192]
    stp x20, x21, [sp, #208]
    stp x22, x23, [sp, #224]
    stp x24, x25, [sp, #240]
    stp x26, x27, [sp, #256]
    str x28, [sp, #272]
    add x29, sp, #MEMSC_FRAME_RECORD
    mov x0, x8                          /* number */
    add x1, sp, #MEMSC_FRAME_ARGS       /* args */
    .global memsc_stub_again, memsc_stub_settled /* handlers.c goes on there */
    .hidden memsc_stub_again, memsc_stub_settled
memsc_stub_again:
    bl memsc_dispatch                   /* x0: result, x1: whether there is one */
1:  ldr x30, [sp, #MEMSC_FRAME_LINK]
    cbnz x1, 2f
    ldr x0, [sp, #MEMSC_FRAME_ARGS]
    add x30, x30, #8                    /* to where it is run here */
2:  ldp x8, x2, [sp, #MEMSC_FRAME_NUMBER]
    msr nzcv, x2
    ldr x1, [sp, #MEMSC_FRAME_ARGS + 8]
    ldp x2, x3, [sp, #MEMSC_FRAME_ARGS + 16]
    ldp x4, x5, [sp, #MEMSC_FRAME_ARGS + 32]
    ldr x6, [sp, #MEMSC_FRAME_LINK + 8]
    ldp x7, x9, [sp, #112]
    ldp x10, x11, [sp, #128]
    ldp x12, x13, [sp, #144]
    ldp x14, x15, [sp, #160]
    ldp x16, x17, [sp, #176]
    ldr x18, [sp, #192]                 /* nobody has changed those behind it */
    ret
memsc_stub_settled:
    bl memsc_after_settled
    b 1b
    .cfi_endproc
    .size memsc_stub_common, . - memsc_stub_common

    .section .note.GNU-stack, "", %progbits
