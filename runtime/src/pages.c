/* SPDX-License-Identifier: MIT
 *
 * The segment that holds the syspages.
 *
 * System V shared memory, because it cannot be truncated under a process that maps it (a file can, and then
 * every access is a SIGBUS), is found without a descriptor (a program may close all), and ends by
 * itself: it is marked for removal at birth, and Linux lets others attach it by its number as long as
 * one process does.
 */
#include <errno.h>
#include <linux/ipc.h>
#include <linux/mman.h>
#include <linux/shm.h>
#include <sys/syscall.h>

#include "cpu.h"
#include "process.h"

static long attach(int *id)
{
    *id = (int)MEMSC_SYS(SYS_shmget, IPC_PRIVATE, sizeof(struct memsc_pages),
                         IPC_CREAT | SHM_NORESERVE | 0600, 0, 0, 0);
    if (*id < 0)
        return *id;
    long address = MEMSC_SYS(SYS_shmat, *id, 0, 0, 0, 0, 0);
    MEMSC_SYS(SYS_shmctl, *id, IPC_RMID, 0, 0, 0, 0);
    return address;
}

int memsc_pages_create(struct memsc_process *process)
{
    long address = attach(&process->pages_id);
    if (address < 0) {
        /* A kernel without, or a limit reached: this process shares no service CPU with others. */
        process->pages_id = -1;
        address = MEMSC_SYS(SYS_mmap, 0, sizeof(struct memsc_pages), PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (address < 0)
            return (int)address;
    }
    /* A forked child must not write its parent's entries. */
    MEMSC_SYS(SYS_madvise, address, sizeof(struct memsc_pages), MADV_DONTFORK, 0, 0, 0);
    process->pages = (struct memsc_pages *)address;
    process->pages->version = MEMSC_LAYOUT_VERSION;
    process->pages->pid = process->region->pid;
    process->pages->magic = MEMSC_MAGIC;
    return 0;
}

bool memsc_pages_are_foreign(const struct memsc_process *process)
{
    struct shmid64_ds stat;
    return process->pages_id >= 0 &&
           MEMSC_SYS(SYS_shmctl, process->pages_id, IPC_STAT, &stat, 0, 0, 0) == 0 &&
           stat.shm_cpid == 0; /* who made it has no number here */
}

void memsc_pages_destroy(struct memsc_process *process)
{
    if (!process->pages)
        return;
    if (process->pages_id >= 0)
        MEMSC_SYS(SYS_shmdt, process->pages, 0, 0, 0, 0, 0);
    else
        MEMSC_SYS(SYS_munmap, process->pages, sizeof(struct memsc_pages), 0, 0, 0, 0);
    process->pages = 0;
}
