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

enum { MOST_SYMBOLS = 100000 };

struct search {
    struct memsc_object *objects;
    struct memsc_image *images;
    uint32_t count;
    uintptr_t loader, library;
    struct memsc_object *own;
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

/* How many symbols there are nobody says; but in all of today's files their names follow them. */
static void find_symbols(struct memsc_object *object, const ElfW(Dyn) * dynamic,
                         const struct dl_phdr_info *info)
{
    uintptr_t symbols = 0, names = 0;
    for (; dynamic && dynamic->d_tag != DT_NULL; dynamic++) {
        if (dynamic->d_tag == DT_SYMTAB)
            symbols = dynamic->d_un.d_ptr;
        if (dynamic->d_tag == DT_STRTAB)
            names = dynamic->d_un.d_ptr;
    }
    /* Most loaders have made them addresses. */
    if (symbols < info->dlpi_addr)
        symbols += info->dlpi_addr, names += info->dlpi_addr;
    object->symbol_base = (uint8_t *)info->dlpi_addr;
    if (names > symbols && names - symbols < MOST_SYMBOLS * sizeof(ElfW(Sym))) {
        object->symbols = (const void *)symbols;
        object->symbol_count = (uint32_t)((names - symbols) / sizeof(ElfW(Sym)));
    }
}

/* The name that the linker gave to what it made, in a note. */
static void find_build(struct memsc_object *object, const uint8_t *notes, size_t size)
{
    for (const uint8_t *at = notes, *end = notes + size;
         end - at >= (ptrdiff_t)sizeof(ElfW(Nhdr));) {
        ElfW(Nhdr) note;
        memcpy(&note, at, sizeof note);
        const uint8_t *name = at + sizeof note;
        const uint8_t *content = name + ((note.n_namesz + 3) & ~3u);
        at = content + ((note.n_descsz + 3) & ~3u);
        if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == sizeof ELF_NOTE_GNU && at <= end &&
            memcmp(name, ELF_NOTE_GNU, sizeof ELF_NOTE_GNU) == 0) {
            object->build = content;
            object->build_size = note.n_descsz;
        }
    }
}

static int look_at(struct dl_phdr_info *info, size_t size, void *context)
{
    (void)size;
    struct search *search = context;
    struct memsc_object object = {.text = NULL};
    const uint8_t *frames = NULL;
    const ElfW(Dyn) *dynamic = NULL;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        uint8_t *address = (uint8_t *)(info->dlpi_addr + header->p_vaddr);
        if (header->p_type == PT_GNU_EH_FRAME)
            frames = address;
        if (header->p_type == PT_DYNAMIC)
            dynamic = (const void *)address;
        if (header->p_type == PT_NOTE)
            find_build(&object, address, header->p_memsz);
        if (header->p_type == PT_LOAD && header->p_flags == (PF_R | PF_X) && !object.text) {
            object.text = address;
            object.text_end = address + header->p_memsz;
        }
    }
    const uint8_t *here = (const uint8_t *)look_at;
    if (object.text <= here && here < object.text_end)
        *search->own = object;
    if (!object.text || !frames || search->count == MEMSC_MAX_OBJECTS ||
        !is_wanted(info, &object, search) || !memsc_frames_open(&object.frames, frames))
        return 0;
    find_symbols(&object, dynamic, info);
    search->images[search->count] = (struct memsc_image){.info = *info};
    search->objects[search->count++] = object;
    return 0;
}

uint32_t memsc_objects(struct memsc_object objects[MEMSC_MAX_OBJECTS],
                       struct memsc_image images[MEMSC_MAX_OBJECTS], struct memsc_object *own)
{
    struct search search = {
        .objects = objects,
        .images = images,
        .loader = getauxval(AT_BASE),
        .library = (uintptr_t)gnu_get_libc_version,
        .own = own,
    };
    if (gnu_get_libc_version)
        dl_iterate_phdr(look_at, &search);
    return search.count;
}

void memsc_object_open(struct memsc_object *object, struct memsc_image *image)
{
    memsc_image_open(image, NULL);
    if (!image->address)
        return;
    object->to_live = image->to_live;
    object->text -= object->to_live;
    object->text_end -= object->to_live;
    object->symbol_base -= object->to_live;
    object->frames.header -= object->to_live;
    object->frames.table = (const void *)((const uint8_t *)object->frames.table - object->to_live);
}

static int look_for_own(struct dl_phdr_info *info, size_t size, void *context)
{
    (void)size;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        uintptr_t start = info->dlpi_addr + header->p_vaddr, here = (uintptr_t)look_for_own;
        if (header->p_type == PT_LOAD && here >= start && here < start + header->p_memsz)
            *(struct dl_phdr_info *)context = *info;
    }
    return 0;
}

struct dl_phdr_info memsc_own_info(void)
{
    struct dl_phdr_info info = {.dlpi_name = ""};
    dl_iterate_phdr(look_for_own, &info);
    return info;
}

const char *memsc_own_path(void)
{
    return memsc_own_info().dlpi_name;
}
