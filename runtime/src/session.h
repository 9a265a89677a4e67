/* SPDX-License-Identifier: MIT
 *
 * A process's way to its session: one end of a pair of connected sockets (AF_UNIX, SOCK_SEQPACKET) that the
 * session hands down to its program, and that whatever this starts inherits. It needs no path, no
 * environment and no rights, and leads nowhere but to the session, which says nothing in return: a process
 * that has it can tell of itself and hand over memory of its own, and see nobody else's.
 *
 * MEMSC_SOCKET names it: its descriptor, and the inode that tells it from any other that has its number.
 */
#ifndef MEMSC_SESSION_H
#define MEMSC_SESSION_H

#include <stdbool.h>
#include <stddef.h>

#include "memsc.h"

/* Takes the session that the options name, if there is none yet: it is still there, and it is this user's
 * own or root's, for it will see all that this process calls. Otherwise there is none. */
void memsc_session_use(const struct memsc_options *options);

/* Sends a message, a descriptor with it unless that is -1. Waits while the session is slow. 0 or -errno. */
int memsc_tell(const char *text, size_t size, int descriptor);

/* Appends, for a message, where the instructions are from which the runtime makes its calls, and the layer with
 * it: by them the session knows calls of a process that it does not see. See memsc_put. */
char *memsc_put_text(char *at, char *end);

/* Whether nobody will ever read what this process records. */
bool memsc_session_is_gone(void);

#endif
