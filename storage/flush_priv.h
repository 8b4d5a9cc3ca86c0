/* One round of the flusher, job by job, for flush*.c only. */
#ifndef KS_STORAGE_FLUSH_PRIV_H
#define KS_STORAGE_FLUSH_PRIV_H

#include "base/bytes.h"
#include "storage/catalog.h"
#include "storage/segment.h"
#include "storage/tail.h"

struct ks_log;

#define KS_FLUSH_EXTENTS_MAX 64

/* One log's part of a round: batches to be written, or a full segment to be sealed. */
struct ks_flush_job {
    struct ks_log *log;         /* referenced */
    struct ks_segment *segment; /* referenced; NULL until a file is taken */
    struct ks_tail_extent extents[KS_FLUSH_EXTENTS_MAX];
    uint32_t extent_count;
    bool is_seal;    /* no extents: the segment gets its footer */
    bool is_gone;    /* its log was deleted meanwhile: nothing is left to do */
    bool is_abandon; /* the segment turned out damaged: it ends where it is, without a footer */
    bool is_ready;   /* on disk: goes into the commit */
    bool is_synced;
    bool is_skipped; /* the log was deleted before the commit */
    bool is_closed;  /* the close batch is among them */
    uint64_t write_offset;
    uint64_t bytes;
    uint64_t last_sequence; /* of the flushpoint, once written */
    uint64_t first_arrival_unix_ms;
    uint64_t last_arrival_unix_ms;
    uint32_t batch_count;
    uint64_t file_bytes; /* sealed */
    struct ks_buf producers;
    struct ks_file *file;
    struct ks_index_entry *sparse; /* entries to add */
    uint32_t sparse_count;
};

struct ks_flush_round {
    struct ks_engine *engine;
    struct ks_flush_job **jobs;
    uint32_t count;
    uint32_t ready_count;
    uint32_t files_missing;
    struct ks_error refusal; /* a full disk: back-pressure rises until there is room */
    struct ks_change change;
};

/* Under the log's mutex, which it takes: what can be flushed now. NULL: nothing, or no memory. */
struct ks_flush_job *ks_flush_job_plan(struct ks_log *log);
void ks_flush_job_free(struct ks_flush_job *job);
/* Writes and syncs all jobs. A failed write or sync poisons the engine. */
void ks_flush_round_run(struct ks_flush_round *round);
void ks_flush_round_sync(struct ks_flush_round *round);
/* Rows of a ready job. */
enum ks_status ks_flush_job_apply(
    struct ks_flush_job *job, struct ks_kv_txn *txn, struct ks_error *err) KS_MUST_USE;
/* After the commit. */
void ks_flush_job_publish(struct ks_flush_job *job);

/*
 * Makes the footer of a segment by walking its batches in the file, all flushed bytes of it. Damage
 * becomes a stretch up to the next entry of sparse, or to the end. Errors: KS_NO_MEMORY; KS_IO is
 * taken as damage.
 */
enum ks_status ks_segment_build_footer(struct ks_segment *segment, struct ks_file *file,
    const struct ks_index_entry *sparse, uint32_t sparse_count, struct ks_footer *out_footer,
    struct ks_error *err) KS_MUST_USE;

#endif
