/* SPDX-License-Identifier: MIT */
#include "objects.h"

#include <elf.h>
#include <link.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/auxv.h>

/* Weak: a program of another C library in a chain is given the layer, too, and must start. */
extern const char *gnu_get_libc_version(void) __attribute__((weak));

struct search {
    struct memsc_object *objects;
    uint32_t count;
    uintptr_t loader, library;
};

static bool is_wanted(const struct dl_phdr_info *info, const struct memsc_object *object,
                      const struct search *search)
{
    const char *slash = strrchr(info->dlpi_name, '/');
    const char *name = slash ? slash + 1 : info->dlpi_name;
    /* Before glibc 2.34 threads had a library of their own. */
    return info->dlpi_addr == search->loader || strncmp(name, "libpthread", 10) == 0 ||
           ((uintptr_t)object->text <= search->library &&
            search->library < (uintptr_t)object->text_end);
}

static int look_at(struct dl_phdr_info *info, size_t size, void *context)
{
    (void)size;
    struct search *search = context;
    struct memsc_object object = {.text = NULL};
    const uint8_t *frames = NULL;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        uint8_t *address = (uint8_t *)(info->dlpi_addr + header->p_vaddr);
        if (header->p_type == PT_GNU_EH_FRAME)
            frames = address;
        if (header->p_type == PT_LOAD && header->p_flags == (PF_R | PF_X) && !object.text) {
            object.text = address;
            object.text_end = address + header->p_memsz;
        }
    }
    if (object.text && frames && is_wanted(info, &object, search) &&
        memsc_frames_open(&object.frames, frames) && search->count < MEMSC_MAX_OBJECTS)
        search->objects[search->count++] = object;
    return 0;
}

uint32_t memsc_objects(struct memsc_object objects[MEMSC_MAX_OBJECTS])
{
    struct search search = {
        .objects = objects,
        .loader = getauxval(AT_BASE),
        .library = (uintptr_t)gnu_get_libc_version,
    };
    if (gnu_get_libc_version)
        dl_iterate_phdr(look_at, &search);
    return search.count;
}
