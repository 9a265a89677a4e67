/* SPDX-License-Identifier: MIT
 *
 * The layer's slots once more, near a library that is too far from them: an image of the layer's own file, so that
 * whoever looks up an address there finds slots. Only they are ever executed. In the image the description of frames is
 * at the same distance from the slots as in the layer, so it holds for them as it is; but unwinders look for it in what
 * the loader has loaded, and have to be told.
 *
 * Runs while the C library still can.
 */
#include "rewrite.h"

#include <dlfcn.h>
#include <string.h>
#include <sys/mman.h>

#include "image.h"
#include "objects.h"
#include "slots.h"
#include "stub.h"

static bool reach_each_other(const uint8_t *text, const uint8_t *slots)
{
    return memsc_reaches(text, slots) && memsc_reaches(text, slots + MEMSC_AREA_BYTES);
}

/* Addresses of nobody's that are as near as can be. */
static uint8_t *reserve(const uint8_t *text, const uint8_t *text_end, size_t size, size_t to_slots)
{
    enum { STEP = 256 << 10, FARTHEST = 128 << 20 };
    for (uintptr_t distance = STEP; distance <= FARTHEST; distance += STEP)
        for (int above = 0; above < 2; above++) {
            uintptr_t wanted =
                above ? (uintptr_t)text_end + distance : (uintptr_t)text - distance - size;
            uint8_t *at = (uint8_t *)(wanted & -(uintptr_t)STEP);
            if (!reach_each_other(text, at + to_slots) ||
                !reach_each_other(text_end, at + to_slots))
                continue;
            int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE;
            void *got = mmap(at, size, PROT_NONE, flags, -1, 0);
            if (got == at)
                return at;
            if (got != MAP_FAILED) /* a kernel that does not know the flag */
                munmap(got, size);
        }
    return NULL;
}

/* Where the descriptions of frames begin, by the header in front of their table (LSB core, 10.6.1). */
static const uint8_t *frames_of(const struct memsc_image *image)
{
    enum { PC_RELATIVE_SIGNED_4 = 0x1b, PLACE = 4 };
    const struct dl_phdr_info *info = &image->info;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const uint8_t *header =
            (uint8_t *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr) - image->to_live;
        int32_t offset;
        if (info->dlpi_phdr[i].p_type != PT_GNU_EH_FRAME || header[1] != PC_RELATIVE_SIGNED_4)
            continue;
        memcpy(&offset, header + PLACE, sizeof offset);
        return header + PLACE + offset;
    }
    return NULL;
}

/* By the library that the C library takes for threads that are cancelled, and that C++ takes; without it there are
 * neither. It sorts descriptions when it is first asked for one, for which it allocates: now, and not in a handler. */
static void describe(const uint8_t *frames, uint8_t *slots)
{
    void *unwinder = dlopen("libgcc_s.so.1", RTLD_NOW);
    void (*add)(const void *) = NULL;
    const void *(*find)(void *, void **) = NULL;
    void *bases[3];
    if (!unwinder || !frames) {
        dlerror(); /* a program finds none */
        return;
    }
    *(void **)&add = dlsym(unwinder, "__register_frame");
    *(void **)&find = dlsym(unwinder, "_Unwind_Find_FDE");
    if (!add || !find)
        return;
    add(frames);
    find(slots, bases);
}

uint8_t *memsc_area_near(const uint8_t *text, const uint8_t *text_end)
{
    struct memsc_image image = {.info = memsc_own_info()};
    const uint8_t *live = memsc_image_measure(&image);
    uint8_t *place =
        live ? reserve(text, text_end, image.size, (size_t)(memsc_stubs - live)) : NULL;
    if (!place)
        return NULL;
    memsc_image_open(&image, place);
    if (!image.address)
        return NULL;
    uint8_t *slots = memsc_stubs - image.to_live;
    describe(frames_of(&image), slots);
    return slots;
}
