/*
 * Copies of the catalog, for the day on which the catalog is lost: DIR/catalog.copies/TIME/, each
 * an environment like DIR/catalog. Made once a day and when somebody asks; the newest few are kept.
 * One is put back by kstreamctl restore-catalog, which leaves the file "restored" in it: then the
 * start adopts what journal and segments have that the copy does not (storage/adopt.c).
 *
 * Threads: one copy at a time, on whatever thread may wait for the disk; tick: main.
 */
#ifndef KS_DAEMON_CATALOG_COPY_H
#define KS_DAEMON_CATALOG_COPY_H

#include "daemon/readers.h"

struct ks_datadir;
struct ks_server;

struct ks_catalog_copies {
    struct ks_server *server;
    const struct ks_datadir *datadir;
    uint64_t next_unix_ms; /* main's: when the next one is due; 0: not looked yet */
    struct ks_job job;     /* of the daily one */
    _Atomic bool is_busy;  /* a copy is being made */
    _Atomic bool is_job_out;
};

#define KS_CATALOG_COPY_PATH_BYTES 4200
struct ks_catalog_copy {
    char path[KS_CATALOG_COPY_PATH_BYTES];
    uint64_t created_unix_ms;
    uint64_t bytes;
    uint32_t kept; /* copies there are now */
};

void ks_catalog_copies_init(
    struct ks_catalog_copies *copies, struct ks_server *server, const struct ks_datadir *datadir);
/* Waits for the disk. Events: catalog.copied, catalog.copy_failed. Errors: KS_IN_USE another one is
 * being made; KS_STORAGE_FULL; KS_IO. */
enum ks_status ks_catalog_copy_make(struct ks_catalog_copies *copies,
    struct ks_catalog_copy *out_copy, struct ks_error *err) KS_MUST_USE;
/* Once a second: sends for one when it is due. */
void ks_catalog_copies_tick(struct ks_catalog_copies *copies);

#endif
