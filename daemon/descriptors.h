/*
 * How the process's descriptors are shared out: the engine's files first, then the HTTP door's few,
 * connections get the rest.
 * Running out in the middle of a flush would be worse than refusing a connection.
 */
#ifndef KS_DAEMON_DESCRIPTORS_H
#define KS_DAEMON_DESCRIPTORS_H

#include "base/events.h"

struct ks_descriptors {
    uint64_t limit;           /* RLIMIT_NOFILE, raised as far as it goes */
    uint32_t flush_files_max; /* that the flusher may hold open at a time */
    uint32_t connections_max;
};

struct ks_descriptors_wish {
    uint32_t flush_files;
    uint32_t journal_files;
    uint64_t connections;
};

/* Raises the soft limit to the hard one; returns what it is now. */
uint64_t ks_descriptors_raise(void);
/* Connections that the HTTP door may have of so many. */
uint32_t ks_descriptors_http(uint64_t limit);
/* Raises and shares out. */
void ks_descriptors_share(const struct ks_descriptors_wish *wish, const struct ks_events *events,
    struct ks_descriptors *out);
/* The arithmetic alone: limit is what there is. */
void ks_descriptors_divide(
    const struct ks_descriptors_wish *wish, uint64_t limit, struct ks_descriptors *out);

#endif
