/* SPDX-License-Identifier: MIT
 *
 * Where rewritten `syscall` instructions lead.
 *
 * Each site owns one slot. A slot looks to the outside like the instruction it stands for: it keeps
 * all registers but rax, rcx and r11, keeps the flags and the 128 bytes below the stack pointer, and
 * goes on behind the site. If the dispatch answers "run it here", the slot executes the system call
 * itself, with registers and stack as the site left them; so clone, vfork and whatever else cares
 * about the stack or returns twice needs no care.
 *
 * Slots are filled in at start-up (memsc_patch), on pages of their own because pages are never
 * writable and executable at once. All slots look alike, which is what lets the assembler describe
 * them to unwinders: cancellation and backtraces pass through here. A frame in a slot has the stack
 * pointer of its site's function, and its return address stands in the slot's last eight bytes.
 */
#include "slots.h"

#define RIP 16

    /* Where the return address is saved: (rip & -SLOT_BYTES) + SLOT_RESUME. */
    .macro cfi_return_address_in_slot
    .cfi_escape 0x10, RIP, 7, 0x80, 0x00, 0x09, (-MEMSC_SLOT_BYTES & 0xff), 0x1a, 0x23, MEMSC_SLOT_RESUME
    .endm

    .section .memsc_stubs, "ax", @progbits
    .balign 4096
    .global memsc_stubs, memsc_stubs_end
    .hidden memsc_stubs, memsc_stubs_end
    .type memsc_stubs, @function
memsc_stubs:
    .cfi_startproc
    .cfi_def_cfa %rsp, 0
    cfi_return_address_in_slot
    .rept MEMSC_SLOTS
1:  .fill MEMSC_SLOT_ENTRY, 1, 0x90     /* room for instructions moved from before the site */
    lea -128(%rsp), %rsp                /* the red zone is the site's */
    .cfi_def_cfa_offset 128
    call memsc_stub_common              /* takes the 128 bytes off again */
    .cfi_def_cfa_offset 0
    jrcxz 3f                            /* leaves the flags alone */
2:  .fill MEMSC_SLOT_LOCAL - MEMSC_SLOT_AFTER, 1, 0xcc /* moved from behind the site; jump back */
3:  syscall
    jmp 2b
    .fill 1b + MEMSC_SLOT_RESUME - ., 1, 0xcc
    .quad 0                             /* where the site goes on */
    .endr
    .cfi_endproc
memsc_stubs_end:
    .size memsc_stubs, . - memsc_stubs
    .balign 4096

    .text
    .global memsc_stub_common
    .hidden memsc_stub_common
    .type memsc_stub_common, @function
memsc_stub_common:
    .cfi_startproc
    push %rbp
    .cfi_def_cfa_offset 16
    .cfi_offset %rbp, -16
    mov %rsp, %rbp
    .cfi_def_cfa_register %rbp
    mov %rax, %rcx
    lahf                                /* the arithmetic flags; pushf and popf take far longer */
    seto %al
    push %rax
    push %rcx
    push %rbx                           /* only for a signal handler that ends the call */
    push %r12
    push %r13
    push %r14
    push %r15
    push %r9
    push %r8
    push %r10
    push %rdx
    push %rsi
    push %rdi
    mov %rcx, %rdi                      /* number */
    mov %rsp, %rsi                      /* args */
    and $-16, %rsp
    .global memsc_stub_again, memsc_stub_settled /* handlers.c goes on there */
    .hidden memsc_stub_again, memsc_stub_settled
memsc_stub_again:
    call memsc_dispatch                 /* rax: result, rdx: whether there is one */
1:  mov %rax, %r11
    mov %rdx, %rcx
    lea -MEMSC_FRAME_BELOW(%rbp), %rsp
    pop %rdi
    pop %rsi
    pop %rdx
    pop %r10
    pop %r8
    pop %r9
    add $40, %rsp                       /* nobody has changed those */
    test %rcx, %rcx
    cmovz (%rsp), %r11                  /* the number again, for the slot to execute */
    mov 8(%rsp), %rax
    add $0x7f, %al                      /* overflows if seto had found it so */
    sahf
    mov %r11, %rax
    mov %rbp, %rsp
    pop %rbp
    .cfi_def_cfa %rsp, 8
    ret $128
    .cfi_def_cfa %rbp, 16
memsc_stub_settled:
    call memsc_after_settled
    jmp 1b
    .cfi_endproc
    .size memsc_stub_common, . - memsc_stub_common

    .section .note.GNU-stack, "", @progbits
