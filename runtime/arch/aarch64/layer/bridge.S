/* SPDX-License-Identifier: MIT
 *
 * From the slot of a bridge (bridge.h) to its `svc`, for a call that is to be run on the caller. A SIGCANCEL that
 * came while the thread was in the layer is sent once more here, where it finds the thread on the bridge. x16 and x17
 * are free behind a function's entry, as nothing but a `ret` follows the `svc`; `ret` needs no landing pad.
 */
#define PC 96                           /* the column; stub.S says why */

    .text
    .irp name, local, saved, restored, send, sent, end
    .global memsc_bridge_\name
    .hidden memsc_bridge_\name
    .endr
    .type memsc_bridge_local, %function
memsc_bridge_local:                     /* x17: the `svc`; but for it and x16 all is as there */
    .cfi_startproc
    .cfi_return_column PC
    .cfi_escape 0x16, PC, 2, 0x81, 4    /* it goes on at x17 + 4 */
    adrp x16, memsc_cancels_came
    ldr w16, [x16, #:lo12:memsc_cancels_came]
    cbnz w16, 2f
1:  ret x17
2:  mrs x16, tpidr_el0                  /* thread-local storage, if there is one: storage.h */
    cbz x16, 1b
    tst x16, #15
    b.ne 1b
    stp x0, x1, [sp, #-16]!
    .cfi_adjust_cfa_offset 16
memsc_bridge_saved:
    ldr x0, [x16]
    cbz x0, 3f
    adrp x0, :gottprel:memsc_cancel_came
    ldr x0, [x0, #:gottprel_lo12:memsc_cancel_came]
    ldr w1, [x16, x0]
    cbnz w1, memsc_bridge_send
3:  ldp x0, x1, [sp], #16
    .cfi_adjust_cfa_offset -16
memsc_bridge_restored:
    ret x17
    .cfi_adjust_cfa_offset 16
memsc_bridge_send:
    str wzr, [x16, x0]
    stp x2, x8, [sp, #-16]!
    .cfi_adjust_cfa_offset 16
    mov x8, #172                        /* getpid */
    svc #0
    mov x2, x0
    mov x8, #178                        /* gettid */
    svc #0
    mov x1, x0
    mov x0, x2
    mov x2, #32                         /* SIGCANCEL */
    mov x8, #131                        /* tgkill */
    svc #0
memsc_bridge_sent:                      /* its handler goes on behind the next two */
    ldp x2, x8, [sp], #16
    .cfi_adjust_cfa_offset -16
    b 3b
memsc_bridge_end:
    .cfi_endproc
    .size memsc_bridge_local, . - memsc_bridge_local

    .section .note.GNU-stack, "", %progbits
