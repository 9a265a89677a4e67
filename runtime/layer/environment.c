/* SPDX-License-Identifier: MIT */
#include "environment.h"

#include <errno.h>
#include <linux/fcntl.h>
#include <linux/mman.h>
#include <stddef.h>
#include <sys/syscall.h>

#include "../src/cpu.h"
#include "../src/kept.h"
#include "../src/text.h"
#include "local.h"
#include "peek.h"

enum {
    MOST = 32,           /* variables of memsc's */
    LONGEST = 4096,      /* of a path, and of those variables together */
    PRELOAD = 16 * 1024, /* of a list of libraries */
    HEAD = 64,           /* of a variable, enough to know it by */
    AT_ONCE = 64,        /* pointers that are looked at at a time */
    READABLE = 4,        /* R_OK */
};

static const char SOCKET[] = "MEMSC_SOCKET=", LIBRARY[] = "MEMSC_LIBRARY=",
                  TRANSPORT[] = "MEMSC_TRANSPORT=", LD_PRELOAD[] = "LD_PRELOAD=", OURS[] = "MEMSC_",
                  BY_DESCRIPTOR[] = "/proc/self/fd/";

static char texts[LONGEST];
static const char *variables[MOST]; /* all but SOCKET and LIBRARY, which may have moved */
static uint32_t count;
static char own_path[LONGEST];

static bool begins(const char *text, const char *beginning)
{
    while (*beginning && *text == *beginning)
        text++, beginning++;
    return !*beginning;
}

/* ---- what is kept ---- */

/* "N:DEVICE:INODE", as an earlier program of this process has kept it. */
static void take_library(const char *text)
{
    uint64_t numbers[3] = {0};
    for (int i = 0; i < 3; i++) {
        numbers[i] = memsc_take_number(&text);
        text += *text == ':';
    }
    if (numbers[2])
        memsc_keep(MEMSC_KEPT_LIBRARY, (int)numbers[0], numbers[1], numbers[2]);
}

void memsc_environment_keep(char *const *environment, const char *path)
{
    char *at = texts, *end = texts + sizeof texts;
    memsc_put(own_path, own_path + sizeof own_path - 1, path);
    for (; environment && *environment; environment++) {
        if (begins(*environment, LIBRARY))
            take_library(*environment + sizeof LIBRARY - 1);
        if (!begins(*environment, OURS) || begins(*environment, SOCKET) ||
            begins(*environment, LIBRARY) || count == MOST)
            continue;
        char *after = memsc_put(at, end - 1, *environment);
        if (after >= end - 1)
            return; /* far more than memsc sets */
        variables[count++] = at;
        at = after + 1;
    }
}

void memsc_environment_leave_path(void)
{
    if (memsc_keeps(MEMSC_KEPT_LIBRARY) || !own_path[0])
        return;
    long low = MEMSC_SYS(SYS_openat, AT_FDCWD, own_path, O_RDONLY | O_CLOEXEC, 0, 0, 0);
    if (low < 0)
        return;
    int high = memsc_duplicate_high((int)low);
    MEMSC_SYS(SYS_close, low, 0, 0, 0, 0, 0);
    if (high >= 0)
        memsc_keep(MEMSC_KEPT_LIBRARY, high, 0, 0);
}

/* ---- what is executed ---- */

static bool is_readable(const char *path)
{
    return MEMSC_SYS(SYS_faccessat, AT_FDCWD, path, READABLE, 0, 0, 0) == 0;
}

/* How the loader finds the layer from where the process is now; NULL: not at all. */
static const char *find_own(char by_descriptor[HEAD])
{
    if (is_readable(own_path))
        return own_path;
    int kept = memsc_kept_at(MEMSC_KEPT_LIBRARY);
    if (kept < 0)
        return NULL;
    char *end = by_descriptor + HEAD - 1;
    memsc_put_number(memsc_put(by_descriptor, end, BY_DESCRIPTOR), end, (uint64_t)kept);
    return is_readable(by_descriptor) ? by_descriptor : NULL;
}

const char *memsc_environment_obstacle(void)
{
    char by_descriptor[HEAD];
    return find_own(by_descriptor) ? NULL : "memsc's library is out of its reach";
}

/* What one of the given variables is. */
enum kind { OTHER = 0, OUR_SOCKET, FOREIGN_SOCKET, OUR_LIBRARY, OUR_PRELOAD, STEERING };

/* Room for an environment: what is given, with the kind of each, what is made of it, and texts. */
struct block {
    const char **given, **made;
    uint8_t *kinds;
    char *at, *end;
    uint32_t count, size;
};

/* False: its end cannot be read. */
static bool count_given(uint64_t environment, uint64_t *given)
{
    uint64_t words[AT_ONCE];
    *given = 0;
    if (!environment)
        return true;
    for (;;) {
        uint64_t read = memsc_peek_bytes(words, environment + *given * sizeof *words, sizeof words);
        for (uint64_t i = 0; i < read / sizeof *words; i++, ++*given)
            if (!words[i])
                return true;
        if (read < sizeof words)
            return false;
    }
}

static bool make_room(struct block *block, uint64_t environment)
{
    uint64_t count;
    if (!count_given(environment, &count))
        return false; /* the kernel will say what is wrong with it */
    uint64_t pointers = 2 * count + MOST + 4;
    uint64_t size = pointers * sizeof *block->given + count + PRELOAD + 2 * LONGEST;
    long address =
        MEMSC_SYS(SYS_mmap, 0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (address < 0)
        return false;
    block->given = (const char **)address;
    block->made = block->given + count;
    block->kinds = (uint8_t *)(block->given + pointers);
    block->at = (char *)block->kinds + count;
    block->end = (char *)address + size - 1;
    block->count = (uint32_t)count;
    block->size = 0;
    memsc_peek_bytes(block->given, environment, count * sizeof *block->given);
    /* A child in its parent's memory that succeeds leaves it there. */
    memsc_layer_thread.environment = (uint64_t)address;
    memsc_layer_thread.environment_size = size;
    return true;
}

void memsc_environment_release(void)
{
    if (memsc_layer_thread.environment)
        MEMSC_SYS(SYS_munmap, memsc_layer_thread.environment, memsc_layer_thread.environment_size,
                  0, 0, 0, 0);
    memsc_layer_thread.environment = 0;
}

static void add(struct block *block, const char *variable)
{
    block->made[block->size++] = variable;
}

/* Adds what begins like this and was written behind it. */
static void add_written(struct block *block, char *end_of_text)
{
    add(block, block->at);
    block->at = end_of_text + 1;
}

static void add_kept(struct block *block, enum memsc_kept_name name, const char *beginning)
{
    int at = memsc_kept_at(name);
    if (at < 0)
        return;
    char *text =
        memsc_put_number(memsc_put(block->at, block->end, beginning), block->end, (uint64_t)at);
    if (name == MEMSC_KEPT_LIBRARY) {
        text = memsc_put(text, block->end, ":");
        text = memsc_put_number(text, block->end, memsc_kept[name].device);
    }
    text = memsc_put(text, block->end, ":");
    text = memsc_put_number(text, block->end, memsc_kept[name].inode);
    add_written(block, text);
}

/* Whether an element of a list of libraries is this layer's file, by its path or as it was kept before. */
static bool is_own(const char *element, size_t length)
{
    size_t same = 0;
    while (same < length && own_path[same] == element[same])
        same++;
    if (same == length && !own_path[same])
        return true;
    return length > sizeof BY_DESCRIPTOR - 1 && begins(element, BY_DESCRIPTOR);
}

static size_t length_of(const char *element)
{
    size_t length = 0;
    while (element[length] && element[length] != ':' && element[length] != ' ')
        length++;
    return length;
}

/* The layer, unless it is NULL, then the others of a list. */
static void add_preload(struct block *block, const char *own, const char *list)
{
    char *start = memsc_put(block->at, block->end, LD_PRELOAD), *text = start;
    if (own)
        text = memsc_put(text, block->end, own);
    for (size_t length; *list; list += length + (list[length] != 0)) {
        length = length_of(list);
        if (!length || is_own(list, length))
            continue;
        if (text > start)
            text = memsc_put(text, block->end, ":");
        for (size_t i = 0; i < length && text < block->end; i++)
            *text++ = list[i];
        *text = 0;
    }
    if (text > start)
        add_written(block, text);
}

/* Whether another memsc's layer is in a list: then it is that one's to carry. */
static bool has_other_layer(const char *list)
{
    static const char name[] = "/libmemsc-layer.so";
    for (size_t length; *list; list += length + (list[length] != 0)) {
        length = length_of(list);
        if (length >= sizeof name - 1 && begins(list + length - (sizeof name - 1), name) &&
            !is_own(list, length))
            return true;
    }
    return false;
}

static uint64_t inode_of(const char *text)
{
    while (*text && *text != ':')
        text++;
    return *text ? memsc_number(text + 1) : 0;
}

static enum kind kind_of(const char *variable)
{
    if (begins(variable, SOCKET))
        return inode_of(variable) == memsc_kept[MEMSC_KEPT_SOCKET].inode ? OUR_SOCKET
                                                                         : FOREIGN_SOCKET;
    if (begins(variable, LIBRARY))
        return OUR_LIBRARY;
    if (begins(variable, LD_PRELOAD))
        return OUR_PRELOAD;
    return begins(variable, OURS) ? STEERING : OTHER;
}

/* Finds out what is given: whether a transport is, and in `list` the libraries, which lie at the block's end. */
static bool look(struct block *block, char **list)
{
    bool steered = false;
    char head[HEAD];
    *list = block->end -= PRELOAD;
    **list = 0;
    for (uint32_t i = 0; i < block->count; i++) {
        if (!memsc_peek_string(head, sizeof head, (uint64_t)block->given[i]))
            head[0] = 0; /* the kernel will say what is wrong with it */
        block->kinds[i] = (uint8_t)kind_of(head);
        steered |= begins(head, TRANSPORT);
        if (block->kinds[i] == OUR_PRELOAD)
            memsc_peek_string(*list, PRELOAD, (uint64_t)block->given[i] + sizeof LD_PRELOAD - 1);
    }
    return steered;
}

/* Adds ours, where the environment has it or at its end. */
static void add_own(struct block *block, enum kind kind, const char *list)
{
    char by_descriptor[HEAD];
    switch (kind) {
    case OUR_SOCKET:
        add_kept(block, MEMSC_KEPT_SOCKET, SOCKET);
        break;
    case OUR_LIBRARY:
        add_kept(block, MEMSC_KEPT_LIBRARY, LIBRARY);
        break;
    case OUR_PRELOAD:
        add_preload(block, find_own(by_descriptor), list);
        break;
    default:
        break;
    }
}

/* Whether a variable MEMSC_… is as this program got it, as far as it is looked at. */
static bool is_as_given(const char *variable)
{
    char head[HEAD];
    memsc_peek_string(head, sizeof head, (uint64_t)variable);
    for (uint32_t i = 0; i < count; i++)
        if (begins(variables[i], head))
            return true;
    return false;
}

/* The program's own environment without anything of memsc's; NULL: what is of memsc's there is somebody else's. */
static const char **make_bare(struct block *block)
{
    char *list;
    look(block, &list);
    if (has_other_layer(list))
        return NULL;
    for (uint32_t i = 0; i < block->count; i++) {
        enum kind kind = block->kinds[i];
        if (kind == FOREIGN_SOCKET || (kind == STEERING && !is_as_given(block->given[i])))
            return NULL;
        if (kind == OTHER)
            add(block, block->given[i]);
        else if (kind == OUR_PRELOAD)
            add_preload(block, NULL, list);
    }
    add(block, NULL);
    return block->made;
}

/* The program's own environment, its MEMSC_… only if it has set up a transport, and ours. */
static const char **make(struct block *block)
{
    uint32_t added = 0;
    char *list;
    bool steered = look(block, &list);
    if (has_other_layer(list))
        return NULL;
    /* Set up by somebody else, and for no session or another one: that is none of ours. */
    if (steered)
        added |= 1u << OUR_SOCKET;
    for (uint32_t i = 0; i < block->count; i++) {
        enum kind kind = block->kinds[i];
        if (kind == OTHER || (steered && (kind == STEERING || kind == FOREIGN_SOCKET)))
            add(block, block->given[i]);
        else if (kind == OUR_SOCKET || !(added & 1u << kind))
            add_own(block, kind, list);
        added |= 1u << kind;
    }
    for (uint32_t i = 0; !steered && i < count; i++)
        add(block, variables[i]);
    for (enum kind kind = OUR_SOCKET; kind <= OUR_PRELOAD; kind++)
        if (!(added & 1u << kind))
            add_own(block, kind, list);
    add(block, NULL);
    return block->made;
}

long memsc_environment_execute(long number, const uint64_t args[6], bool bare)
{
    uint64_t changed[6];
    for (int i = 0; i < 6; i++)
        changed[i] = args[i];
    struct block block;
    uint64_t *environment = &changed[number == SYS_execveat ? 3 : 2];
    const char **made = NULL;
    if (make_room(&block, *environment))
        made = bare ? make_bare(&block) : make(&block);
    if (made)
        *environment = (uint64_t)made;
    long result = bare && !made ? -E2BIG : memsc_raw(number, changed);
    memsc_environment_release();
    return result;
}
