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

/* One part, at its distance from the first. */
static bool map(const struct memsc_image *image, const ElfW(Phdr) * header, uintptr_t first, int fd)
{
    size_t within = header->p_vaddr % page();
    /* Of what can be executed nearly all is looked at. Shared: into a private mapping the kernel puts probes, too. */
    int flags = MAP_SHARED | MAP_FIXED | (header->p_flags & PF_X ? MAP_POPULATE : 0);
    return mmap(image->address + (header->p_vaddr - within - first), within + header->p_filesz,
                PROT_READ, flags, fd, (off_t)(header->p_offset - within)) != MAP_FAILED;
}

/* The first page has the headers and, where linkers put it, the build's own number. */
static bool is_same(const struct memsc_image *image, const ElfW(Phdr) * first)
{
    size_t size = first->p_filesz < page() ? first->p_filesz : page();
    return memcmp(image->address, image->address + image->to_live, size) == 0;
}

void memsc_image_open(struct memsc_image *image)
{
    const struct dl_phdr_info *info = &image->info;
    uintptr_t begin = UINTPTR_MAX, end = 0;
    const ElfW(Phdr) *first = NULL;
    image->address = NULL;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        if (!is_mapped(header))
            continue;
        if (!first) { /* they are in the order of their addresses */
            first = header;
            begin = header->p_vaddr & ~(uintptr_t)(page() - 1);
        }
        end = page_up(header->p_vaddr + header->p_filesz);
    }
    int fd = first && !first->p_offset ? open(info->dlpi_name, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    image->size = end - begin;
    image->address =
        mmap(NULL, image->size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    bool good = image->address != MAP_FAILED;
    if (!good)
        image->address = NULL;
    image->to_live = (uint8_t *)info->dlpi_addr + begin - image->address;
    for (int i = 0; good && i < info->dlpi_phnum; i++)
        if (is_mapped(&info->dlpi_phdr[i]))
            good = map(image, &info->dlpi_phdr[i], begin, fd);
    close(fd);
    if (image->address && (!good || !is_same(image, first)))
        memsc_image_close(image);
}

void memsc_image_close(struct memsc_image *image)
{
    /* By itself: through the C library, whose calls are led to the runtime by now, it would start a service. */
    if (image->address)
        MEMSC_SYS(SYS_munmap, image->address, image->size, 0, 0, 0, 0);
    image->address = NULL;
}
