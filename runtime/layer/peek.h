/* SPDX-License-Identifier: MIT
 *
 * Reading what a program passes before the kernel has looked at it: it may not be there. Programs probe for
 * system calls with nonsense, which the kernel forgives, so we must.
 */
#ifndef MEMSC_LAYER_PEEK_H
#define MEMSC_LAYER_PEEK_H

#include <stdbool.h>
#include <stdint.h>

/* Copies what is there, from the beginning on; returns how much. */
uint64_t memsc_peek_bytes(void *to, uint64_t from, uint64_t size);

/* The word at an address, 0 if there is none. */
uint64_t memsc_peek(uint64_t address);

/* The string at an address, or as much of it as there is room for; false if there is none. The bytes behind
 * it are zero up to the next multiple of eight. */
bool memsc_peek_string(char *string, uint64_t room, uint64_t address);

#endif
