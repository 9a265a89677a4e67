/* SPDX-License-Identifier: MIT
 *
 * Finding the board, sitting down at it, seeing who else sits there.
 *
 * That a process has gone is told by the kernel: the thread that sits down registers its seat's
 * `owner` as a robust futex, and at the end of the thread, by exit, exec or SIGKILL alike, the kernel
 * writes there that the owner died. No descriptor is held and no process id is believed.
 */
#include "board.h"

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
    TRIES = 4,      /* to get hold of a board that is not just being removed */
    YIELDS = 16,    /* chances given to a newcomer */
};

uint32_t memsc_board_key_of(uint32_t user, uint32_t cpu, uint32_t attempt)
{
    uint64_t hash = ((uint64_t)user << 32 | cpu << 8 | attempt) + MEMSC_BOARD_VERSION;
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
static int try(struct memsc_turn *turn, uint32_t key, uint32_t user, uint32_t cpu)
{
    long id = MEMSC_SYS(SYS_shmget, key, sizeof(struct memsc_board), IPC_CREAT | 0600, 0, 0, 0);
    if (id < 0)
        return 0;
    long address = attach((int)id, 0, sizeof(struct memsc_board));
    if (address < 0)
        return address == -EINVAL || address == -EIDRM ? -EAGAIN : 0;
    struct memsc_board *board = (struct memsc_board *)address;
    struct shmid64_ds stat;
    uint64_t identity = (uint64_t)user << 32 | (cpu + 1), found = 0;
    int got = !stat_of((int)id, &stat) || stat.shm_perm.mode & DOOMED ? -EAGAIN
              : is_ours(&stat, user, sizeof(struct memsc_board)) &&
                      (atomic_compare_exchange_strong(&board->identity, &found, identity) ||
                       found == identity)
                  ? 1
                  : 0;
    if (got == 1) {
        turn->board = board;
        turn->id = (int)id;
    } else {
        MEMSC_SYS(SYS_shmdt, address, 0, 0, 0, 0, 0);
    }
    return got;
}

void memsc_board_open(struct memsc_turn *turn, uint32_t cpu)
{
    uint32_t user = (uint32_t)MEMSC_SYS(SYS_geteuid, 0, 0, 0, 0, 0, 0);
    for (uint32_t attempt = 0; attempt < MEMSC_BOARD_KEYS; attempt++) {
        int got = -EAGAIN;
        for (int i = 0; i < TRIES && got == -EAGAIN; i++)
            got = try(turn, memsc_board_key_of(user, cpu, attempt), user, cpu);
        if (got == 1)
            return;
    }
}

static void forget(struct memsc_view *view)
{
    if (view->pages)
        MEMSC_SYS(SYS_shmdt, view->pages, 0, 0, 0, 0, 0);
    view->pages = NULL;
}

void memsc_board_close(struct memsc_turn *turn)
{
    if (!turn->board)
        return;
    for (uint32_t i = 0; i < MEMSC_SEATS; i++)
        forget(&turn->views[i]);
    memsc_board_finish(turn);
    MEMSC_SYS(SYS_shmdt, turn->board, 0, 0, 0, 0, 0);
    turn->board = NULL;
    turn->seat = NULL;
}

void memsc_board_finish(const struct memsc_turn *turn)
{
    struct shmid64_ds stat;
    /* Who attaches meanwhile finds the mark and makes a new board. */
    if (turn->board && stat_of(turn->id, &stat) && stat.shm_nattch == 1)
        MEMSC_SYS(SYS_shmctl, turn->id, IPC_RMID, 0, 0, 0, 0);
}

void memsc_board_knock(const struct memsc_turn *turn)
{
    if (turn->board)
        atomic_fetch_add(&turn->board->changes, 1);
}

void memsc_board_sit(struct memsc_turn *turn, uint32_t pid, int pages_id, uint32_t scanner,
                     uint32_t services)
{
    struct memsc_board *board = turn->board;
    if (!board)
        return;
    uint32_t tid = (uint32_t)MEMSC_SYS(SYS_gettid, 0, 0, 0, 0, 0, 0);
    for (uint32_t i = 0; i < MEMSC_SEATS; i++) {
        struct memsc_seat *seat = &board->seats[i];
        if (!memsc_seat_empty(seat))
            continue;
        /* First the word for the kernel, then the seat: killed in between, it finds another owner
         * there, or none, and leaves it. */
        turn->robust.next = &turn->robust;
        turn->robust.offset = 0;
        turn->robust.pending = &seat->owner;
        MEMSC_SYS(SYS_set_robust_list, &turn->robust, sizeof turn->robust, 0, 0, 0, 0);
        uint32_t before = atomic_load(&seat->owner);
        if (!memsc_seat_empty(seat) || !atomic_compare_exchange_strong(&seat->owner, &before, tid))
            continue;
        uint32_t gone = i + 1;
        atomic_compare_exchange_strong(&board->holder, &gone, 0);
        atomic_store(&seat->state, MEMSC_SEAT_PARKED);
        atomic_store(&seat->pooled, 0);
        for (int k = 0; k < MEMSC_MAX_SERVICES; k++)
            atomic_store(&seat->parked[k], 0);
        atomic_store(&seat->pid, pid);
        atomic_store(&seat->pages_id, pages_id);
        atomic_store(&seat->scanner, scanner);
        atomic_store(&seat->services, services);
        atomic_fetch_add(&seat->generation, 1);
        uint32_t used = atomic_load(&board->seats_used);
        while (used <= i && !atomic_compare_exchange_strong(&board->seats_used, &used, i + 1))
            ;
        turn->me = i + 1;
        turn->changes = atomic_fetch_add(&board->changes, 1);
        /* Release: a caller that finds the seat finds the number. */
        atomic_store_explicit(&turn->seat, seat, memory_order_release);
        return;
    }
    turn->robust.pending = NULL;
}

/* Maps the segment of whoever sits there now. */
static void view(struct memsc_view *view, const struct memsc_seat *seat)
{
    uint32_t generation = atomic_load(&seat->generation);
    if (view->generation == generation)
        return;
    forget(view);
    view->generation = generation;
    /* Each value once: it is checked, and used, as it was read here. */
    uint32_t pid = atomic_load(&seat->pid);
    int id = atomic_load(&seat->pages_id);
    uint32_t services = atomic_load(&seat->services);
    view->scanner = atomic_load(&seat->scanner);
    view->services = services < MEMSC_MAX_SERVICES ? services : 0;
    if (id < 0)
        return;
    long address = attach(id, SHM_RDONLY, sizeof(struct memsc_pages));
    if (address < 0)
        return;
    struct shmid64_ds stat;
    uint32_t user = (uint32_t)MEMSC_SYS(SYS_geteuid, 0, 0, 0, 0, 0, 0);
    if (stat_of(id, &stat) && is_ours(&stat, user, sizeof(struct memsc_pages)) &&
        (uint32_t)stat.shm_cpid == pid)
        view->pages = (const struct memsc_pages *)address;
    else
        MEMSC_SYS(SYS_shmdt, address, 0, 0, 0, 0, 0);
}

void memsc_board_look_around(struct memsc_turn *turn)
{
    struct memsc_board *board = turn->board;
    uint32_t changes = atomic_load(&board->changes);
    if (turn->changes != changes)
        turn->yields = YIELDS;
    turn->changes = changes;
    turn->watched = 0;
    uint32_t used = atomic_load(&board->seats_used);
    for (uint32_t k = 1; k <= MEMSC_SEATS; k++) {
        /* In the order of the table behind one's own seat: so turns go round. */
        uint32_t i = (turn->me - 1 + k) % MEMSC_SEATS;
        if (i >= used || i + 1 == turn->me)
            continue;
        if (memsc_seat_empty(&board->seats[i])) {
            forget(&turn->views[i]);
            continue;
        }
        view(&turn->views[i], &board->seats[i]);
        if (turn->views[i].pages)
            turn->watch[turn->watched++] = (uint8_t)i;
    }
}
