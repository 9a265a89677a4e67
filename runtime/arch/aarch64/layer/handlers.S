/* SPDX-License-Identifier: MIT
 *
 * What the kernel calls instead of the program's handlers: memsc_before_handler (handlers.c) says which
 * one it is, and that goes on with the kernel's own stack and arguments, so no frame of ours is left. By x16, from
 * which a landing pad for calls may be entered.
 */
    .text
    .macro handler which
    .global memsc_handler_\which
    .hidden memsc_handler_\which
    .type memsc_handler_\which, %function
memsc_handler_\which:
    .cfi_startproc
    stp x29, x30, [sp, #-48]!
    .cfi_def_cfa_offset 48
    .cfi_offset x29, -48
    .cfi_offset x30, -40
    mov x29, sp
    stp x0, x1, [sp, #16]
    str x2, [sp, #32]
    mov w3, #\which                     /* behind the handler's own three */
    bl memsc_before_handler
    mov x16, x0
    ldp x0, x1, [sp, #16]
    ldr x2, [sp, #32]
    ldp x29, x30, [sp], #48
    .cfi_def_cfa_offset 0
    .cfi_restore x29
    .cfi_restore x30
    br x16
    .cfi_endproc
    .size memsc_handler_\which, . - memsc_handler_\which
    .endm

    handler 0
    handler 1

    .section .note.GNU-stack, "", %progbits
