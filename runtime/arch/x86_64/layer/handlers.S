/* SPDX-License-Identifier: MIT
 *
 * What the kernel calls instead of the program's handlers: memsc_before_handler (handlers.c) says which
 * one it is, and that goes on with the kernel's own stack and arguments, so no frame of ours is left.
 */
    .text
    .macro handler which
    .global memsc_handler_\which
    .hidden memsc_handler_\which
    .type memsc_handler_\which, @function
memsc_handler_\which:
    .cfi_startproc
    push %rdi
    .cfi_adjust_cfa_offset 8
    push %rsi
    .cfi_adjust_cfa_offset 8
    push %rdx
    .cfi_adjust_cfa_offset 8
    mov $\which, %ecx                 /* behind the handler's own three */
    call memsc_before_handler
    mov %rax, %r11
    pop %rdx
    .cfi_adjust_cfa_offset -8
    pop %rsi
    .cfi_adjust_cfa_offset -8
    pop %rdi
    .cfi_adjust_cfa_offset -8
    xor %eax, %eax
    jmp *%r11
    .cfi_endproc
    .size memsc_handler_\which, . - memsc_handler_\which
    .endm

    handler 0
    handler 1

    .section .note.GNU-stack, "", @progbits
