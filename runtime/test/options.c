/* SPDX-License-Identifier: MIT
 * The environment is read as documented, and what is wrong is named. */
#include "check.h"

#include <errno.h>

static void refuse(const char *name, const char *value)
{
    struct memsc_options options;
    const char *wrong = NULL;
    setenv(name, value, 1);
    CHECK_EQUAL(memsc_options_default(&options, sizeof options, &wrong), -EINVAL);
    CHECK(wrong && strcmp(wrong, name) == 0);
    unsetenv(name);
}

/* The user who starts a set-uid program chooses its environment, and must not choose for it. */
static void privileged(void)
{
    if (geteuid() != 0)
        return;
    setenv("MEMSC_TRANSPORT", "ipi", 1);
    setenv("MEMSC_DIRECTORY", "/tmp", 1);
    setenv("MEMSC_RING", "nonsense", 1);
    CHECK_EQUAL(seteuid(65534), 0);
    struct memsc_options options;
    const char *wrong = "";
    CHECK_EQUAL(memsc_options_default(&options, sizeof options, &wrong), 0);
    CHECK(wrong == NULL);
    CHECK_EQUAL(options.transport, MEMSC_MEMSC);
    CHECK_EQUAL(options.directory[0], 0);
    CHECK_EQUAL(seteuid(0), 0);
    unsetenv("MEMSC_TRANSPORT");
    unsetenv("MEMSC_DIRECTORY");
    unsetenv("MEMSC_RING");
}

/* A program that was compiled with another version of memsc.h has less or more there. */
static void sizes(void)
{
    struct {
        struct memsc_options options;
        char more[8];
    } later;
    const char *wrong = NULL;
    CHECK_EQUAL(memsc_options_default(&later.options, sizeof later.options - 1, &wrong), -EINVAL);
    CHECK(wrong && strcmp(wrong, "size") == 0);
    memset(&later, 1, sizeof later);
    CHECK_EQUAL(memsc_options_default(&later.options, sizeof later, &wrong), 0);
    CHECK(wrong == NULL);
    CHECK_EQUAL(later.options.size, sizeof later);
    for (size_t i = 0; i < sizeof later.more; i++)
        CHECK_EQUAL(later.more[i], 0);
    later.more[7] = 1;
    CHECK_EQUAL(memsc_start(&later.options), -E2BIG);
    later.options.size = 0;
    CHECK_EQUAL(memsc_start(&later.options), -EINVAL);
}

int main(void)
{
    privileged();
    sizes();
    struct memsc_options options;
    const char *wrong = "";
    CHECK_EQUAL(memsc_options_default(&options, sizeof options, &wrong), 0);
    CHECK(wrong == NULL);
    CHECK_EQUAL(options.transport, MEMSC_MEMSC);
    CHECK_EQUAL(options.services, 1);
    CHECK_EQUAL(options.service_cpus[0], 0);

    setenv("MEMSC_TRANSPORT", "ipi", 1);
    setenv("MEMSC_SERVICE", "scanner", 1);
    setenv("MEMSC_SERVICE_CPUS", "0,2-4,7", 1);
    setenv("MEMSC_IDLE_US", "never", 1);
    setenv("MEMSC_SPIN_US", "15", 1);
    setenv("MEMSC_RECORD", "1", 1);
    setenv("MEMSC_RING", "4096", 1);
    setenv("MEMSC_RING_POLICY", "wait", 1);
    setenv("MEMSC_PROBE_EVERY", "101", 1);
    setenv("MEMSC_HANDOFF", "amd", 1);
    setenv("MEMSC_KEEP", "1", 1);
    setenv("MEMSC_DIRECTORY", "/tmp", 1);
    CHECK_EQUAL(memsc_options_default(&options, sizeof options, NULL), 0);
    CHECK_EQUAL(options.transport, MEMSC_IPI);
    CHECK_EQUAL(options.service_mode, MEMSC_SCANNER);
    CHECK_EQUAL(options.services, 5);
    CHECK_EQUAL(options.service_cpus[1], 2);
    CHECK_EQUAL(options.service_cpus[4], 7);
    CHECK_EQUAL(options.idle_us, UINT32_MAX);
    CHECK_EQUAL(options.spin_us, 15);
    CHECK_EQUAL(options.recording, 1);
    CHECK_EQUAL(options.ring_records, 4096);
    CHECK_EQUAL(options.ring_policy, MEMSC_RING_WAIT);
    CHECK_EQUAL(options.probe_every, 101);
    CHECK_EQUAL(options.handoff, MEMSC_HANDOFF_AMD);
    CHECK_EQUAL(options.keep, 1);
    CHECK(strcmp(options.directory, "/tmp") == 0);

    static const char *const names[] = {
        "MEMSC_TRANSPORT", "MEMSC_SERVICE",   "MEMSC_SERVICE_CPUS", "MEMSC_IDLE_US",
        "MEMSC_SPIN_US",   "MEMSC_RECORD",    "MEMSC_RING",         "MEMSC_RING_POLICY",
        "MEMSC_KEEP",      "MEMSC_DIRECTORY", "MEMSC_PROBE_EVERY",  "MEMSC_HANDOFF"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unsetenv(names[i]);
    setenv("MEMSC_TRANSPORT", "adaptive", 1);
    CHECK_EQUAL(memsc_options_default(&options, sizeof options, NULL), 0);
    CHECK_EQUAL(options.transport, MEMSC_ADAPTIVE);
    CHECK_EQUAL(options.idle_us, MEMSC_ADAPTIVE_US);
    setenv("MEMSC_SPIN_US", "7", 1);
    CHECK_EQUAL(memsc_options_default(&options, sizeof options, NULL), 0);
    CHECK_EQUAL(options.spin_us, 7);
    unsetenv("MEMSC_TRANSPORT");
    unsetenv("MEMSC_SPIN_US");
    refuse("MEMSC_HANDOFF", "arm");
    refuse("MEMSC_TRANSPORT", "telepathy");
    refuse("MEMSC_TRANSPORT", "");
    refuse("MEMSC_SERVICE_CPUS", "0,");
    refuse("MEMSC_SERVICE_CPUS", "3-1");
    refuse("MEMSC_SERVICE_CPUS", "0-100");
    refuse("MEMSC_IDLE_US", "-1");
    refuse("MEMSC_IDLE_US", "99999999999");
    refuse("MEMSC_RING", "many");
    refuse("MEMSC_RECORD", "yes");
    refuse("MEMSC_RECORD", "-4");
    setenv("MEMSC_RECORD", "64", 1);
    CHECK_EQUAL(memsc_options_default(&options, sizeof options, NULL), 0);
    CHECK_EQUAL(options.recording, 64);
    unsetenv("MEMSC_RECORD");
    refuse("MEMSC_PROBE_EVERY", "often");
    char large[400];
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = 0;
    refuse("MEMSC_DIRECTORY", large);
    return 0;
}
