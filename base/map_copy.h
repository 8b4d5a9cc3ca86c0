/*
 * Reading mapped files without dying. A mapping faults with SIGBUS when the file is shorter than
 * the map or its page cannot be read from the disk; a copy made here turns that into a result.
 * Threads: any, each has its own guard.
 */
#ifndef KS_BASE_MAP_COPY_H
#define KS_BASE_MAP_COPY_H

#include "base/defs.h"

/*
 * Installs the SIGBUS handler of the process; once, before threads start. A SIGBUS outside
 * ks_map_copy does what it did without the handler: it ends the process.
 */
void ks_map_guard_install(void);

/* memcpy out of a mapping. False when the mapping faulted; what is in to is then undefined. bytes
 * may be 0. */
bool ks_map_copy(void *to, const void *from_mapping, size_t bytes) KS_MUST_USE;

#endif
