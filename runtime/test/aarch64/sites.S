/* SPDX-License-Identifier: MIT
 *
 * Functions whose system call stands in each of the surroundings the planner tells apart. Most load every
 * register and the flags from `registers_in`, make the call in x8, and store them all in `registers_out`.
 */
    .macro address register, symbol
    adrp \register, \symbol
    add \register, \register, :lo12:\symbol
    .endm

    .macro begin name
    .balign 64
    .global \name
    .type \name, %function
\name:
    .cfi_startproc
    .endm

    .macro end name
    .cfi_endproc
    .size \name, . - \name
    .endm

    .macro site name
    .global \name\()_svc
\name\()_svc:
    svc #0
    .endm

    /* Keeps what a function must, and in between has all of a thread's registers. */
    .macro enter
    stp x29, x30, [sp, #-176]!
    .cfi_def_cfa_offset 176
    .cfi_offset x29, -176
    .cfi_offset x30, -168
    stp x19, x20, [sp, #16]
    stp x21, x22, [sp, #32]
    stp x23, x24, [sp, #48]
    stp x25, x26, [sp, #64]
    stp x27, x28, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    address x30, registers_in
    ldr x0, [x30, #(31 * 8)]
    msr nzcv, x0
    add x0, x30, #256
    ld1 {v0.16b-v3.16b}, [x0], #64
    ld1 {v4.16b-v7.16b}, [x0], #64
    ld1 {v8.16b-v11.16b}, [x0], #64
    ld1 {v12.16b-v15.16b}, [x0], #64
    ld1 {v16.16b-v19.16b}, [x0], #64
    ld1 {v20.16b-v23.16b}, [x0], #64
    ld1 {v24.16b-v27.16b}, [x0], #64
    ld1 {v28.16b-v31.16b}, [x0], #64
    ldp x0, x1, [x30]
    ldp x2, x3, [x30, #16]
    ldp x4, x5, [x30, #32]
    ldp x6, x7, [x30, #48]
    ldp x8, x9, [x30, #64]
    ldp x10, x11, [x30, #80]
    ldp x12, x13, [x30, #96]
    ldp x14, x15, [x30, #112]
    ldp x16, x17, [x30, #128]
    ldp x18, x19, [x30, #144]
    ldp x20, x21, [x30, #160]
    ldp x22, x23, [x30, #176]
    ldp x24, x25, [x30, #192]
    ldp x26, x27, [x30, #208]
    ldp x28, x29, [x30, #224]
    ldr x30, [x30, #240]
    .endm

    .macro leave
    stp x30, x0, [sp, #160]
    address x30, registers_out
    stp x0, x1, [x30]
    stp x2, x3, [x30, #16]
    stp x4, x5, [x30, #32]
    stp x6, x7, [x30, #48]
    stp x8, x9, [x30, #64]
    stp x10, x11, [x30, #80]
    stp x12, x13, [x30, #96]
    stp x14, x15, [x30, #112]
    stp x16, x17, [x30, #128]
    stp x18, x19, [x30, #144]
    stp x20, x21, [x30, #160]
    stp x22, x23, [x30, #176]
    stp x24, x25, [x30, #192]
    stp x26, x27, [x30, #208]
    stp x28, x29, [x30, #224]
    ldr x0, [sp, #160]
    mrs x1, nzcv
    stp x0, x1, [x30, #240]
    add x0, x30, #256
    st1 {v0.16b-v3.16b}, [x0], #64
    st1 {v4.16b-v7.16b}, [x0], #64
    st1 {v8.16b-v11.16b}, [x0], #64
    st1 {v12.16b-v15.16b}, [x0], #64
    st1 {v16.16b-v19.16b}, [x0], #64
    st1 {v20.16b-v23.16b}, [x0], #64
    st1 {v24.16b-v27.16b}, [x0], #64
    st1 {v28.16b-v31.16b}, [x0], #64
    ldp x19, x20, [sp, #16]
    ldp x21, x22, [sp, #32]
    ldp x23, x24, [sp, #48]
    ldp x25, x26, [sp, #64]
    ldp x27, x28, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    ldp x29, x30, [sp], #176
    .cfi_def_cfa_offset 0
    .cfi_restore x29
    .cfi_restore x30
    ret
    .endm

    .text
    .balign 65536                       /* the test changes these pages and no others */
    .global sites_begin, sites_end
sites_begin:
    begin site_plain
    enter
    mov x8, #172                        /* getpid */
    site site_plain
    leave
    end site_plain

    /* The number comes from elsewhere, and no return follows. */
    begin site_number
    enter
    site site_number
    leave
    end site_number

    /* A leaf: its caller stands in x30 alone. */
    begin site_leaf
    mov x8, #73                         /* ppoll */
    site site_leaf
    add x0, x0, #0
    ret
    end site_leaf

    begin site_constant
    mov x8, #172
    site site_constant
    ret
    end site_constant

    begin site_bridge
    bti c
    mov x8, x1
    site site_bridge
    ret
    end site_bridge

    /* What stands before it does not only copy. */
    begin site_bridge_fixed
    mov x8, x1
    add x0, x0, #0
    site site_bridge_fixed
    ret
    end site_bridge_fixed

    begin site_entry
    site site_entry
    mov x0, #0
    ret
    end site_entry

    begin site_return
    mov x8, #139                        /* rt_sigreturn */
    site site_return
    brk #0
    end site_return

    begin site_literal
    ldr w0, site_literal_svc
    ret
    site site_literal
    end site_literal

    begin site_table
    adr x0, site_table_svc
    ret
    site site_table
    end site_table

    /* In no function. */
    site site_outside
    .word 0

    begin site_last
    ret
    end site_last
    site site_behind
    .word 0
sites_end:
    .balign 65536

    .section .note.GNU-stack, "", %progbits
