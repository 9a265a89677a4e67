/* SPDX-License-Identifier: MIT
 *
 * The public face: the part that may use the C library, because the program called it.
 */
#include <errno.h>
#include <pthread.h>
#include <stddef.h>

#include "memsc.h"
#include "process.h"
#include "table.h"

static pthread_key_t at_thread_end;
static pthread_once_t key_made = PTHREAD_ONCE_INIT;

static void unregister_at_end(void *unused)
{
    (void)unused;
    memsc_thread_unregister();
}

static void make_key(void)
{
    pthread_key_create(&at_thread_end, unregister_at_end);
}

/* Of a program that was compiled with a later memsc.h: what this version does not know must be unset. */
static int check_size(const struct memsc_options *options)
{
    if (options->size < sizeof *options)
        return -EINVAL;
    for (size_t i = sizeof *options; i < options->size; i++)
        if (((const char *)options)[i])
            return -E2BIG;
    return 0;
}

int memsc_start(const struct memsc_options *options)
{
    struct memsc_options from_environment;
    if (!options) {
        int error = memsc_options_default(&from_environment, sizeof from_environment, NULL);
        if (error)
            return error;
        options = &from_environment;
    }
    int error = check_size(options);
    return error ? error : memsc_process_start(options);
}

int memsc_stop(void)
{
    return memsc_process_stop();
}

int memsc_register(void)
{
    if (!memsc_running()) {
        int error = memsc_start(NULL);
        /* Another thread may have been quicker. */
        if (error && error != -EALREADY)
            return error;
    }
    int error = memsc_thread_register();
    if (error)
        return error;
    /* A thread that ends without unregistering must not keep its page. */
    pthread_once(&key_made, make_key);
    pthread_setspecific(at_thread_end, memsc_process());
    return 0;
}

int memsc_unregister(void)
{
    int error = memsc_thread_unregister();
    if (!error)
        pthread_setspecific(at_thread_end, NULL);
    return error;
}

int memsc_record(int every)
{
    if (!memsc_running())
        return -ENOTCONN;
    if (every < 0)
        return -EINVAL;
    atomic_store(&memsc_process()->region->recording, (uint32_t)every);
    return 0;
}

const char *memsc_region_path(void)
{
    return memsc_running() ? memsc_process()->path : "";
}

const char *memsc_name_of(long number)
{
    return memsc_call_name(number);
}

const char *memsc_reason_of(long number)
{
    return memsc_local_reason(number);
}

const char *memsc_missed_of(uint32_t reason)
{
    return memsc_missed_reason(reason);
}

const char *memsc_exception_of(long number)
{
    return memsc_exception(number);
}

const char *memsc_version(void)
{
    return MEMSC_VERSION;
}

/* A program that ends without memsc_stop leaves no file behind, unless a reader wants it. */
__attribute__((destructor)) static void at_exit(void)
{
    if (!memsc_running())
        return;
    memsc_process_finish(memsc_process());
}
