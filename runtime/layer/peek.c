/* SPDX-License-Identifier: MIT */
#include "peek.h"

#include <errno.h>
#include <sys/syscall.h>

#include "../src/cpu.h"

struct part {
    uint64_t address, size;
};

uint64_t memsc_peek_bytes(void *to, uint64_t from, uint64_t size)
{
    struct part here = {(uint64_t)to, size}, there = {from, size};
    long pid = MEMSC_SYS(SYS_getpid, 0, 0, 0, 0, 0, 0);
    long copied = MEMSC_SYS(SYS_process_vm_readv, pid, &here, 1, &there, 1, 0);
    if (copied >= 0 || copied == -EFAULT)
        return copied < 0 ? 0 : (uint64_t)copied;
    /* Forbidden here; such programs are past their probing. */
    for (uint64_t i = 0; i < size; i++)
        ((char *)to)[i] = ((const char *)from)[i];
    return size;
}

uint64_t memsc_peek(uint64_t address)
{
    uint64_t word = 0;
    return address && memsc_peek_bytes(&word, address, sizeof word) == sizeof word ? word : 0;
}

bool memsc_peek_string(char *string, uint64_t room, uint64_t address)
{
    enum { PAGE = 4096 };
    uint64_t size = 0;
    /* Page by page: it may end at the last byte that is there. */
    while (size + 8 < room) {
        uint64_t part = PAGE - (address + size) % PAGE;
        if (part > room - 8 - size)
            part = room - 8 - size;
        uint64_t got = address ? memsc_peek_bytes(string + size, address + size, part) : 0;
        for (uint64_t i = 0; i < got; i++)
            if (!string[size + i]) {
                for (uint64_t k = 0; k < 8; k++)
                    string[size + i + k] = 0;
                return true;
            }
        if (got < part)
            return false;
        size += got;
    }
    for (uint64_t k = 0; k < 8; k++)
        string[size + k] = 0;
    return true;
}
