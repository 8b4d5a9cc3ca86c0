/*
 * What malloc keeps for the next record. Tails and frames come and go in pieces of hundreds of KiB;
 * given back to the kernel each time, every page of them is faulted in and zeroed again. So freed
 * memory is kept while work goes on, and given back once it has stopped.
 * Threads: main.
 */
#ifndef KS_DAEMON_MEMORY_H
#define KS_DAEMON_MEMORY_H

#include "base/defs.h"

struct ks_memory {
    uint64_t seen;       /* how far the work had come at the last tick */
    bool is_working;     /* it has gone on since memory was last given back */
    uint64_t idle_ticks; /* since then */
};

/* Before threads exist. */
void ks_memory_init(void);
/* Freed memory goes back to the kernel now. */
void ks_memory_release(void);
/*
 * About once a second. progress: anything that rises with work done; is_held: memory of that work
 * is still in use (records wait to be flushed). True: freed memory was given back to the kernel.
 */
bool ks_memory_tick(struct ks_memory *memory, uint64_t progress, bool is_held);

#endif
