/* SPDX-License-Identifier: MIT
 *
 * Options from the MEMSC_* environment.
 */
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/syscall.h>

#include "cpu.h"
#include "layout.h"
#include "memsc.h"
#include "text.h"

extern char **environ;

static const char *variable(const char *name)
{
    for (char **at = environ; at && *at; at++) {
        const char *text = *at;
        const char *key = name;
        while (*key && *text == *key)
            text++, key++;
        if (!*key && *text == '=')
            return text + 1;
    }
    return NULL;
}

static bool same(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

/* One of the words of a NULL-terminated list, as its position. */
static int word(const char *text, const char *const *words, uint32_t *value)
{
    for (uint32_t i = 0; words[i]; i++)
        if (same(text, words[i])) {
            *value = i;
            return 0;
        }
    return -EINVAL;
}

static int number(const char *text, uint64_t limit, uint64_t *value)
{
    uint64_t sum = 0;
    if (!*text)
        return -EINVAL;
    for (; *text; text++) {
        if (*text < '0' || *text > '9' || sum > limit)
            return -EINVAL;
        sum = sum * 10 + (uint64_t)(*text - '0');
    }
    *value = sum;
    return sum > limit ? -EINVAL : 0;
}

static int small(const char *text, uint32_t limit, uint32_t *value)
{
    uint64_t wide;
    if (number(text, limit, &wide))
        return -EINVAL;
    *value = (uint32_t)wide;
    return 0;
}

static int microseconds(const char *text, uint32_t *value)
{
    if (same(text, "never")) {
        *value = UINT32_MAX;
        return 0;
    }
    return small(text, UINT32_MAX - 1, value);
}

/* "240:8611": a descriptor, and the inode that it is to lead to. */
static int inherited(const char *text, struct memsc_options *options)
{
    uint64_t inode;
    if (*text < '0' || *text > '9')
        return -EINVAL;
    uint64_t descriptor = memsc_take_number(&text);
    if (descriptor > INT32_MAX || *text != ':' || number(text + 1, UINT64_MAX / 16, &inode))
        return -EINVAL;
    options->session_socket = (int32_t)descriptor;
    options->session_inode = inode;
    return 0;
}

/* "0", "0,2", "1-3,5": each CPU once, in that order. */
static int cpu_list(const char *text, struct memsc_options *options)
{
    options->services = 0;
    for (;;) {
        if (*text < '0' || *text > '9')
            return -EINVAL;
        uint64_t first = memsc_take_number(&text), last = first;
        if (*text == '-') {
            text++;
            if (*text < '0' || *text > '9')
                return -EINVAL;
            last = memsc_take_number(&text);
        }
        if (last < first || last > 1023)
            return -EINVAL;
        for (uint64_t cpu = first; cpu <= last; cpu++) {
            if (options->services == MEMSC_MAX_SERVICES)
                return -EINVAL;
            options->service_cpus[options->services++] = (uint32_t)cpu;
        }
        if (!*text)
            return 0;
        if (*text++ != ',')
            return -EINVAL;
    }
}

enum { SECURE = 23 /* AT_SECURE */ };

/* Of the C library: quicker than to ask the kernel, and also there where /proc is not. */
extern unsigned long getauxval(unsigned long type) __attribute__((weak));

static bool was_started_privileged(void)
{
    enum { MOST = 64 };
    uint64_t pairs[MOST][2];
    if (getauxval)
        return getauxval(SECURE);
    int length = memsc_read_file("/proc/self/auxv", (char *)pairs, sizeof pairs);
    for (int i = 0; i < length / (int)sizeof *pairs; i++)
        if (pairs[i][0] == SECURE)
            return pairs[i][1];
    return false;
}

/* Whether the program has rights that the user who started it, and chose its environment, does not have. */
static bool is_privileged(void)
{
    /* Also one that has changed them since, and one that cannot look. */
    return was_started_privileged() ||
           MEMSC_SYS(SYS_getuid, 0, 0, 0, 0, 0, 0) != MEMSC_SYS(SYS_geteuid, 0, 0, 0, 0, 0, 0) ||
           MEMSC_SYS(SYS_getgid, 0, 0, 0, 0, 0, 0) != MEMSC_SYS(SYS_getegid, 0, 0, 0, 0, 0, 0);
}

int memsc_options_default(struct memsc_options *options, uint32_t size, const char **wrong)
{
    static const char *const transports[] = {"direct", "ipi", "memsc", "adaptive", NULL};
    static const char *const modes[] = {"inline", "scanner", NULL};
    static const char *const switches[] = {"0", "1", NULL};
    static const char *const policies[] = {"drop", "wait", NULL};
    static const char *const handoffs[] = {"machine", "at-once", "intel", "amd", NULL};

    if (wrong)
        *wrong = size < sizeof *options ? "size" : NULL;
    if (size < sizeof *options)
        return -EINVAL;
    for (size_t i = 0; i < size; i++)
        ((volatile char *)options)[i] = 0;
    options->size = size;
    options->transport = MEMSC_MEMSC;
    options->service_mode = MEMSC_INLINE;
    options->services = 1;
    options->idle_us = 1000;
    options->spin_us = 200;
    options->ring_records = 1u << 17;
    options->probe_every = 1;

    if (is_privileged())
        return 0;
    const char *name = NULL;
    const char *text;
    int error = 0;
#define FROM(variable_, parse)                                                                     \
    if (!error && (text = variable(name = variable_)) != NULL)                                     \
    error = parse
    FROM("MEMSC_TRANSPORT", word(text, transports, &options->transport));
    if (options->transport == MEMSC_ADAPTIVE)
        options->idle_us = options->spin_us = MEMSC_ADAPTIVE_US;
    FROM("MEMSC_SERVICE", word(text, modes, &options->service_mode));
    FROM("MEMSC_SERVICE_CPUS", cpu_list(text, options));
    FROM("MEMSC_IDLE_US", microseconds(text, &options->idle_us));
    FROM("MEMSC_SPIN_US", microseconds(text, &options->spin_us));
    FROM("MEMSC_RECORD", small(text, 1u << 30, &options->recording));
    FROM("MEMSC_RING", number(text, 1u << 30, &options->ring_records));
    FROM("MEMSC_RING_POLICY", word(text, policies, &options->ring_policy));
    FROM("MEMSC_PROBE_EVERY", number(text, UINT32_MAX, &options->probe_every));
    FROM("MEMSC_HANDOFF", word(text, handoffs, &options->handoff));
    FROM("MEMSC_KEEP", word(text, switches, &options->keep));
    FROM("MEMSC_SOCKET", inherited(text, options));
    if (!error && (text = variable(name = "MEMSC_DIRECTORY")) != NULL) {
        char *end = options->directory + sizeof options->directory;
        if (memsc_put(options->directory, end, text) == end)
            error = -EINVAL;
    }
#undef FROM
    if (wrong)
        *wrong = error ? name : NULL;
    return error;
}
