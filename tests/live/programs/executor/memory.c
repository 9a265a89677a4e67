/* SPDX-License-Identifier: MIT
 *
 * On mapped memory, which the kernel reads and writes whatever protection it has.
 */
#include <poll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "executor.h"

enum { MAPS = 3 };

static struct {
    uint8_t *address;
    size_t size;
} maps[MAPS];

long do_mmap(const long *a)
{
    static const int protections[] = {PROT_READ, PROT_READ | PROT_WRITE, PROT_NONE, PROT_WRITE};
    size_t at = (size_t)a[0] % MAPS;
    if (maps[at].address)
        return -9;
    int descriptor = a[3] % 4 ? *slot(a[1]) : -1;
    struct stat status;
    size_t size = a[2] % 3 + 1;
    if (descriptor >= 0 && (fstat(descriptor, &status) || status.st_size < (off_t)(size * PAGE)))
        return -10;
    int flags = (descriptor < 0 ? MAP_ANONYMOUS : 0) | (a[3] % 2 ? MAP_SHARED : MAP_PRIVATE);
    int protection = protections[a[2] % 4];
    void *address = mmap(NULL, size * PAGE, protection, flags, descriptor, 0);
    if (address == MAP_FAILED)
        return -1;
    maps[at].address = address;
    maps[at].size = size * PAGE;
    return 0;
}

long do_munmap(const long *a)
{
    size_t at = (size_t)a[0] % MAPS;
    long result = munmap(maps[at].address, maps[at].size);
    maps[at].address = NULL;
    return result;
}

long do_mprotect(const long *a)
{
    size_t at = (size_t)a[0] % MAPS;
    return mprotect(maps[at].address, maps[at].size, (int)(a[1] % 4));
}

long do_mremap(const long *a)
{
    size_t at = (size_t)a[0] % MAPS;
    if (!maps[at].address)
        return -9;
    void *address = mremap(maps[at].address, maps[at].size, PAGE, MREMAP_MAYMOVE);
    if (address == MAP_FAILED)
        return -1;
    maps[at].address = address;
    maps[at].size = PAGE;
    return 0;
}

/* The kernel reads and writes mapped memory, whatever protection it has. */
long do_map_io(const long *a)
{
    size_t at = (size_t)a[0] % MAPS;
    int descriptor = *slot(a[1]);
    uint8_t *address = maps[at].address ? maps[at].address : (uint8_t *)(uintptr_t)PAGE;
    if (a[2] % 2)
        return would_wait(descriptor, POLLOUT) ? WOULD_WAIT : write(descriptor, address, 100);
    return would_wait(descriptor, POLLIN) ? WOULD_WAIT : read(descriptor, address + 200, 100);
}

/* By the kernel's hand: what lies behind the end of a file that has become shorter is an error then,
 * and no signal. */
long do_poke(const long *a)
{
    size_t at = (size_t)a[0] % MAPS;
    uint8_t value = (uint8_t)a[2];
    struct iovec from = {&value, 1}, to = {maps[at].address + (size_t)a[1] % PAGE, 1};
    return process_vm_writev(getpid(), &from, 1, &to, 1, 0);
}

long do_peek(const long *a)
{
    size_t at = (size_t)a[0] % MAPS;
    struct iovec from = {maps[at].address, PAGE}, to = {buffer, PAGE};
    long result = got(process_vm_readv(getpid(), &to, 1, &from, 1, 0));
    return result < 0 ? result : msync(maps[at].address, PAGE, MS_SYNC);
}
