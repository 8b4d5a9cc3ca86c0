/*
 * kstream-inspect, inside: a stopped broker's data directory as its catalog describes it, and what
 * was found wrong with it. Nothing here writes below the directory.
 *
 * Reading goes from the outside in: ks_io_posix_open_read_only (refused while a broker has the
 * directory), inspect_dir_open (catalog rows through a forked child, checked one by one and against
 * each other), inspect_journal_read (which blocks are the log), inspect_segment_walk (one file).
 */
#ifndef KS_TOOLS_INSPECT_H
#define KS_TOOLS_INSPECT_H

#include "base/mutex.h"
#include "base/u128.h"
#include "proto/batch.h"
#include "storage/io.h"
#include "storage/u64_map.h"

#include <jansson.h>

/* ---- what is wrong ---- */

enum inspect_severity {
    INSPECT_NOTE,   /* nothing is damaged: a torn end, a file nobody knows */
    INSPECT_DAMAGE, /* bytes are not what was written, or missing */
};

struct inspect_shard;

struct inspect_finding {
    enum inspect_severity severity;
    char where[64];  /* "segments/00/0000000000000001.seg", "catalog table files" */
    uint64_t offset; /* in that file; with bytes 0: no place in a file */
    uint64_t bytes;
    const struct inspect_shard *shard; /* NULL: of no shard, or nobody knows of which */
    uint64_t log_id;                   /* 0: as above */
    uint64_t first_sequence;           /* records that cannot be read intact; 0: none is lost */
    uint64_t last_sequence;
    char text[160];
};

#define INSPECT_FINDINGS_MAX 10000u /* kept; the rest is only counted */

/* Filled by many threads. */
struct inspect_report {
    struct ks_mutex mu;
    struct inspect_finding *findings; /* [mu] */
    size_t finding_count;
    size_t finding_capacity;
    uint64_t notes;        /* [mu] */
    uint64_t damages;      /* [mu] */
    uint64_t lost_records; /* [mu] */
    bool is_incomplete;    /* [mu] no memory or an unreadable place: not everything was looked at */
};

void inspect_report_init(struct inspect_report *report);
void inspect_report_fini(struct inspect_report *report);
/* Takes a copy; finding->text is made from format. */
void inspect_report_add(struct inspect_report *report, const struct inspect_finding *finding,
    const char *format, ...) KS_PRINTF(3, 4);

/* ---- the directory ---- */

struct inspect_stream {
    uint64_t number;
    char name[129];
    char id[25];
    uint64_t created_unix_ms;
    uint32_t retention_hours;
    uint32_t shard_count; /* shards whose rows name it */
    uint32_t open_count;
};

/* A batch in the journal that is not yet in a segment. */
struct inspect_pending {
    uint64_t file_number; /* journal/NNNN.jnl */
    uint64_t offset;      /* of the batch in it */
    uint32_t bytes;
    bool is_whole; /* it decodes and its checksums are right */
    uint64_t first_sequence;
    uint64_t last_sequence;
};

struct inspect_file {
    uint64_t file_id;
    uint64_t generation;
    uint32_t state; /* enum ks_file_state */
    uint64_t log_id;
    uint64_t first_sequence;
    uint64_t last_sequence;
    uint64_t file_bytes; /* sealed: the whole file, footer included */
    uint64_t readable_bytes;
    uint64_t first_arrival_unix_ms;
    uint64_t last_arrival_unix_ms;
    uint32_t batch_count;
    bool is_seen; /* in its folder */
};

struct inspect_shard {
    const struct inspect_stream *stream; /* NULL: its row is missing */
    uint64_t stream_number;
    uint32_t index;
    uint64_t log_id;
    bool is_open;
    bool is_planned; /* of a reshard that was under way */
    uint64_t created_s;
    ks_u128 hash_first;
    ks_u128 hash_last;
    /* the flushpoint */
    bool has_flushpoint;
    bool is_flushed_closed; /* the close batch is in a segment */
    uint64_t flush_file_id;
    uint64_t flush_generation;
    uint64_t flushed_bytes;
    uint64_t flushed_sequence;
    /* its segments, oldest first: a stretch of inspect_dir.by_log */
    struct inspect_file **files;
    uint32_t file_count;
    /* its batches in the journal above the flushpoint, in order */
    struct inspect_pending *pending;
    uint32_t pending_count;
    uint32_t pending_capacity;
    uint64_t next_sequence; /* of the journal's walk: expected next */
};

struct inspect_dir {
    struct ks_io *io; /* read only, the lock shared */
    char path[4096];
    bool has_clean_mark; /* the last broker stopped in order */
    struct inspect_stream *streams;
    uint32_t stream_count;
    struct inspect_shard *shards; /* by stream and index */
    uint32_t shard_count;
    struct inspect_file *files; /* by id */
    uint32_t file_count;
    struct inspect_file **by_log; /* active and sealed ones, by log and first sequence */
    uint32_t by_log_count;
    struct ks_u64_map logs;       /* log id -> inspect_shard */
    struct ks_u64_map tombstones; /* log id -> anything */
    bool has_journal_row;
    bool is_clean; /* the catalog's word */
    uint8_t uuid[16];
    uint64_t run_id;
    uint64_t named_run_id;
    uint64_t named_lsn;
    uint64_t named_ordinals;
    uint64_t high_log; /* no id above it was ever given out; 0: no row */
    uint64_t high_stream;
    uint64_t high_file;
    uint64_t catalog_rows;
};

/*
 * Reads the catalog. What is wrong with it goes to the report; what can be read of it is there
 * afterwards. Errors: KS_IN_USE a broker has the directory; KS_NOT_FOUND there is none, or it is no
 * data directory; KS_UNSUPPORTED a newer format; KS_IO; KS_NO_MEMORY.
 */
enum ks_status inspect_dir_open(const char *path, struct inspect_report *report,
    struct inspect_dir *dir, struct ks_error *err) KS_MUST_USE;
void inspect_dir_close(struct inspect_dir *dir);
/* Catalog rows against each other. */
void inspect_dir_check(struct inspect_dir *dir, struct inspect_report *report);
/* Files below segments/ against their rows, both ways; sets is_seen. */
void inspect_dir_check_files(struct inspect_dir *dir, struct inspect_report *report);
/* NULL: there is none of that name. */
const struct inspect_stream *inspect_dir_stream(const struct inspect_dir *dir, const char *name);

/* ---- the journal ---- */

struct inspect_journal_file {
    uint64_t number;
    uint64_t bytes;
    bool is_part_of_log;
    uint64_t run_id; /* of the blocks below; 0: none */
    uint64_t first_lsn;
    uint64_t last_lsn;
    uint64_t blocks;
    uint64_t batches;
    uint64_t block_bytes;
};

struct inspect_journal {
    struct inspect_journal_file *files; /* by number */
    uint32_t file_count;
    uint64_t blocks;
    uint64_t batches;
    uint64_t records;
    uint64_t bytes;
};

/*
 * Follows the log through the journal, checks every block of it and every batch in it, and gives
 * each shard its pending batches. Errors: the journal as a whole cannot be read (also reported).
 */
enum ks_status inspect_journal_read(struct inspect_dir *dir, struct inspect_report *report,
    struct inspect_journal *out, struct ks_error *err) KS_MUST_USE;
void inspect_journal_fini(struct inspect_journal *journal);

/* ---- one segment ---- */

struct inspect_segment_job {
    struct ks_io *io;
    char path[64];                     /* below io's root */
    const struct inspect_shard *shard; /* NULL: a file by itself */
    const struct inspect_file
        *row; /* what the catalog says; NULL: the file's own word, sealed only */
    struct inspect_report *report;
    /* Each batch that can be found; is_whole: all its records are right, else each has to be looked
     * at. May be NULL. False ends the walk. */
    bool (*each)(void *arg, const struct ks_batch_view *batch, bool is_whole);
    void *arg;
    /* what was seen */
    uint64_t batches;
    uint64_t records;
    uint64_t bytes;
    /* of a file by itself, from its header */
    uint64_t log_id;
    uint32_t shard_index;
    uint64_t shard_created_s;
    char stream_name[129];
};

/* Errors: KS_NO_MEMORY; KS_CORRUPT a file by itself that is no sealed segment. Damage goes to the
 * report. */
enum ks_status inspect_segment_walk(
    struct inspect_segment_job *job, struct ks_error *err) KS_MUST_USE;

/* A file by itself: fills io and path; the caller closes io. Errors: KS_NOT_FOUND; KS_IO. */
enum ks_status inspect_file_open(
    const char *path, struct inspect_segment_job *job, struct ks_error *err) KS_MUST_USE;
bool inspect_is_file(const char *path);

/* Which records of a batch are damaged: calls each for every stretch. For a batch that
 * ks_batch_verify refuses. */
void inspect_batch_damage(const struct ks_batch_view *batch,
    void (*each)(
        void *arg, size_t position, size_t bytes, uint64_t first, uint64_t last, const char *text),
    void *arg);

/* ---- the index of sealed segments ---- */

/* Every row of a current segment against that segment's footer. Counts the rows looked at. */
void inspect_index_check(
    const struct inspect_dir *dir, struct inspect_report *report, uint64_t *out_rows);

/* ---- the verbs ---- */

struct inspect_verify_options {
    unsigned threads;
    bool has_bar; /* progress on a terminal */
    bool is_quiet;
};

/* *out_result: a JSON object for ctl_output_print. Errors: what kept it from looking; damage is in
 * the report. */
enum ks_status inspect_verify(const char *path, const struct inspect_verify_options *options,
    struct inspect_report *report, json_t **out_result, struct ks_error *err) KS_MUST_USE;

/* what: "streams", "shards", "segments", "journal". Errors: KS_USAGE. */
enum ks_status inspect_list(const char *path, const char *what, struct inspect_report *report,
    json_t **out_result, struct ks_error *err) KS_MUST_USE;

struct inspect_dump_options {
    const char *stream; /* NULL: all */
    bool has_shard;
    uint32_t shard;
    bool has_segment; /* one segment, by its id */
    uint64_t segment;
    uint64_t from_sequence;
    uint64_t limit; /* records */
    bool is_json;   /* else tab-separated text */
    bool has_header;
};
/*
 * Prints records to standard output: of a directory, shard by shard, segments and then what is only
 * in the journal; or of one segment file. Damage goes to the report, in its place is nothing.
 * Errors: KS_NOT_FOUND no such stream, shard or segment; KS_IO the output; those of
 * inspect_dir_open.
 */
enum ks_status inspect_dump(const char *path, const struct inspect_dump_options *options,
    struct inspect_report *report, struct ks_error *err) KS_MUST_USE;

#endif
