/* SPDX-License-Identifier: MIT
 *
 * What every test program needs: a check that names itself, and a loop over transports.
 */
#ifndef MEMSC_TEST_CHECK_H
#define MEMSC_TEST_CHECK_H

#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "layout.h"
#include "memsc.h"

/* GCC names them so, clang before 20 by features. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define THREAD_SANITIZER 1
#endif
#if __has_feature(address_sanitizer)
#define ADDRESS_SANITIZER 1
#endif
#endif
#ifdef __SANITIZE_THREAD__
#define THREAD_SANITIZER 1
#endif
#ifdef __SANITIZE_ADDRESS__
#define ADDRESS_SANITIZER 1
#endif

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition);                \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

#define CHECK_EQUAL(left, right)                                                                   \
    do {                                                                                           \
        long long left_ = (long long)(left), right_ = (long long)(right);                          \
        if (left_ != right_) {                                                                     \
            fprintf(stderr, "%s:%d: failed: %s is %lld, %s is %lld\n", __FILE__, __LINE__, #left,  \
                    left_, #right, right_);                                                        \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static const long NO_ARGS[6] = {0};

/* Application on CPU 1, service on CPU 0; one CPU cannot poll on both sides. */
static inline void two_cpus(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) || !CPU_ISSET(0, &set) || !CPU_ISSET(1, &set)) {
        fprintf(stderr, "needs CPUs 0 and 1\n");
        exit(77);
    }
    CPU_ZERO(&set);
    CPU_SET(1, &set);
    sched_setaffinity(0, sizeof set, &set);
}

/* An emulator of programs stands in for the kernel, too, and its own may lack what Linux always has:
 * then a test that needs it is skipped. */
static inline void wiping_forks(void)
{
    int *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED);
    *page = 1;
    if (madvise(page, 4096, MADV_WIPEONFORK) == 0) {
        int status;
        pid_t child = fork();
        if (child == 0)
            _exit(*page);
        CHECK_EQUAL(waitpid(child, &status, 0), child);
        if (status == 0)
            return;
    }
    fprintf(stderr,
            "memory is not wiped in a forked child: this is no Linux, or an emulated one\n");
    exit(77);
}

static inline struct memsc_options options_for(uint32_t transport, uint32_t mode)
{
    struct memsc_options options;
    CHECK_EQUAL(memsc_options_default(&options, sizeof options, NULL), 0);
    options.transport = transport;
    options.service_mode = mode;
    if (transport == MEMSC_ADAPTIVE)
        options.idle_us = options.spin_us = MEMSC_ADAPTIVE_US;
    return options;
}

/* Runs body(options) under each transport and service mode. */
static inline void each_transport(void (*body)(const struct memsc_options *))
{
    static const struct {
        uint32_t transport, mode;
        const char *name;
    } arms[] = {{MEMSC_DIRECT, MEMSC_INLINE, "direct"},
                {MEMSC_IPI, MEMSC_INLINE, "ipi"},
                {MEMSC_MEMSC, MEMSC_INLINE, "memsc"},
                {MEMSC_MEMSC, MEMSC_SCANNER, "memsc-scanner"},
                {MEMSC_ADAPTIVE, MEMSC_INLINE, "adaptive"},
                {MEMSC_ADAPTIVE, MEMSC_SCANNER, "adaptive-scanner"},
                {MEMSC_IPI, MEMSC_SCANNER, "ipi-scanner"}};
    two_cpus();
    for (size_t i = 0; i < sizeof arms / sizeof *arms; i++) {
        fprintf(stderr, "%s\n", arms[i].name);
        struct memsc_options options = options_for(arms[i].transport, arms[i].mode);
        body(&options);
    }
}

/* Runs body(options) under each way to pass a line, whatever the machine; after each_transport. */
static inline void each_handoff(void (*body)(const struct memsc_options *))
{
    static const struct {
        uint32_t transport, handoff;
        const char *name;
    } arms[] = {{MEMSC_MEMSC, MEMSC_HANDOFF_INTEL, "memsc, intel"},
                {MEMSC_MEMSC, MEMSC_HANDOFF_AMD, "memsc, amd"},
                {MEMSC_MEMSC, MEMSC_HANDOFF_AT_ONCE, "memsc, at once"},
                {MEMSC_ADAPTIVE, MEMSC_HANDOFF_AT_ONCE, "adaptive, at once"}};
    for (size_t i = 0; i < sizeof arms / sizeof *arms; i++) {
        fprintf(stderr, "%s\n", arms[i].name);
        struct memsc_options options = options_for(arms[i].transport, MEMSC_INLINE);
        options.handoff = arms[i].handoff;
        body(&options);
    }
}

static inline long call(long number, const long args[6])
{
    long result = 0;
    CHECK_EQUAL(memsc_call(number, args, &result), 0);
    return result;
}

#define CALL(number, ...) call((number), (const long[6]){__VA_ARGS__})

#endif
