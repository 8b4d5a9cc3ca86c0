/*
 * The data directory from outside the engine: made, locked, judged, its catalog checked before it
 * is trusted, its catalog and index opened.
 *
 *   lock            held while the process lives (storage/io.h)
 *   clean           there if the last run stopped in order; removed at start
 *   run             number of the current run
 *   iterator.key    daemon/iterator.h
 *   clock           daemon/timekeeper.h
 *   addresses       daemon/addresses.h
 *   history/        daemon/history.h
 *   catalog/ index/ LMDB; catalog/restored: it is a copy, put back (daemon/catalog_copy.h)
 *   catalog.copies/ copies of the catalog
 *   journal/ segments/ quarantine/  the engine's
 */
#ifndef KS_DAEMON_DATADIR_H
#define KS_DAEMON_DATADIR_H

#include "base/events.h"
#include "base/status.h"
#include "storage/io.h"
#include "storage/kv.h"

#include <sys/types.h>

#define KS_CATALOG_COPIES_DIR "catalog.copies"

struct ks_datadir {
    char path[4096];
    struct ks_io *io;
    struct ks_kv *catalog;
    struct ks_kv *index; /* the engine's, which closes it; here to be synced by mark_clean */
    uint64_t run_id;
    bool was_clean;
    bool is_catalog_copy; /* put back by restore-catalog, and not yet brought up to date */
    pid_t checker;        /* the forked catalog check under way; 0 = none */
    int checker_pipe;
};

struct ks_datadir_options {
    const char *path;
    bool is_unsafe_fs_allowed;
    const struct ks_events *events;
};

/*
 * Makes (durably) and locks the directory; after an unclean stop forks the catalog's check. Before
 * threads exist. Errors: KS_IN_USE another broker has it; KS_UNSUPPORTED a file system that loses
 * data; KS_STORAGE_FULL; KS_IO.
 */
enum ks_status ks_datadir_open(const struct ks_datadir_options *options, struct ks_datadir *dir,
    struct ks_error *err) KS_MUST_USE;
/* Waits for the check, then opens the catalog. on_progress (may be NULL) is called whenever the
 * check has got on. Errors: KS_CORRUPT the check failed or died: the text says what to do. */
enum ks_status ks_datadir_open_catalog(struct ks_datadir *dir, void (*on_progress)(void *arg),
    void *arg, struct ks_error *err) KS_MUST_USE;
/* The engine has brought the copy up to date, durably. Errors: KS_IO: then the next start does so
 * again, which changes nothing. */
enum ks_status ks_datadir_catalog_adopted(struct ks_datadir *dir, struct ks_error *err) KS_MUST_USE;
/* ks_engine_options.open_index; arg: the datadir. */
enum ks_status ks_datadir_open_index(
    void *arg, bool erase_first, struct ks_kv **out_kv, struct ks_error *err) KS_MUST_USE;
/* The engine has stopped in order and is not yet destroyed: the next start may trust catalog and
 * index as they are. */
void ks_datadir_mark_clean(struct ks_datadir *dir, const struct ks_events *events);
void ks_datadir_close(struct ks_datadir *dir);

#endif
