/* SPDX-License-Identifier: MIT
 * Asynchronous calls: 64 in flight, each with its own result, in any order of taking. */
#include "check.h"

#include <errno.h>
#include <fcntl.h>

static int post(long number, const long args[6])
{
    int index;
    while ((index = memsc_add(number, args)) == -EAGAIN)
        ;
    CHECK(index >= 0 && index < 64);
    return index;
}

static void batches(int fd, int size)
{
    char bytes[64];
    int index[64];
    uint64_t seen = 0;
    memset(bytes, 0, sizeof bytes);
    for (int i = 0; i < size; i++) {
        index[i] = post(SYS_pread64, (const long[6]){fd, (long)&bytes[i], 1, i * 3});
        CHECK(!(seen & 1ull << index[i]));
        seen |= 1ull << index[i];
    }
    CHECK_EQUAL(memsc_wait_all(), size);
    for (int i = size - 1; i >= 0; i--) {
        long result;
        CHECK_EQUAL(memsc_ready(index[i]), 1);
        CHECK_EQUAL(memsc_retval(index[i], &result), 0);
        CHECK_EQUAL(result, 1);
        CHECK_EQUAL(bytes[i], (char)(i * 3));
    }
    CHECK_EQUAL(memsc_wait_all(), 0);
}

/* Random taking with wait_any keeps every result with its call. */
static void mixed(int fd)
{
    struct {
        int offset;
        char byte;
        int used;
    } flight[64] = {0};
    unsigned random = 12345;
    int in_flight = 0;
    for (int i = 0; i < 3000; i++) {
        random = random * 1103515245 + 12345;
        if (in_flight < 64 && (random >> 16) % 3) {
            int slot = 0;
            /* The library hands out the index; find the record by it afterwards. */
            static char bytes[64];
            int offset = (int)(random >> 20) % 256;
            for (slot = 0; slot < 64 && flight[slot].used; slot++)
                ;
            int index = memsc_add(SYS_pread64, (const long[6]){fd, (long)&bytes[slot], 1, offset});
            if (index == -EAGAIN)
                continue;
            CHECK(index >= 0);
            flight[slot].used = index + 1;
            flight[slot].offset = offset;
            in_flight++;
            if ((random >> 8) % 4 == 0) { /* a synchronous call in between */
                long result;
                int error = memsc_call(SYS_getppid, NO_ARGS, &result);
                CHECK(error == 0 || error == -EAGAIN);
                if (!error)
                    CHECK_EQUAL(result, getppid());
            }
        } else if (in_flight) {
            long result;
            int index = memsc_wait_any();
            CHECK(index >= 0);
            CHECK_EQUAL(memsc_retval(index, &result), 0);
            CHECK_EQUAL(result, 1);
            int slot = 0;
            while (flight[slot].used != index + 1)
                CHECK(++slot < 64);
            flight[slot].used = 0;
            in_flight--;
        }
    }
    CHECK_EQUAL(memsc_wait_all(), in_flight);
    for (int i = 0; i < 64; i++) {
        long result;
        if (flight[i].used)
            CHECK_EQUAL(memsc_retval(flight[i].used - 1, &result), 0);
    }
}

static void body(const struct memsc_options *options)
{
    CHECK_EQUAL(memsc_start(options), 0);
    CHECK_EQUAL(memsc_register(), 0);
    char path[] = "async-XXXXXX";
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    unlink(path);
    char bytes[256];
    for (int i = 0; i < 256; i++)
        bytes[i] = (char)i;
    CHECK_EQUAL(write(fd, bytes, 256), 256);
    for (int round = 0; round < 20; round++)
        for (int size = 1; size <= 64; size = size < 5 ? size + 1 : size * 2 - (size > 32))
            batches(fd, size > 64 ? 64 : size);
    batches(fd, 64);
    mixed(fd);
    CHECK_EQUAL(memsc_wait_any(), -ENOENT);
    CHECK_EQUAL(memsc_unregister(), 0);
    CHECK_EQUAL(memsc_stop(), 0);
    close(fd);
}

int main(void)
{
    each_transport(body);
    each_handoff(body);
    return 0;
}
