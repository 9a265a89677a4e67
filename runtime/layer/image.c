/* SPDX-License-Identifier: MIT */
#include "image.h"

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../src/cpu.h"

static size_t page(void)
{
    return getauxval(AT_PAGESZ);
}

static bool is_mapped(const ElfW(Phdr) * header)
{
    return header->p_type == PT_LOAD && !(header->p_flags & PF_W) && header->p_filesz;
}

static uintptr_t page_up(uintptr_t address)
{
    return (address + page() - 1) & ~(uintptr_t)(page() - 1);
}

/* The first part; they are in the order of their addresses. NULL: there is none. */
static const ElfW(Phdr) * first_of(const struct dl_phdr_info *info)
{
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (is_mapped(&info->dlpi_phdr[i]))
            return &info->dlpi_phdr[i];
    return NULL;
}

static uintptr_t begin_of(const ElfW(Phdr) * first)
{
    return first->p_vaddr & ~(uintptr_t)(page() - 1);
}

/* One part, at its distance from the first. Of what can be executed nearly all is looked at. Shared, unless it is to be
 * changed: into a private mapping the kernel puts probes, too. */
static bool map(const struct memsc_image *image, const ElfW(Phdr) * header, uintptr_t begin, int fd,
                int sharing)
{
    size_t within = header->p_vaddr % page();
    int flags = sharing | MAP_FIXED | (header->p_flags & PF_X ? MAP_POPULATE : 0);
    return mmap(image->address + (header->p_vaddr - within - begin), within + header->p_filesz,
                PROT_READ, flags, fd, (off_t)(header->p_offset - within)) != MAP_FAILED;
}

/* The first page has the headers and, where linkers put it, the build's own number. */
static bool is_same(const struct memsc_image *image, const ElfW(Phdr) * first)
{
    size_t size = first->p_filesz < page() ? first->p_filesz : page();
    return memcmp(image->address, image->address + image->to_live, size) == 0;
}

uint8_t *memsc_image_measure(struct memsc_image *image)
{
    const struct dl_phdr_info *info = &image->info;
    const ElfW(Phdr) *first = first_of(info);
    if (!first)
        return NULL;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        if (is_mapped(header))
            image->size = page_up(header->p_vaddr + header->p_filesz) - begin_of(first);
    }
    return (uint8_t *)info->dlpi_addr + begin_of(first);
}

static void *reserve(size_t size)
{
    return mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

void memsc_image_open(struct memsc_image *image, uint8_t *place)
{
    const struct dl_phdr_info *info = &image->info;
    const char *name =
        *info->dlpi_name ? info->dlpi_name : "/proc/self/exe"; /* the program itself */
    const ElfW(Phdr) *first = first_of(info);
    uint8_t *live = memsc_image_measure(image);
    image->address = place;
    int fd = first && !first->p_offset ? open(name, O_RDONLY | O_CLOEXEC) : -1;
    if (fd >= 0 && !place)
        image->address = reserve(image->size);
    bool good = fd >= 0 && image->address != MAP_FAILED;
    if (image->address == MAP_FAILED)
        image->address = NULL;
    image->to_live = live - image->address;
    for (int i = 0; good && i < info->dlpi_phnum; i++)
        if (is_mapped(&info->dlpi_phdr[i]))
            good = map(image, &info->dlpi_phdr[i], begin_of(first), fd,
                       place ? MAP_PRIVATE : MAP_SHARED);
    if (fd >= 0)
        close(fd);
    if (!good || !is_same(image, first))
        memsc_image_close(image);
}

void memsc_image_close(struct memsc_image *image)
{
    /* By itself: through the C library, whose calls are led to the runtime by now, it would start a service. */
    if (image->address)
        MEMSC_SYS(SYS_munmap, image->address, image->size, 0, 0, 0, 0);
    image->address = NULL;
}
