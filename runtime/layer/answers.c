/* SPDX-License-Identifier: MIT */
#include "answers.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <stdatomic.h>
#include <sys/syscall.h>

#include "../src/barrier.h"
#include "dispatch.h"
#include "keys.h"
#include "../src/cpu.h"

/* The program itself has registered for barriers in all its threads. The runtime has, too, unseen. */
static _Atomic bool registered;

enum { GET_REGISTRATIONS = 1 << 9 /* MEMBARRIER_CMD_GET_REGISTRATIONS, Linux 6.3 */ };

void memsc_answers_start(void)
{
    store_relaxed(&registered,
                  MEMSC_SYS(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0, 0, 0, 0) == 0);
}

static long membarrier(const uint64_t args[6])
{
    int command = (int)args[0];
    bool plain = (uint32_t)args[1] == 0;
    if (command == MEMBARRIER_CMD_PRIVATE_EXPEDITED && plain && !load_relaxed(&registered))
        return -EPERM;
    long result = memsc_raw(SYS_membarrier, args);
    if (command == MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED && result == 0)
        store_relaxed(&registered, true);
    if (command == GET_REGISTRATIONS && result > 0 && !load_relaxed(&registered))
        result &= ~(long)MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED;
    return result;
}

/* A service that was started before has the register as every thread has it at first. */
static long allocate_key(const uint64_t args[6])
{
    long key = memsc_raw(SYS_pkey_alloc, args);
    if (key >= 0 && !(load_relaxed(&memsc_layer.special) & MEMSC_KEYED)) {
        store_relaxed(&memsc_layer.keys, memsc_keys_without(memsc_keys(), (uint32_t)key));
        atomic_fetch_or(&memsc_layer.special, MEMSC_KEYED);
    }
    return key;
}

bool memsc_answers(long number, const uint64_t args[6], long *result)
{
    switch (number) {
    case SYS_membarrier:
        *result = membarrier(args);
        return true;
    case SYS_pkey_alloc:
        *result = allocate_key(args);
        return true;
    default:
        return false;
    }
}

void memsc_keys_of_service(void)
{
    store_relaxed(&memsc_layer.keys, memsc_keys());
}

bool memsc_has_keys_of_service(void)
{
    return memsc_keys() == load_relaxed(&memsc_layer.keys);
}
