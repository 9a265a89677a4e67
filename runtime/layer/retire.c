/* SPDX-License-Identifier: MIT */
#include "retire.h"

#include <linux/ptrace.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>

#include "../src/cpu.h"
#include "../src/text.h"
#include "dispatch.h"
#include "handlers.h"
#include "joining.h"
#include "stats.h"

enum {
    GET_SECCOMP = 21,  /* PR_GET_SECCOMP */
    SET_SECCOMP = 22,  /* PR_SET_SECCOMP */
    GET_TSC = 25,      /* PR_GET_TSC */
    SET_TSC = 26,      /* PR_SET_TSC */
    FORBIDDEN = 2,     /* PR_TSC_SIGSEGV */
    SET_DISPATCH = 59, /* PR_SET_SYSCALL_USER_DISPATCH */
};

/* Without the filter's address it is only asked whether the kernel knows them. */
bool memsc_retires(long number, const uint64_t args[6])
{
    if (number == SYS_prctl)
        return (args[0] == SET_SECCOMP && (args[1] == SECCOMP_MODE_STRICT || args[2])) ||
               (args[0] == SET_TSC && args[1] == FORBIDDEN) || (args[0] == SET_DISPATCH && args[1]);
    if (number == SYS_seccomp)
        return args[0] == SECCOMP_SET_MODE_STRICT ||
               (args[0] == SECCOMP_SET_MODE_FILTER && args[2]);
    return false;
}

bool memsc_asks_to_be_traced(long number, const uint64_t args[6])
{
    return number == SYS_ptrace && args[0] == PTRACE_TRACEME;
}

void memsc_retire(bool whole, const char *end)
{
    if (load_relaxed(&memsc_layer.special) & MEMSC_RETIRED)
        return;
    if (whole) {
        memsc_stats_write(end);
        memsc_handlers_end(memsc_leave_and_stop());
    }
    /* Before the kernel's, so that no thread which inherits a filter finds it unset. */
    atomic_fetch_or(&memsc_layer.special, MEMSC_RETIRED);
}

bool memsc_may_read_counter(void)
{
    uint32_t mode = 0;
    return MEMSC_SYS(SYS_prctl, GET_TSC, &mode, 0, 0, 0, 0) < 0 || mode != FORBIDDEN;
}

static uint32_t value_of(const char *text, const char *name)
{
    for (; *text; text++) {
        const char *at = text, *wanted = name;
        while (*wanted && *at == *wanted)
            at++, wanted++;
        if (*wanted)
            continue;
        while (*at == '\t')
            at++;
        return (uint32_t)memsc_number(at);
    }
    return 0;
}

bool memsc_is_traced(void)
{
    char text[512]; /* it stands near the beginning */
    return memsc_read_file("/proc/self/status", text, sizeof text) > 0 &&
           value_of(text, "\nTracerPid:") != 0;
}

uint32_t memsc_filters(void)
{
    char text[4096];
    /* Mostly there is none, and this tells it without a file to be made up. */
    if (MEMSC_SYS(SYS_prctl, GET_SECCOMP, 0, 0, 0, 0, 0) == 0)
        return 0;
    if (memsc_read_file("/proc/self/status", text, sizeof text) <= 0)
        return 0;
    /* Linux before 5.9 says only that there are some, by 2; strict mode (1) has no exec. */
    uint32_t filters = value_of(text, "\nSeccomp_filters:");
    return filters ? filters : value_of(text, "\nSeccomp:") / 2;
}
