/* SPDX-License-Identifier: MIT
 *
 * Finding the registry, joining it, seeing who else has joined.
 *
 * That a process has gone is told by the kernel: the thread that joins registers its member's
 * `owner` as a robust futex, and at the end of the thread, by exit, exec or SIGKILL alike, the kernel
 * writes there that the owner died. No descriptor is held and no process id is believed.
 */
#include "registry.h"

#include <errno.h>
#include <linux/futex.h>
#include <linux/ipc.h>
#include <linux/mman.h>
#include <linux/shm.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/syscall.h>

#include "cpu.h"

enum {
    DOOMED = 01000, /* SHM_DEST: marked for removal */
    TRIES = 4,      /* to get hold of a registry that is not just being removed */
    YIELDS = 16,    /* chances given to a newcomer */
};

uint32_t memsc_registry_key_of(uint32_t user, uint32_t cpu, uint32_t attempt)
{
    uint64_t hash = ((uint64_t)user << 32 | cpu << 8 | attempt) + MEMSC_REGISTRY_VERSION;
    hash *= 0x9e3779b97f4a7c15ull;
    hash ^= hash >> 29;
    hash *= 0xbf58476d1ce4e5b9ull;
    return 0x6d000000u | (uint32_t)(hash >> 40);
}

static bool stat_of(int id, struct shmid64_ds *stat)
{
    return MEMSC_SYS(SYS_shmctl, id, IPC_STAT, stat, 0, 0, 0) >= 0;
}

/* Whether the kernel says that it is this user's alone. */
static bool is_ours(const struct shmid64_ds *stat, uint32_t user, size_t size)
{
    return stat->shm_perm.uid == user && stat->shm_perm.cuid == user &&
           (stat->shm_perm.mode & 0777) == 0600 && stat->shm_segsz == size;
}

static long attach(int id, int flags, size_t size)
{
    long address = MEMSC_SYS(SYS_shmat, id, 0, flags, 0, 0, 0);
    if (address >= 0)
        MEMSC_SYS(SYS_madvise, address, size, MADV_DONTFORK, 0, 0, 0);
    return address;
}

/* One try at one key. 1: got it; 0: another user or purpose has the key; -EAGAIN: it is going. */
static int try(struct memsc_membership *membership, uint32_t key, uint32_t user, uint32_t cpu)
{
    long id = MEMSC_SYS(SYS_shmget, key, sizeof(struct memsc_registry), IPC_CREAT | 0600, 0, 0, 0);
    if (id < 0)
        return 0;
    long address = attach((int)id, 0, sizeof(struct memsc_registry));
    if (address < 0)
        return address == -EINVAL || address == -EIDRM ? -EAGAIN : 0;
    struct memsc_registry *registry = (struct memsc_registry *)address;
    struct shmid64_ds stat;
    uint64_t identity = (uint64_t)user << 32 | (cpu + 1), found = 0;
    int got = !stat_of((int)id, &stat) || stat.shm_perm.mode & DOOMED ? -EAGAIN
              : is_ours(&stat, user, sizeof(struct memsc_registry)) &&
                      (atomic_compare_exchange_strong(&registry->identity, &found, identity) ||
                       found == identity)
                  ? 1
                  : 0;
    if (got == 1) {
        membership->registry = registry;
        membership->id = (int)id;
    } else {
        MEMSC_SYS(SYS_shmdt, address, 0, 0, 0, 0, 0);
    }
    return got;
}

void memsc_registry_open(struct memsc_membership *membership, uint32_t cpu)
{
    uint32_t user = (uint32_t)MEMSC_SYS(SYS_geteuid, 0, 0, 0, 0, 0, 0);
    for (uint32_t attempt = 0; attempt < MEMSC_REGISTRY_KEYS; attempt++) {
        int got = -EAGAIN;
        for (int i = 0; i < TRIES && got == -EAGAIN; i++)
            got = try(membership, memsc_registry_key_of(user, cpu, attempt), user, cpu);
        if (got == 1)
            return;
    }
}

static void forget(struct memsc_neighbour *neighbour)
{
    if (neighbour->pages)
        MEMSC_SYS(SYS_shmdt, neighbour->pages, 0, 0, 0, 0, 0);
    neighbour->pages = NULL;
}

void memsc_registry_close(struct memsc_membership *membership)
{
    if (!membership->registry)
        return;
    for (uint32_t i = 0; i < MEMSC_MEMBERS; i++)
        forget(&membership->neighbours[i]);
    memsc_registry_finish(membership);
    MEMSC_SYS(SYS_shmdt, membership->registry, 0, 0, 0, 0, 0);
    membership->registry = NULL;
    membership->member = NULL;
}

void memsc_registry_finish(const struct memsc_membership *membership)
{
    struct shmid64_ds stat;
    /* Who attaches meanwhile finds the mark and makes a new registry. */
    if (membership->registry && stat_of(membership->id, &stat) && stat.shm_nattch == 1)
        MEMSC_SYS(SYS_shmctl, membership->id, IPC_RMID, 0, 0, 0, 0);
}

void memsc_registry_announce(const struct memsc_membership *membership)
{
    if (membership->registry)
        atomic_fetch_add(&membership->registry->changes, 1);
}

void memsc_registry_join(struct memsc_membership *membership, uint32_t pid, int pages_id,
                         uint32_t scanner, uint32_t services)
{
    struct memsc_registry *registry = membership->registry;
    if (!registry)
        return;
    uint32_t tid = (uint32_t)MEMSC_SYS(SYS_gettid, 0, 0, 0, 0, 0, 0);
    for (uint32_t i = 0; i < MEMSC_MEMBERS; i++) {
        struct memsc_member *member = &registry->members[i];
        if (!memsc_member_gone(member))
            continue;
        /* First the word for the kernel, then the member's: killed in between, it finds another owner
         * there, or none, and leaves it. */
        membership->robust.next = &membership->robust;
        membership->robust.offset = 0;
        membership->robust.pending = &member->owner;
        /* An emulator of programs has no such list: who joined there would never be known to be gone. */
        if (MEMSC_SYS(SYS_set_robust_list, &membership->robust, sizeof membership->robust, 0, 0, 0,
                      0) < 0)
            break;
        uint32_t before = atomic_load(&member->owner);
        if (!memsc_member_gone(member) ||
            !atomic_compare_exchange_strong(&member->owner, &before, tid))
            continue;
        uint32_t gone = i + 1;
        atomic_compare_exchange_strong(&registry->holder, &gone, 0);
        atomic_store(&member->state, MEMSC_MEMBER_PARKED);
        atomic_store(&member->pooled, 0);
        for (int k = 0; k < MEMSC_MAX_SERVICES; k++)
            atomic_store(&member->parked[k], 0);
        atomic_store(&member->pid, pid);
        atomic_store(&member->pages_id, pages_id);
        atomic_store(&member->scanner, scanner);
        atomic_store(&member->services, services);
        atomic_fetch_add(&member->generation, 1);
        uint32_t used = atomic_load(&registry->members_used);
        while (used <= i && !atomic_compare_exchange_strong(&registry->members_used, &used, i + 1))
            ;
        membership->me = i + 1;
        membership->changes = atomic_fetch_add(&registry->changes, 1);
        /* Release: a caller that finds the member finds its number. */
        store_release(&membership->member, member);
        return;
    }
    membership->robust.pending = NULL;
}

/* Maps the segment of the member that is there now. */
static void map_pages(struct memsc_neighbour *neighbour, const struct memsc_member *member)
{
    uint32_t generation = atomic_load(&member->generation);
    if (neighbour->generation == generation)
        return;
    forget(neighbour);
    neighbour->generation = generation;
    /* Each value once: it is checked, and used, as it was read here. */
    uint32_t pid = atomic_load(&member->pid);
    int id = atomic_load(&member->pages_id);
    uint32_t services = atomic_load(&member->services);
    neighbour->scanner = atomic_load(&member->scanner);
    neighbour->services = services < MEMSC_MAX_SERVICES ? services : 0;
    if (id < 0)
        return;
    long address = attach(id, SHM_RDONLY, sizeof(struct memsc_pages));
    if (address < 0)
        return;
    struct shmid64_ds stat;
    uint32_t user = (uint32_t)MEMSC_SYS(SYS_geteuid, 0, 0, 0, 0, 0, 0);
    if (stat_of(id, &stat) && is_ours(&stat, user, sizeof(struct memsc_pages)) &&
        (uint32_t)stat.shm_cpid == pid)
        neighbour->pages = (const struct memsc_pages *)address;
    else
        MEMSC_SYS(SYS_shmdt, address, 0, 0, 0, 0, 0);
}

void memsc_registry_refresh(struct memsc_membership *membership)
{
    struct memsc_registry *registry = membership->registry;
    uint32_t changes = atomic_load(&registry->changes);
    if (membership->changes != changes)
        membership->yields = YIELDS;
    membership->changes = changes;
    membership->watched = 0;
    uint32_t used = atomic_load(&registry->members_used);
    for (uint32_t k = 1; k <= MEMSC_MEMBERS; k++) {
        /* In the order of the table behind one's own place: so the token goes round. */
        uint32_t i = (membership->me - 1 + k) % MEMSC_MEMBERS;
        if (i >= used || i + 1 == membership->me)
            continue;
        if (memsc_member_gone(&registry->members[i])) {
            forget(&membership->neighbours[i]);
            continue;
        }
        map_pages(&membership->neighbours[i], &registry->members[i]);
        if (membership->neighbours[i].pages)
            membership->watch[membership->watched++] = (uint8_t)i;
    }
}
