/* SPDX-License-Identifier: MIT
 *
 * raw.h says what it is for.
 */
    .text
    .global memsc_raw_marked, memsc_raw_open, memsc_raw_made
    .hidden memsc_raw_marked, memsc_raw_open, memsc_raw_made
    .type memsc_raw_marked, %function
memsc_raw_marked:
    .cfi_startproc
    mov x8, x0
    mov x9, x1
    ldp x0, x1, [x9]
    ldp x2, x3, [x9, #16]
    ldp x4, x5, [x9, #32]
    mrs x10, tpidr_el0
    adrp x11, :gottprel:memsc_under_way
    ldr x11, [x11, #:gottprel_lo12:memsc_under_way]
    str xzr, [x10, x11]
memsc_raw_open:
    svc #0
memsc_raw_made:
    ret
    .cfi_endproc
    .size memsc_raw_marked, . - memsc_raw_marked

    .section .note.GNU-stack, "", %progbits
