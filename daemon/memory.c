#include "daemon/memory.h"

#include <malloc.h>

/* Kept at the end of each heap; beyond it memory goes back at once. */
#define KEPT_BYTES (64 << 20)
/* Larger pieces are mapped and unmapped one by one; the largest frame is half of it. */
#define MAPPED_BYTES (32 << 20)
#define FIRST_IDLE_TICK 2u
#define IDLE_TICKS 60u

void ks_memory_init(void)
{
    /* Many threads, few allocations each: an arena per thread would cost more memory than it saves
     * time. */
    mallopt(M_ARENA_MAX, 2);
    mallopt(M_TRIM_THRESHOLD, KEPT_BYTES);
    mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES);
}

void ks_memory_release(void)
{
    malloc_trim(0);
}

bool ks_memory_tick(struct ks_memory *memory, uint64_t progress, bool is_held)
{
    bool has_moved = progress != memory->seen;
    memory->seen = progress;
    memory->is_working = memory->is_working || has_moved;
    memory->idle_ticks = memory->is_working ? 0 : memory->idle_ticks + 1;
    /* Work that is not counted leaves something as well: the start, a copy of the catalog. */
    bool is_due = memory->is_working || memory->idle_ticks % IDLE_TICKS == FIRST_IDLE_TICK;
    if (!is_due || has_moved || is_held)
        return false;
    memory->is_working = false;
    ks_memory_release();
    return true;
}
