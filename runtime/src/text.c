/* SPDX-License-Identifier: MIT */
#include "text.h"

#include <linux/fcntl.h>
#include <sys/syscall.h>

#include "cpu.h"

char *memsc_put(char *at, char *end, const char *text)
{
    while (at < end && *text)
        *at++ = *text++;
    if (at < end)
        *at = 0;
    return at;
}

char *memsc_put_number(char *at, char *end, uint64_t number)
{
    char digits[24];
    char *first = digits + sizeof digits;
    *--first = 0;
    do
        *--first = (char)('0' + number % 10);
    while (number /= 10);
    return memsc_put(at, end, first);
}

uint64_t memsc_take_number(const char **text)
{
    uint64_t number = 0;
    for (; **text >= '0' && **text <= '9'; ++*text)
        number = number * 10 + (uint64_t)(**text - '0');
    return number;
}

uint64_t memsc_number(const char *text)
{
    return memsc_take_number(&text);
}

int memsc_read_file(const char *path, char *text, size_t size)
{
    long fd = MEMSC_SYS(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0, 0, 0);
    if (fd < 0)
        return (int)fd;
    long length = MEMSC_SYS(SYS_read, fd, text, size - 1, 0, 0, 0);
    MEMSC_SYS(SYS_close, fd, 0, 0, 0, 0, 0);
    text[length > 0 ? length : 0] = 0;
    return (int)length;
}

void memsc_program_name(char *name, size_t size)
{
    /* In another root there may be no /proc any more. Threads that come here at once write the same. */
    static char path[1024];
    if (!path[0]) {
        long length =
            MEMSC_SYS(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", path, sizeof path - 1, 0, 0);
        path[length > 0 ? length : 0] = 0;
    }
    const char *base = path;
    for (const char *at = path; *at; at++)
        if (*at == '/')
            base = at + 1;
    char *end = memsc_put(name, name + size - 1, base);
    *end = 0;
}
