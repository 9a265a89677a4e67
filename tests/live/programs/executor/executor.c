/* SPDX-License-Identifier: MIT
 *
 * executor OPERATIONS RESULTS: carries out operations, one a line (a name and numbers), and writes what
 * each returned. Descriptors are kept in slots, so that an operation can be thought up before it is
 * known which numbers there will be; the numbers are written, too, for programs rely on them.
 *
 * Nothing in it waits for ever: what might is asked beforehand whether it would.
 */
#include "executor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int slots[SLOTS] = {-1, -1, -1, -1, -1, -1, -1, -1};
uint8_t buffer[LARGEST];
uint64_t seen;
volatile sig_atomic_t caught;
void *volatile nowhere = (void *)8; /* so that the compiler does not know better */

static const char *const names[] = {"a", "b", "d", "d/c", "d/e", "none/x", "", "link"};

const char *name(long index)
{
    return names[index % 8];
}

int *slot(long index)
{
    return &slots[index % SLOTS];
}

void see(const void *data, long size)
{
    for (long i = 0; i < size; i++)
        seen = (seen ^ ((const uint8_t *)data)[i]) * 0x100000001b3;
}

void fill(long size, long seed)
{
    for (long i = 0; i < size; i++)
        buffer[i] = (uint8_t)(seed + i * 7 + i / 256);
}

long keep(long index, int descriptor)
{
    if (descriptor >= 0)
        *slot(index) = descriptor;
    return descriptor;
}

bool would_wait(int descriptor, short events)
{
    struct pollfd wanted = {descriptor, events, 0};
    return poll(&wanted, 1, 0) == 0;
}

long got(long result)
{
    see(buffer, result);
    return result;
}

#define OPERATION(name_) {#name_, do_##name_},
static const struct {
    const char *name;
    long (*run)(const long *a);
} operations[] = {OPERATIONS};
#undef OPERATION

enum { COUNT = sizeof operations / sizeof *operations };

static void run_line(const char *line, FILE *results)
{
    char word[32];
    long a[4] = {0};
    if (sscanf(line, "%31s %ld %ld %ld %ld", word, &a[0], &a[1], &a[2], &a[3]) < 1)
        return;
    for (size_t i = 0; i < COUNT; i++)
        if (strcmp(operations[i].name, word) == 0) {
            seen = 0xcbf29ce484222325;
            errno = 0;
            long result = operations[i].run(a);
            int error = result == -1 ? errno : 0;
            fprintf(results, "%s %ld %ld %ld %ld: %ld %s %016llx, caught %d\n", word, a[0], a[1],
                    a[2], a[3], result, strerrorname_np(error), (unsigned long long)seen, caught);
            return;
        }
    fprintf(results, "%s is no operation\n", word);
}

int main(int argc, char **argv)
{
    char *text = NULL, *line = NULL, *written = NULL;
    size_t size = 0, length = 0;
    if (argc < 3) {
        for (size_t i = 0; i < COUNT; i++)
            puts(operations[i].name);
        return 0;
    }
    signal(SIGPIPE, SIG_IGN);
    FILE *input = fopen(argv[1], "r"), *results = open_memstream(&written, &length);
    if (!input || !results || getdelim(&text, &size, 0, input) < 0 || fclose(input))
        return 2;
    for (char *rest = text; (line = strtok_r(rest, "\n", &rest));)
        run_line(line, results);
    fclose(results);
    int output = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC, 0600);
    return output < 0 || write(output, written, length) != (ssize_t)length ? 3 : 0;
}
