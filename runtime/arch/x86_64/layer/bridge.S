/* SPDX-License-Identifier: MIT
 *
 * From the slot of a bridge (bridge.h) to its `syscall`, for a call that is to be run on the caller. A
 * SIGCANCEL that came while the thread was in the layer is sent once more here, where it finds the thread on the
 * bridge. Thread-local storage is read only once there was one, and where it is the C library's (storage.h).
 */
    .text
    .global memsc_bridge_local, memsc_bridge_send, memsc_bridge_sent
    .hidden memsc_bridge_local, memsc_bridge_send, memsc_bridge_sent
    .type memsc_bridge_local, @function
memsc_bridge_local:                     /* r11: the `syscall`; but for it and rcx all is as there */
    .cfi_startproc
    .cfi_def_cfa %rsp, 0
    .cfi_escape 0x16, 16, 2, 0x7b, 2    /* the return address is r11 + 2 */
    mov memsc_cancels_came(%rip), %ecx
    jrcxz 1f                            /* leaves the flags alone, as all here does */
    jmp memsc_bridge_look
memsc_bridge_looked:
    mov memsc_cancel_came@gottpoff(%rip), %rcx
    mov %fs:(%rcx), %ecx
    jrcxz 1f
    jmp memsc_bridge_send
1:  jmp *%r11
memsc_bridge_send:
    mov memsc_cancel_came@gottpoff(%rip), %rcx
    movl $0, %fs:(%rcx)
    lea -128(%rsp), %rsp                /* the red zone is the site's */
    push %r11
    push %rax
    push %rdi
    push %rsi
    push %rdx
    mov $39, %eax                       /* getpid */
    syscall
    mov %eax, %edi
    mov $186, %eax                      /* gettid */
    syscall
    mov %eax, %esi
    mov $32, %edx                       /* SIGCANCEL */
    mov $234, %eax                      /* tgkill */
    syscall
memsc_bridge_sent:                      /* its handler goes on behind the next six */
    pop %rdx
    pop %rsi
    pop %rdi
    pop %rax
    pop %r11
    lea 128(%rsp), %rsp
    jmp *%r11
memsc_bridge_look:                      /* a SIGCANCEL that comes here is found behind it */
    mov %fs:0, %rcx
    jrcxz 2f
    lea -128(%rsp), %rsp
    .cfi_adjust_cfa_offset 128
    push %r10
    .cfi_adjust_cfa_offset 8
    mov %fs:16, %r10
    not %rcx
    lea 1(%rcx, %r10), %rcx             /* the difference */
    pop %r10
    .cfi_adjust_cfa_offset -8
    lea 128(%rsp), %rsp
    .cfi_adjust_cfa_offset -128
    jrcxz 3f
2:  jmp *%r11
3:  jmp memsc_bridge_looked
    .cfi_endproc
    .size memsc_bridge_local, . - memsc_bridge_local

    .section .note.GNU-stack, "", @progbits
