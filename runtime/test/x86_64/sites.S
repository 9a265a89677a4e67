/* SPDX-License-Identifier: MIT
 *
 * Functions whose system call stands in each of the surroundings the planner tells apart. Each loads
 * every register, the flags and the red zone from `registers_in`, makes the call in rax, and stores
 * them all in `registers_out`.
 */
    .macro load_all
    mov %rsp, registers_in+120(%rip)
    mov registers_in+256(%rip), %rax
    push %rax
    popfq
    .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
    movdqu registers_in+264+16*\n(%rip), %xmm\n
    mov registers_in+128+8*\n(%rip), %rax
    mov %rax, -8-8*\n(%rsp)
    .endr
    mov registers_in+0(%rip), %rbx
    mov registers_in+8(%rip), %rcx
    mov registers_in+16(%rip), %rdx
    mov registers_in+24(%rip), %rsi
    mov registers_in+32(%rip), %rdi
    mov registers_in+40(%rip), %rbp
    mov registers_in+48(%rip), %r8
    mov registers_in+56(%rip), %r9
    mov registers_in+64(%rip), %r10
    mov registers_in+72(%rip), %r11
    mov registers_in+80(%rip), %r12
    mov registers_in+88(%rip), %r13
    mov registers_in+96(%rip), %r14
    mov registers_in+104(%rip), %r15
    .endm

    .macro store_all
    mov %rax, registers_out+112(%rip)
    mov %rsp, registers_out+120(%rip)
    mov %rbx, registers_out+0(%rip)
    mov %rdx, registers_out+16(%rip)
    mov %rsi, registers_out+24(%rip)
    mov %rdi, registers_out+32(%rip)
    mov %rbp, registers_out+40(%rip)
    mov %r8, registers_out+48(%rip)
    mov %r9, registers_out+56(%rip)
    mov %r10, registers_out+64(%rip)
    mov %r12, registers_out+80(%rip)
    mov %r13, registers_out+88(%rip)
    mov %r14, registers_out+96(%rip)
    mov %r15, registers_out+104(%rip)
    .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
    movdqu %xmm\n, registers_out+264+16*\n(%rip)
    mov -8-8*\n(%rsp), %rax
    mov %rax, registers_out+128+8*\n(%rip)
    .endr
    pushfq
    pop %rax
    mov %rax, registers_out+256(%rip)
    .endm

    .macro begin name
    .balign 16
    .global \name
    .type \name, @function
\name:
    .cfi_startproc
    push %rbx
    .cfi_adjust_cfa_offset 8
    push %rbp
    .cfi_adjust_cfa_offset 8
    push %r12
    .cfi_adjust_cfa_offset 8
    push %r13
    .cfi_adjust_cfa_offset 8
    push %r14
    .cfi_adjust_cfa_offset 8
    push %r15
    .cfi_adjust_cfa_offset 8
    load_all
    .endm

    .macro finish name
    store_all
    pop %r15
    .cfi_adjust_cfa_offset -8
    pop %r14
    .cfi_adjust_cfa_offset -8
    pop %r13
    .cfi_adjust_cfa_offset -8
    pop %r12
    .cfi_adjust_cfa_offset -8
    pop %rbp
    .cfi_adjust_cfa_offset -8
    pop %rbx
    .cfi_adjust_cfa_offset -8
    ret
    .cfi_endproc
    .size \name, . - \name
    .endm

/* Pages of their own: while they are changed the rest of the program must run. */
    .section .sites, "ax", @progbits
    .balign 4096
    .global sites_begin, sites_end
sites_begin:

/* Padding in reach: it is made by ending one function and beginning the next around it. */
begin site_hop
    mov $39, %eax
    jmp 1f
    .cfi_endproc
    .size site_hop, . - site_hop
    .balign 16
    .nops 16
    .type site_hop_rest, @function
site_hop_rest:
    .cfi_startproc
    .cfi_def_cfa_offset 56
    ud2                         /* where it is entered nothing may change */
1:  syscall
    .global site_hop_syscall
    .set site_hop_syscall, 1b
finish site_hop_rest

begin site_after
    mov $39, %eax
    .global site_after_syscall
site_after_syscall:
    syscall
    cmp $-4095, %rax
    .global site_after_end
site_after_end:
finish site_after

/* Two instructions must move, and both do the same elsewhere. */
begin site_after_two
    mov $39, %eax
    .global site_after_two_syscall
site_after_two_syscall:
    syscall
    test %rax, %rax
    mov %rax, %rbx
finish site_after_two

begin site_before
    mov $39, %eax
    .global site_before_syscall
site_before_syscall:
    syscall
finish site_before

begin site_before_two
    xor %edx, %edx
    mov $39, %al
    mov $39, %eax
    .global site_before_two_syscall
site_before_two_syscall:
    syscall
finish site_before_two

/* A jump leads to what would have to move. */
begin site_jump
    mov $39, %eax
    .global site_jump_syscall
site_jump_syscall:
    syscall
1:  cmp $-4095, %rax
    mov %rax, registers_out+112(%rip)
    je 1b
finish site_jump

begin site_jump_before
    test %rax, %rax
    je 1f
    mov $39, %eax
    .global site_jump_before_syscall
site_jump_before_syscall:
1:  syscall
finish site_jump_before

/* The last thing a function does: the return moves, and the jump ends in the padding behind it. */
begin site_return
    call site_return_inner
finish site_return

    .macro inner name
    .balign 16
    .type \name, @function
\name:
    .cfi_startproc
    .endm

    .macro finish_inner name
    .cfi_endproc
    .size \name, . - \name
    .balign 16
    .endm

inner site_return_inner
    mov $39, %eax
    .global site_return_syscall
site_return_syscall:
    syscall
    ret
finish_inner site_return_inner

/* The same, with nothing behind it. */
begin site_full
    call site_full_inner
finish site_full

inner site_full_inner
    mov $39, %eax
    jmp 1f
    .skip 6, 0xcc
    .global site_full_syscall
site_full_syscall:
1:  syscall
    ret
finish_inner site_full_inner

/* The first thing. */
begin site_entry
    mov $39, %eax
    call site_entry_syscall
finish site_entry

    .global site_entry_syscall
inner site_entry_syscall
    syscall
    cmp $-4095, %rax
    ret
finish_inner site_entry_syscall

/* … but for the mark that a function may be called. */
begin site_marked
    call site_marked_inner
finish site_marked

inner site_marked_inner
    endbr64
    mov $39, %eax
    .global site_marked_syscall
site_marked_syscall:
    syscall
    mov %rax, registers_out+112(%rip)
    ret
finish_inner site_marked_inner

/* As where glibc makes all calls that can be cancelled: its `syscall` stays. */
begin site_bridge
    mov $39, %eax
    call site_bridge_inner
finish site_bridge

inner site_bridge_inner
    mov %r9, %r9
    .byte 0x4d, 0x8d, 0x89, 0, 0, 0, 0  /* lea 0(%r9), %r9, in seven bytes */
    .global site_bridge_syscall
site_bridge_syscall:
    syscall
    ret
finish_inner site_bridge_inner

/* The bytes, but not the instruction. */
begin site_false
    mov $39, %eax
    .global site_false_syscall
    .set site_false_syscall, . + 1
    mov $0x9090050f, %ecx
finish site_false

    .balign 4096
sites_end:

    .section .note.GNU-stack, "", @progbits
