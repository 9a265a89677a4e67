/* SPDX-License-Identifier: MIT */
#include "session.h"

#include <asm/poll.h>
#include <asm/socket.h>
#include <elf.h>
#include <errno.h>
#include <linux/time.h>
#include <linux/uio.h>
#include <sys/syscall.h>

#include "cpu.h"
#include "kept.h"
#include "text.h"

/* Of the kernel's interface; its headers leave these to the C library. */
enum { SOCKET_LEVEL = 1 /* SOL_SOCKET */, RIGHTS = 1 /* SCM_RIGHTS */, NO_SIGNAL = 0x4000 };

struct credentials {
    uint32_t pid, user, group;
};

struct control {
    uint64_t size;
    int32_t level, type, descriptor, padding;
};

struct message {
    void *name;
    int32_t name_size;
    struct iovec *parts;
    uint64_t count;
    struct control *control;
    uint64_t control_size;
    uint32_t flags;
};

enum {
    UNMAPPED =
        65534,    /* how a user of outside appears in a user namespace that has no number for him */
    TRIES = 1000, /* each a millisecond, while others' messages hold up ours */
};

/* Whether the calling process's numbers of users are not the machine's. */
static bool has_users_of_its_own(void)
{
    char text[128];
    if (memsc_read_file("/proc/self/uid_map", text, sizeof text) <= 0)
        return false;
    uint64_t numbers[3] = {0};
    const char *at = text;
    for (int i = 0; i < 3; i++) {
        while (*at == ' ')
            at++;
        numbers[i] = memsc_take_number(&at);
    }
    return numbers[0] != 0 || numbers[1] != 0 || numbers[2] != UINT32_MAX;
}

/* The socket may have come down from another user, by a set-uid program: memory is handed to nobody who
 * could not look at it anyway. */
static bool may_know(int descriptor)
{
    struct credentials peer = {0, 0, 0};
    int32_t size = sizeof peer;
    if (MEMSC_SYS(SYS_getsockopt, descriptor, SOCKET_LEVEL, SO_PEERCRED, &peer, &size, 0) < 0)
        return false;
    return peer.user == 0 || peer.user == (uint32_t)MEMSC_SYS(SYS_geteuid, 0, 0, 0, 0, 0, 0) ||
           (peer.user == UNMAPPED && has_users_of_its_own());
}

void memsc_session_use(const struct memsc_options *options)
{
    if (!options->session_inode || memsc_keeps(MEMSC_KEPT_SOCKET) ||
        !may_know(options->session_socket))
        return;
    memsc_keep(MEMSC_KEPT_SOCKET, options->session_socket, 0, options->session_inode);
}

static bool may_pass(long error)
{
    return error == -ETOOMANYREFS || error == -ENOBUFS || error == -ENOMEM;
}

int memsc_tell(const char *text, size_t size, int descriptor)
{
    int socket = memsc_kept_at(MEMSC_KEPT_SOCKET);
    if (socket < 0)
        return -ENOTCONN;
    struct iovec part = {(void *)text, size};
    struct control control = {sizeof control - sizeof control.padding, SOCKET_LEVEL, RIGHTS,
                              descriptor, 0};
    struct message message = {.parts = &part, .count = 1};
    if (descriptor >= 0) {
        message.control = &control;
        message.control_size = sizeof control;
    }
    const struct timespec a_while = {.tv_nsec = 1000000};
    for (int tries = 0;; tries++) {
        long sent = MEMSC_SYS(SYS_sendmsg, socket, &message, NO_SIGNAL, 0, 0, 0);
        if (sent >= 0)
            return 0;
        if (may_pass(sent) && tries < TRIES)
            MEMSC_SYS(SYS_nanosleep, &a_while, 0, 0, 0, 0, 0);
        else if (sent != -EINTR)
            return (int)sent;
    }
}

/* By the header of the library, or of the program that has it in it. */
char *memsc_put_text(char *at, char *end)
{
    extern const Elf64_Ehdr __ehdr_start __attribute__((visibility("hidden")));
    const char *header = (const char *)&__ehdr_start;
    const Elf64_Phdr *parts = (const void *)(header + __ehdr_start.e_phoff), *text = NULL;
    uintptr_t base = 0;
    for (const Elf64_Phdr *part = parts; part < parts + __ehdr_start.e_phnum; part++) {
        if (part->p_type == PT_LOAD && part->p_offset == 0)
            base = (uintptr_t)header - part->p_vaddr;
        if (part->p_type == PT_LOAD && part->p_flags & PF_X)
            text = part;
    }
    at = memsc_put(at, end, "\"text\": [");
    at = memsc_put_number(at, end, text ? base + text->p_vaddr : 0);
    at = memsc_put(at, end, ", ");
    at = memsc_put_number(at, end, text ? base + text->p_vaddr + text->p_memsz : 0);
    return memsc_put(at, end, "]");
}

bool memsc_session_is_gone(void)
{
    struct {
        int32_t descriptor;
        int16_t wanted, found;
    } poll = {memsc_kept_at(MEMSC_KEPT_SOCKET), 0, 0};
    const struct timespec now = {0, 0};
    return poll.descriptor < 0 ||
           (MEMSC_SYS(SYS_ppoll, &poll, 1, &now, 0, 0, 0) == 1 && poll.found & POLLHUP);
}
