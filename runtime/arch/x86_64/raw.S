/* SPDX-License-Identifier: MIT
 *
 * raw.h says what it is for.
 */
    .text
    .global memsc_raw_marked, memsc_raw_open, memsc_raw_made
    .hidden memsc_raw_marked, memsc_raw_open, memsc_raw_made
    .type memsc_raw_marked, @function
memsc_raw_marked:
    .cfi_startproc
    push %rsi
    .cfi_adjust_cfa_offset 8
    mov %rdi, %rax
    mov %rsi, %r11
    mov (%r11), %rdi
    mov 8(%r11), %rsi
    mov 16(%r11), %rdx
    mov 24(%r11), %r10
    mov 32(%r11), %r8
    mov 40(%r11), %r9
    mov memsc_under_way@gottpoff(%rip), %rcx
    movq $0, %fs:(%rcx)
memsc_raw_open:
    xor %ecx, %ecx                      /* interrupted.h */
    syscall
memsc_raw_made:
    pop %rsi
    .cfi_adjust_cfa_offset -8
    ret
    .cfi_endproc
    .size memsc_raw_marked, . - memsc_raw_marked

    .section .note.GNU-stack, "", @progbits
