/*
 * A disk that is plain memory: every call does what it says and nothing more, so that what is
 * counted on top of it is the engine's work. Nothing survives. Threads: one.
 */
#ifndef KS_TESTS_BENCH_MEMORY_DISK_H
#define KS_TESTS_BENCH_MEMORY_DISK_H

#include "storage/io.h"

/* NULL: no memory. */
struct ks_io *memory_disk_create(void);
void memory_disk_destroy(struct ks_io *io); /* its files are closed */

#endif
