/* The engine's parts and how they are tied together, for the files of storage/ and its tests only.
 */
#ifndef KS_STORAGE_ENGINE_PRIV_H
#define KS_STORAGE_ENGINE_PRIV_H

#include "storage/catalog.h"
#include "storage/engine.h"
#include "storage/files.h"
#include "storage/journal.h"
#include "storage/log_priv.h"
#include "storage/registry.h"
#include "storage/tail.h"

#include <stdatomic.h>

struct ks_commit;
struct ks_flush;
struct ks_index;
struct ks_registry;
struct ks_reshards;
struct ks_retention;

struct ks_engine {
    struct ks_engine_options options; /* [const]; of limits, those of ks_engine_set_limits as at
                                         the start */
    _Atomic uint64_t flush_bytes;     /* the limits that may change while running */
    _Atomic uint64_t flush_age_ms;
    _Atomic uint32_t shards_max;
    _Atomic uint32_t compact_files_per_s;
    _Atomic uint64_t scrub_bytes_per_s;
    _Atomic uint64_t scrub_interval_ms;
    struct ks_prng prng; /* [registry's mutex] ids */
    struct ks_tail_budget tail_budget;
    struct ks_journal *journal;
    struct ks_commit *commit;
    struct ks_catalog *catalog;
    struct ks_registry *registry;
    struct ks_files *files;
    struct ks_flush *flush;
    struct ks_index *index;
    struct ks_reshards *reshards;
    struct ks_retention *retention;

    _Atomic bool is_poisoned;
    _Atomic bool is_disk_full; /* the flusher or the file pool found no room; cleared by a flush */
    _Atomic bool is_stopping;  /* appends are refused */
    _Atomic bool is_poison_claimed;    /* somebody is about to set the two others */
    struct ks_error poison_error;      /* the first failure; read only when is_poisoned */
    struct ks_recovery_stats recovery; /* [const] after open */
    struct ks_adopted adopted;         /* [const] after open */
    struct ks_threads *threads;        /* NULL in the simulation */
    _Atomic uint64_t counters[64];     /* enum ks_counter */
    struct ks_engine_latencies latencies;
};

enum ks_counter {
    KS_COUNT_APPENDED_RECORDS,
    KS_COUNT_APPENDED_BYTES,
    KS_COUNT_DURABLE_BLOCKS,
    KS_COUNT_DURABLE_BATCHES,
    KS_COUNT_FLUSHED_BYTES,
    KS_COUNT_FLUSH_ROUNDS,
    KS_COUNT_CATALOG_COMMITS,
    KS_COUNT_SEGMENTS_SEALED,
    KS_COUNT_READS_TAIL,
    KS_COUNT_READS_MAP,
    KS_COUNT_READS_COPY,
    KS_COUNT_DUPLICATES,
    KS_COUNT_INDEX_WRITTEN,
    KS_COUNT_INDEX_LOOKUPS,
    KS_COUNT_INDEX_REBUILDS,
    KS_COUNT_FILES_POOLED,
    KS_COUNT_FILES_RECYCLED,
    KS_COUNT_PINNED_BYTES,
    KS_COUNT_DAMAGE_MET, /* by starts and reads, not by the scrubber */
    KS_COUNT_SEGMENTS_RETIRED,
    KS_COUNT_BYTES_RETIRED,
    KS_COUNT_RECORDS_RETIRED,
    KS_COUNT_SEGMENTS_HELD, /* retired, but somebody reads them still */
    KS_COUNT_BYTES_HELD,
    KS_COUNT_STREAMS_PURGED, /* when the time of an undone delete was over */
    KS_COUNT_SHARDS_REMOVED, /* closed ones, expired */
    KS_COUNT_SEGMENTS_AGED,  /* to be sealed because their oldest record had expired */
};

static inline void ks_engine_count(struct ks_engine *engine, enum ks_counter counter, uint64_t more)
{
    atomic_fetch_add_explicit(&engine->counters[counter], more, memory_order_relaxed);
}

/* The first failed write or sync of journal, segment or catalog: nothing is acknowledged any more.
 * Any thread, whatever lock it holds below KS_RANK_WAKE. */
void ks_engine_poison(struct ks_engine *engine, const struct ks_error *error);

/* --- log_trim.c --- */
/* The time that expiry is judged by. */
uint64_t ks_engine_retention_unix_ms(const struct ks_engine *engine);

/* --- commit.c: the committer --- */
enum ks_status ks_commit_create(
    struct ks_engine *engine, struct ks_commit **out, struct ks_error *err) KS_MUST_USE;
void ks_commit_destroy(struct ks_commit *commit);
/* Behind the log's mutex, so that a log's batches queue in order. Never fails. Without a home
 * nobody waits for the append: it is freed in the end. */
void ks_commit_enqueue(struct ks_commit *commit, struct ks_append *append);
bool ks_commit_is_idle(struct ks_commit *commit);
/* So much waits that others would wait behind it. Any thread. */
bool ks_commit_is_behind(const struct ks_commit *commit);
/* An empty block shall name the last durable LSN at once, not after a second of silence: clean
 * stop. */
void ks_commit_name_last(struct ks_commit *commit);
struct ks_step *ks_commit_step(struct ks_commit *commit);

/* --- journal.c --- */
enum ks_status ks_journal_create(
    struct ks_engine *engine, struct ks_journal **out, struct ks_error *err) KS_MUST_USE;
void ks_journal_destroy(struct ks_journal *journal);
/* Makes further files in the background and removes what is too short, a piece at a time. */
struct ks_step *ks_journal_step(struct ks_journal *journal);

/* --- catalog.c --- */
enum ks_status ks_catalog_create(
    struct ks_engine *engine, struct ks_catalog **out, struct ks_error *err) KS_MUST_USE;
void ks_catalog_destroy(struct ks_catalog *catalog);
/* Open and close of the "journal" row. begin_run: reads {uuid, last run, named LSN, clean}, commits
 * run + 1 and clean = false (a new directory gets its uuid here). name_lsn travels with every
 * commit. */
struct ks_catalog_journal_row {
    uint8_t uuid[16];
    uint64_t run_id;      /* of this run after begin_run */
    uint64_t last_run_id; /* of the run before; 0 = none */
    uint64_t named_lsn; /* an LSN known durable in run named_run_id when the last commit was made */
    uint64_t named_run_id;
    uint64_t named_ordinals; /* in all blocks up to it */
    bool was_clean;
};
enum ks_status ks_catalog_begin_run(struct ks_catalog *catalog, struct ks_catalog_journal_row *out,
    struct ks_error *err) KS_MUST_USE;
enum ks_status ks_catalog_mark_clean(struct ks_catalog *catalog, struct ks_error *err) KS_MUST_USE;

/* --- adopt.c: a catalog that is an older copy is brought up to date, or refused, before anything
 * else believes it --- */
enum ks_status ks_adopt_newer(struct ks_engine *engine, struct ks_error *err) KS_MUST_USE;

/* --- recovery.c: scans the journal, rebuilds tails, begins this run, writes its first block. row:
 * as begun --- */
enum ks_status ks_recovery_run(struct ks_engine *engine, const struct ks_catalog_journal_row *row,
    struct ks_error *err) KS_MUST_USE;

/* --- registry.c: loads streams, shards, flushpoints and files at open; gives logs to recovery ---
 */
enum ks_status ks_registry_create(
    struct ks_engine *engine, struct ks_registry **out, struct ks_error *err) KS_MUST_USE;
void ks_registry_destroy(struct ks_registry *registry);
enum ks_status ks_registry_load(struct ks_registry *registry, struct ks_error *err) KS_MUST_USE;
/* After recovery: closed shards have their end, from the log or, where damage took it, from the
 * catalog. */
enum ks_status ks_registry_settle_ends(
    struct ks_registry *registry, struct ks_error *err) KS_MUST_USE;
/* Not referenced for the caller; NULL unknown. Before threads exist, or with the answer used under
 * no assumption. */
struct ks_log *ks_registry_log(struct ks_registry *registry, uint64_t log_id);
/* Referenced for the caller; NULL unknown. */
struct ks_log *ks_registry_log_ref(struct ks_registry *registry, uint64_t log_id);
bool ks_registry_is_tombstoned(struct ks_registry *registry, uint64_t log_id);
/* Calls each for every live log (recovery, stop). */
void ks_registry_each_log(
    struct ks_registry *registry, void (*each)(void *arg, struct ks_log *log), void *arg);
/* Calls each for every stream that is DELETING and restorable. mu is held meanwhile. */
void ks_registry_each_kept(struct ks_registry *registry,
    void (*each)(void *arg, uint64_t number, uint64_t purge_unix_ms), void *arg);
/*
 * Begins to purge a stream whose time is over; whether that comes to its end shows later. Otherwise
 * nothing. *out_look_unix_ms: when to look at it again; 0 = never, it was restored or is gone.
 */
enum ks_status ks_registry_purge(struct ks_engine *engine, uint64_t number, uint64_t now_unix_ms,
    uint64_t *out_look_unix_ms, struct ks_error *err) KS_MUST_USE;
/* Tombstones whose LSN is below oldest_lsn can go: submits a change if there are any. */
void ks_registry_trim_tombstones(struct ks_registry *registry, uint64_t oldest_lsn);

/* --- files.c --- */
enum ks_status ks_files_create(
    struct ks_engine *engine, struct ks_files **out, struct ks_error *err) KS_MUST_USE;
void ks_files_destroy(struct ks_files *files);
/* Reads the FILES table, makes the folders, unlinks or quarantines strangers, puts POOL and RETIRED
 * files into the pool. */
enum ks_status ks_files_load(struct ks_files *files, struct ks_error *err) KS_MUST_USE;

/* --- flush.c: the flusher --- */
enum ks_status ks_flush_create(
    struct ks_engine *engine, struct ks_flush **out, struct ks_error *err) KS_MUST_USE;
void ks_flush_destroy(struct ks_flush *flush);
struct ks_step *ks_flush_step(struct ks_flush *flush);
/* The log has unflushed batches (log mutex held): it joins the flusher's list if it is not there.
 */
void ks_flush_note(struct ks_flush *flush, struct ks_log *log);
/* The pool has files again. Any thread. */
void ks_flush_files_ready(struct ks_flush *flush);
/* From now on flush everything, whatever its size or age; idle when nothing durable is left
 * unflushed. */
void ks_flush_drain(struct ks_flush *flush);
bool ks_flush_is_idle(struct ks_flush *flush);

/* --- retention.c: the compactor (storage/retention.h) --- */
enum ks_status ks_retention_create(
    struct ks_engine *engine, struct ks_retention **out, struct ks_error *err) KS_MUST_USE;
void ks_retention_destroy(struct ks_retention *retention);
struct ks_step *ks_retention_step(struct ks_retention *retention);
/* Everything that the registry knows, after a start. */
void ks_retention_load(struct ks_retention *retention);
/* What is due for the log may have changed (log mutex held): its segments, its retention. */
void ks_retention_note(struct ks_retention *retention, struct ks_log *log);
/* The same where it is known when; UINT64_MAX: never. */
void ks_retention_note_at(struct ks_retention *retention, struct ks_log *log, uint64_t unix_ms);
/* A stream is DELETING and will be purged at unix_ms, unless it is restored. */
void ks_retention_note_kept(struct ks_retention *retention, uint64_t number, uint64_t unix_ms);

/* --- index.c: the LMDB index of sealed segments, a cache --- */
enum ks_status ks_index_create(struct ks_engine *engine, bool erase_first, struct ks_index **out,
    struct ks_error *err) KS_MUST_USE;
void ks_index_destroy(struct ks_index *index);
struct ks_step *ks_index_step(struct ks_index *index);
/* Fill from the segment's footer, in the background. */
void ks_index_submit(struct ks_index *index, struct ks_segment *segment);
/* Where to start in a sealed segment: the last entry at or before sequence. KS_NOT_FOUND: a miss
 * (walk the footer). */
enum ks_status ks_index_find(struct ks_index *index, const struct ks_segment *segment,
    uint64_t sequence, struct ks_index_entry *out, struct ks_error *err) KS_MUST_USE;
enum ks_status ks_index_find_time(struct ks_index *index, const struct ks_segment *segment,
    uint64_t unix_ms, struct ks_index_entry *out, struct ks_error *err) KS_MUST_USE;
/* It has told something wrong: nobody asks it again until it has been erased and begun anew. NULL
 * is fine. */
void ks_index_drop(struct ks_index *index, const char *reason);
/* For tests: what it stands on. */
struct ks_kv *ks_index_kv(struct ks_index *index);
/* Before the directory is marked clean, with the steps at rest: makes it durable, or erases it. */
void ks_index_settle(struct ks_index *index);
void ks_index_forget(struct ks_index *index, uint64_t file_id, uint64_t generation);

#endif
