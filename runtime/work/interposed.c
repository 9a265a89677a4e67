/* SPDX-License-Identifier: MIT */
#include "interposed.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common.h"
#include "cpu.h"

enum {
    BLOCK = 32, /* calls */
    WORK = 250, /* steps between two calls that are apart: about as long as a call takes */
};

static bool apart;

/* What a program does between its calls. Each step needs the one before. */
static inline void work(void)
{
    static volatile uint64_t kept;
    if (!apart)
        return;
    uint64_t value = kept;
    for (int i = 0; i < WORK; i++)
        value = value * 0x9e3779b97f4a7c15ull + 1;
    kept = value;
}

/* memsc_call of the runtime that is in the layer. */
typedef int (*caller)(long number, const long args[6], long *result);

static caller find(void)
{
    union {
        void *address;
        caller call;
    } found = {dlsym(RTLD_DEFAULT, "memsc_layer_call")};
    if (!found.address)
        fail("interposed: the layer is not loaded", ENOTCONN);
    return found.call;
}

static uint64_t without(caller call)
{
    static const long no_args[6] = {0};
    long result;
    uint64_t since = memsc_cycles();
    for (int i = 0; i < BLOCK; i++)
        work(), call(SYS_getppid, no_args, &result);
    return memsc_cycles() - since;
}

static uint64_t with(void)
{
    uint64_t since = memsc_cycles();
    for (int i = 0; i < BLOCK; i++)
        work(), syscall(SYS_getppid);
    return memsc_cycles() - since;
}

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Per call. Changes the array. */
static double median(int64_t *array, size_t count)
{
    qsort(array, count, sizeof *array, by_size);
    return (double)(array[(count - 1) / 2] + array[count / 2]) / 2 / BLOCK;
}

/* Blocks by turns; the first of a pair is the second of the next. */
static void measure(caller call, size_t pairs, const char *suffix, FILE *file)
{
    int64_t *direct = (int64_t *)intervals(pairs), *layer = (int64_t *)intervals(pairs);
    int64_t *added = (int64_t *)intervals(pairs);
    /* By the layer first, which registers the thread. */
    for (size_t i = 0; i < WARM_UP / BLOCK; i++) {
        with();
        without(call);
    }
    for (size_t i = 0; i < pairs; i++) {
        if (i % 2)
            layer[i] = (int64_t)with();
        direct[i] = (int64_t)without(call);
        if (i % 2 == 0)
            layer[i] = (int64_t)with();
        added[i] = layer[i] - direct[i];
    }
    fprintf(file, "\"layer-without%s\": %.3f, \"layer-with%s\": %.3f, \"layer-added%s\": %.3f",
            suffix, median(direct, pairs), suffix, median(layer, pairs), suffix,
            median(added, pairs));
}

void memsc_work_interposed(size_t pairs, const char *measures)
{
    caller call = find();
    FILE *file = fopen(measures, "w");
    if (!file)
        fail(measures, errno);
    fprintf(file, "{");
    measure(call, pairs, "", file);
    apart = true;
    fprintf(file, ", ");
    measure(call, pairs, "-apart", file);
    if (fprintf(file, "}\n") < 0 || fclose(file))
        fail(measures, errno);
}
