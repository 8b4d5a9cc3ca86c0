/*
 * Adopting what is newer than the catalog (DESIGN §8): the catalog is a copy of some time ago, put
 * back by hand; journal and segments went on. Every segment says of which log and stream it is and
 * where it begins, so the rows of today can be found again, all but the settings that changed
 * since.
 *
 * adopt.c reads the copy and the journal, and writes the rows; adopt_files.c looks at the segments;
 * adopt_chain.c finds those of a log that follow each other, up to its flushpoint; adopt_streams.c
 * decides which shards there are and which of them are open. One thread, before others exist.
 */
#ifndef KS_STORAGE_ADOPT_PRIV_H
#define KS_STORAGE_ADOPT_PRIV_H

#include "base/u128.h"
#include "proto/catalog.pb-c.h"
#include "storage/engine_priv.h"
#include "storage/u64_map.h"

/* What a segment of a log is known by. */
enum adopt_proof {
    ADOPT_ROW,     /* its row in the copy, which is still right */
    ADOPT_FOOTER,  /* sealed: its footer */
    ADOPT_WALK,    /* its batches, one after the other */
    ADOPT_MISSING, /* a row, but its file is not there */
    ADOPT_REUSED,  /* a row, but its file has become another segment */
};

struct adopt_segment {
    uint64_t file_id;
    enum adopt_proof proof;
    Kstream__Catalog__FileRow row; /* as it is to be */
    bool is_closed;                /* its last batch closes the log */
    uint64_t reach;                /* up to where it and its followers go */
    uint32_t gaps;                 /* between them */
    uint32_t next;                 /* of those, in the log's list; its own place: none */
};

struct adopt_stream;

/* A log and its shard. */
struct adopt_log {
    uint64_t log_id;
    struct adopt_stream *stream; /* NULL: not known yet */
    bool is_new;                 /* not in the copy */
    uint32_t shard_index;
    ks_u128 hash_first;
    ks_u128 hash_last;
    uint64_t created_s;
    uint64_t closed_s;
    uint64_t end_sequence;
    uint32_t status; /* enum ks_shard_row_status */
    bool has_parent;
    bool has_adjacent_parent;
    uint32_t parent_index;
    uint32_t adjacent_parent_index;
    char stream_id[25]; /* new ones: as a segment says; empty: only the journal knows the log */
    char stream_name[129];

    Kstream__Catalog__FlushpointRow *flushpoint; /* of the copy, or NULL */
    struct adopt_segment *segments;
    uint32_t segment_count;
    uint32_t segment_capacity;
    uint32_t first; /* the chain that counts begins here */
    bool has_chain;
    bool is_skipping; /* its sequences go on much higher: see adopt_chain.c */
    bool is_closed;   /* a close batch is there, or in the journal */
    bool is_in_journal;
    Kstream__Catalog__FlushpointRow flushed; /* as it is to be; producers apart */
    struct ks_buf producers;
    bool needs_flushpoint; /* it changes */
};

struct adopt_stream {
    Kstream__Catalog__StreamRow *row;
    bool is_new;
    bool is_changed; /* its shards or its row are to be written */
    bool is_gone;    /* another one has its name now */
    struct adopt_log **logs;
    uint32_t log_count;
    uint32_t log_capacity;
};

/* A file below segments/ or in the catalog. */
struct adopt_file {
    uint64_t file_id;
    Kstream__Catalog__FileRow *row; /* of the copy, or NULL */
    bool is_present;
    bool is_known; /* a segment of a log is about it */
    bool is_kept;  /* that segment counts */
    bool is_fresh; /* never used, and not in the copy: for the pool */
    bool is_other; /* holds something newer than its row says */
};

struct adopt {
    struct ks_engine *engine;
    struct ks_io *io;
    struct ks_kv_txn *txn;
    struct ks_u64_map logs;    /* struct adopt_log */
    struct ks_u64_map files;   /* struct adopt_file */
    struct ks_u64_map deleted; /* tombstones of the copy; values mean nothing */
    struct adopt_stream **streams;
    uint32_t stream_count;
    uint32_t stream_capacity;
    uint64_t log_id_high; /* of the copy: what is unknown up to it was deleted */
    uint64_t log_id_next;
    uint64_t stream_number_high;
    uint64_t file_id_high;
    uint64_t seen_run;
    uint64_t seen_lsn;
    uint64_t newest_unix_ms; /* that the copy tells of: it is not older than that */
    bool may_have_expired;   /* a record that is newer than the copy may be gone by now */
    struct ks_adopted counts;
};

enum ks_status adopt_no_memory(struct ks_error *err);
/* The log, made if it may be one that is newer than the copy; NULL in *out_log: it was deleted. */
enum ks_status adopt_log_for(
    struct adopt *adopt, uint64_t log_id, struct adopt_log **out_log, struct ks_error *err);
struct adopt_stream *adopt_stream_add(struct adopt *adopt, Kstream__Catalog__StreamRow *row);
bool adopt_stream_take_log(struct adopt_stream *stream, struct adopt_log *log) KS_MUST_USE;
/* Of the last record in segments; the close batch is none. */
static inline uint64_t adopt_last_record(const struct adopt_log *log)
{
    return log->flushed.last_sequence - (log->flushed.is_closed ? 1 : 0);
}

/* Its shard is closed after all, and nothing will be appended. */
void adopt_log_close(struct adopt_log *log, uint64_t closed_s);

/* --- adopt_files.c --- */
/* Raises file_id_high to that of the newest segment. */
enum ks_status adopt_files_highest(struct adopt *adopt, struct ks_error *err);
/* Looks at every file below segments/ and gives each log its segments. */
enum ks_status adopt_files_look(struct adopt *adopt, struct ks_error *err);

/* --- adopt_chain.c --- */
/* Chooses which segments count, and what the flushpoint is then. */
enum ks_status adopt_log_settle(struct adopt *adopt, struct adopt_log *log, struct ks_error *err);

/* --- adopt_streams.c --- */
/* Streams for new logs; open and closed shards; shards for hash keys that nobody has. */
enum ks_status adopt_streams_settle(struct adopt *adopt, struct ks_error *err);

#endif
