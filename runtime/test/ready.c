/* SPDX-License-Identifier: MIT
 * A call that does not have to wait is executed at once; one that turns out to wait, because another thread was
 * quicker or a pipe took less than all, stalls nobody. */
#include "check.h"

#include <pthread.h>

enum { READERS = 4, BYTES = 400, LARGE = 1 << 20 };

static int ends[2];
static _Atomic int got;

/* Many readers, one byte at a time: what is there when the service looks may be gone when it reads. */
static void *read_bytes(void *argument)
{
    (void)argument;
    char byte;
    CHECK_EQUAL(memsc_register(), 0);
    while (CALL(SYS_read, ends[0], (long)&byte, 1) == 1)
        atomic_fetch_add(&got, 1);
    CHECK_EQUAL(memsc_unregister(), 0);
    return NULL;
}

static void many_readers(void)
{
    pthread_t thread[READERS];
    CHECK_EQUAL(pipe(ends), 0);
    atomic_store(&got, 0);
    for (int i = 0; i < READERS; i++)
        CHECK_EQUAL(pthread_create(&thread[i], NULL, read_bytes, NULL), 0);
    for (int i = 0; i < BYTES; i++) {
        CHECK_EQUAL(CALL(SYS_write, ends[1], (long)"x", 1), 1);
        CHECK_EQUAL(call(SYS_getppid, NO_ARGS), getppid());
    }
    close(ends[1]);
    for (int i = 0; i < READERS; i++)
        CHECK_EQUAL(pthread_join(thread[i], NULL), 0);
    CHECK_EQUAL(atomic_load(&got), BYTES);
    close(ends[0]);
}

/* More than fits: it waits for the reader, who is served meanwhile. */
static void a_large_write(void)
{
    static char block[LARGE], back[LARGE];
    memset(block, 'm', sizeof block);
    CHECK_EQUAL(pipe(ends), 0);
    int index = memsc_add(SYS_write, (const long[6]){ends[1], (long)block, LARGE});
    CHECK(index >= 0);
    for (long have = 0; have < LARGE;) {
        long some = CALL(SYS_read, ends[0], (long)back + have, LARGE - have);
        CHECK(some > 0);
        have += some;
    }
    long result;
    CHECK_EQUAL(memsc_wait_any(), index);
    CHECK_EQUAL(memsc_retval(index, &result), 0);
    CHECK_EQUAL(result, LARGE);
    CHECK(!memcmp(block, back, LARGE));
    close(ends[0]);
    close(ends[1]);
}

static void body(const struct memsc_options *options)
{
    if (options->transport == MEMSC_DIRECT)
        return;
    CHECK_EQUAL(memsc_start(options), 0);
    CHECK_EQUAL(memsc_register(), 0);
    many_readers();
    a_large_write();
    CHECK_EQUAL(memsc_unregister(), 0);
    CHECK_EQUAL(memsc_stop(), 0);
}

int main(void)
{
    each_transport(body);
    return 0;
}
