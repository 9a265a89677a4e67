/* SPDX-License-Identifier: MIT
 *
 * Where the handler of recall_signal.c returns to: as the kernel wants one, and debuggers know it by its bytes.
 */
    .text
    .globl memsc_recall_return
    .hidden memsc_recall_return
    .type memsc_recall_return, @function
memsc_recall_return:
    mov $15, %rax                       /* rt_sigreturn */
    syscall
    .size memsc_recall_return, . - memsc_recall_return

    .section .note.GNU-stack, "", @progbits
