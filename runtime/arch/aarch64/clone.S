/* SPDX-License-Identifier: MIT
 *
 * memsc_thread_clone (thread.c): the new thread begins with what lies at the top of its stack, an argument
 * and the function that takes it, which never returns.
 */
    .text
    .globl memsc_thread_clone
    .hidden memsc_thread_clone
    .type memsc_thread_clone, %function
memsc_thread_clone:
    .cfi_startproc
    mov x5, x3                          /* Arm takes tls before child_tid */
    mov x3, x4
    mov x4, x5
    mov x8, #220                        /* clone */
    svc #0
    cbnz x0, 1f
    .cfi_undefined x30
    mov x29, #0
    ldp x0, x1, [sp], #16
    blr x1
    brk #0
1:  ret
    .cfi_endproc
    .size memsc_thread_clone, . - memsc_thread_clone

    .section .note.GNU-stack, "", %progbits
