/* SPDX-License-Identifier: MIT */
#include "afresh.h"

#include <linux/mman.h>
#include <sys/syscall.h>

#include "cpu.h"

long memsc_map_afresh(uint64_t bytes)
{
    long address =
        MEMSC_SYS(SYS_mmap, 0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (address < 0)
        return address;
    long error = MEMSC_SYS(SYS_madvise, address, bytes, MADV_WIPEONFORK, 0, 0, 0);
    if (error < 0) {
        MEMSC_SYS(SYS_munmap, address, bytes, 0, 0, 0, 0);
        return error;
    }
    return address;
}
