/* SPDX-License-Identifier: MIT
 *
 * memsc_thread_clone (thread.c): the new thread begins with what lies at the top of its stack, an argument
 * and the function that takes it, which never returns.
 */
    .text
    .globl memsc_thread_clone
    .hidden memsc_thread_clone
    .type memsc_thread_clone, @function
memsc_thread_clone:
    .cfi_startproc
    mov %rcx, %r10
    mov $56, %eax                       /* clone */
    syscall
    test %rax, %rax
    jnz 1f
    .cfi_undefined rip
    xor %ebp, %ebp
    pop %rdi
    pop %rax
    call *%rax
    ud2
1:  ret
    .cfi_endproc
    .size memsc_thread_clone, . - memsc_thread_clone

    .section .note.GNU-stack, "", @progbits
