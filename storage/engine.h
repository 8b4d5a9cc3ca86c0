/*
 * The log engine: one data directory. Opening recovers; then appends, reads and admin operations go
 * on from any thread while the steps (storage/step.h) do the disk work, on threads of their own or
 * under a simulator's hand.
 */
#ifndef KS_STORAGE_ENGINE_H
#define KS_STORAGE_ENGINE_H

#include "base/clock.h"
#include "base/events.h"
#include "base/latency.h"
#include "base/prng.h"
#include "base/status.h"
#include "storage/io.h"
#include "storage/kv.h"
#include "storage/step.h"

struct ks_engine;

/* Tables of the index environment, for whoever opens it (ks_engine_options.open_index). */
enum ks_index_table {
    KS_INDEX_BY_SEQUENCE,
    KS_INDEX_BY_ARRIVAL,
    KS_INDEX_TABLE_COUNT,
};
#define KS_INDEX_TABLE_NAMES                                                                       \
    {                                                                                              \
        "by_sequence", "by_arrival"                                                                \
    }

/* Of streams on demand (storage/scaling.h). */
struct ks_scale_limits {
    uint64_t interval_ms;   /* from look to look: 60 000 */
    uint64_t bytes_per_s;   /* what a shard is meant to take: 1 MiB */
    uint64_t records_per_s; /* 1 000 */
    uint64_t cold_ms;       /* neighbours so long cold are merged: 6 hours */
    uint32_t shards_min;    /* while there are more than 4 */
    uint32_t shards_max;    /* 10 000 of one stream at most */
};

/* So many journal files there shall be at most (journal_bytes / journal_file_bytes): each is an
 * open file. Recovery looks at twice as many, for while their size changes old ones lie beside new
 * ones.
 */
#define KS_JOURNAL_FILES_MAX 32768u

/* Sizes and bounds. All bytes unless named otherwise. */
struct ks_engine_limits {
    uint64_t segment_bytes;            /* 64 MiB */
    uint64_t segment_step_bytes;       /* least allocation of a segment: 64 KiB, doubling */
    uint32_t segment_batches_max;      /* what its footer can list at most: 2^20 */
    uint64_t journal_bytes;            /* 256 MiB in all, at least two files */
    uint64_t journal_file_bytes;       /* 32 MiB */
    uint64_t journal_first_file_bytes; /* 4 MiB: zeroed before READY */
    uint32_t block_bytes_max;          /* 16 MiB, header included */
    uint32_t group_bytes;              /* a block stops gathering here: 4 MiB */
    uint32_t tail_chunk_bytes;         /* 256 KiB */
    uint64_t tail_bytes_max;           /* memory of all tails, hard: 512 MiB */
    uint64_t flush_bytes;              /* unflushed bytes in all at which flushing starts: 64 MiB */
    uint64_t flush_log_bytes;          /* a log's tail that is worth a write of its own: 1 MiB */
    uint64_t flush_age_ms;             /* a tail older than this is flushed: 60 000 */
    uint32_t flush_logs_max;           /* files a round: 256 */
    uint32_t index_interval_bytes;     /* an index entry each: 64 KiB */
    uint32_t pool_files;               /* ready files kept: 4, more on demand */
    uint32_t shards_max;               /* account limit: 20 000 */
    uint32_t compact_files_per_s;      /* expired segments retired, files unlinked: 200; 0 = all */
    uint64_t scrub_bytes_per_s;        /* sealed segments read over again: 4 MiB; 0 = none */
    uint64_t scrub_interval_ms;        /* from pass to pass: 7 days; 0 = none */
    uint64_t
        pinned_bytes_max; /* maps pinned by reads; beyond it reads are served by copies: 256 MiB */
    struct ks_scale_limits scale;
    uint32_t map_bytes_min; /* a segment shorter than this is not mapped but read: 16 KiB */
};
void ks_engine_limits_default(struct ks_engine_limits *limits);
/* A few KiB each, so that rolls, recycling and refusals happen all the time: for tests. */
void ks_engine_limits_small(struct ks_engine_limits *limits);

struct ks_engine_options {
    struct ks_io *io; /* borrowed, outlives the engine, as all below */
    struct ks_kv *catalog;
    /* Opens the index environment; erase_first: it may be damaged, delete it unopened. KS_OK with
     * *out_kv NULL: go on without. */
    enum ks_status (*open_index)(
        void *arg, bool erase_first, struct ks_kv **out_kv, struct ks_error *err);
    void *open_index_arg;
    const struct ks_clock *clock;
    const struct ks_events *events;
    uint64_t random_seed; /* for ids and uuids; 0 = from the kernel */
    struct ks_engine_limits limits;
    /* Called once, on the thread that met it, after the first failed write or sync; the engine
     * acknowledges nothing from then on. */
    void (*on_poison)(void *arg, const struct ks_error *error);
    void *on_poison_arg;
    /* The catalog is a copy of some time ago, put back: what is newer in journal and segments is
     * adopted (adopt.c). Accepting says only that it may be one; without either such a start is
     * refused, and nothing is changed. */
    bool is_catalog_copy;
    bool accepts_older_catalog;
    /* Recovery progress for people, 0..100; may be NULL. */
    void (*on_progress)(void *arg, unsigned percent);
    void *on_progress_arg;
};

/* What recovery met; each counter is an event too. The simulation demands that all of them are
 * seen. */
struct ks_recovery_stats {
    uint64_t runs_followed; /* earlier runs reached through predecessor links */
    uint64_t blocks_accepted;
    uint64_t batches_replayed;
    uint64_t batches_below_flushpoint;
    uint64_t torn_tails;      /* a bad block after the last durable one, ignored */
    uint64_t damaged_blocks;  /* a bad block that was durable: quarantined */
    uint64_t damaged_batches; /* damaged stretches put into logs */
    uint64_t holes_told;      /* lost blocks of which the next block told all that is missing */
    uint64_t ends_pinned; /* logs whose end was uncertain: what may be missing is marked damaged */
    uint64_t
        blocks_beyond_named;     /* of an earlier run beyond the LSN its successor named, ignored */
    uint64_t entries_of_deleted; /* covered by a tombstone */
    uint64_t files_unlinked;     /* known to the catalog as never used */
    uint64_t files_quarantined;  /* unknown to the catalog */
    bool was_clean;
};

/* What was newer than the catalog. */
struct ks_adopted {
    bool was_older;
    uint64_t segments; /* new or longer ones */
    uint64_t shards;
    uint64_t streams;
    uint64_t files_left; /* that fit nowhere: they go to quarantine */
};
const struct ks_adopted *ks_engine_adopted(const struct ks_engine *engine);

/*
 * Errors: KS_CORRUPT catalog or journal cannot be trusted (the text says what to do);
 * KS_UNSUPPORTED a newer format; KS_STORAGE_FULL; KS_IO; KS_NO_MEMORY. Returns when tails are
 * rebuilt and one block of this run is durable: ready to serve.
 */
enum ks_status ks_engine_open(const struct ks_engine_options *options,
    struct ks_engine **out_engine, struct ks_error *err) KS_MUST_USE;
/* Forgets everything at once, without I/O but closing files: after a poison, or a simulated power
 * cut. Threads must be stopped. */
void ks_engine_destroy(struct ks_engine *engine);
KS_DEFINE_CLEANUP(struct ks_engine, ks_engine_destroy)

/* While running, from any thread: takes tail_bytes_max, flush_bytes, flush_age_ms, shards_max,
 * compact_files_per_s, scrub_bytes_per_s and scrub_interval_ms of
 * limits, nothing else. What is already there stays. */
void ks_engine_set_limits(struct ks_engine *engine, const struct ks_engine_limits *limits);

/* A record of so many bytes, key and data, can be stored: a batch lies in one segment and in one
 * journal block. */
uint64_t ks_engine_record_bytes_max(const struct ks_engine *engine);

const struct ks_recovery_stats *ks_engine_recovery(const struct ks_engine *engine);
bool ks_engine_is_poisoned(struct ks_engine *engine);

/* The steps, in a fixed order. */
size_t ks_engine_steps(struct ks_engine *engine, struct ks_step **out_steps, size_t count_max);

/* Production: a thread per step. Errors: KS_NO_MEMORY. */
enum ks_status ks_engine_start(struct ks_engine *engine, struct ks_error *err) KS_MUST_USE;
/* Refuses new appends (KS_STOPPING), lets the queue drain, flushes every tail, marks the directory
 * clean. Bounded by timeout_ms: KS_TIMEOUT leaves an unclean but safe directory. Stops the threads
 * in any case. Without threads (simulation) it runs the steps itself. */
enum ks_status ks_engine_stop(
    struct ks_engine *engine, uint64_t timeout_ms, struct ks_error *err) KS_MUST_USE;

/* How long the disk takes, since the start. */
struct ks_engine_latencies {
    struct ks_latency queue;          /* a batch, from its append until its block is begun */
    struct ks_latency write;          /* a batch, while its block is put together */
    struct ks_latency sync;           /* a batch, while its block is written durably */
    struct ks_latency journal_sync;   /* a block, written durably */
    struct ks_latency segment_sync;   /* a segment's file */
    struct ks_latency catalog_commit; /* with its syncs */
};
const struct ks_engine_latencies *ks_engine_latencies(const struct ks_engine *engine);

/* What the threads are at, between start and stop; how many were filled in. */
size_t ks_engine_pulses(
    struct ks_engine *engine, struct ks_step_pulse *out_pulses, size_t count_max);

struct ks_engine_stats {
    uint64_t appended_records, appended_bytes, durable_blocks, durable_batches;
    uint64_t flushed_bytes, flush_rounds, catalog_commits, segments_sealed, segments_open;
    uint64_t tail_bytes, journal_used_percent, reads_from_tail, reads_from_maps, reads_by_copy,
        duplicates_answered;
    uint64_t index_entries_written, index_lookups, index_rebuilds, files_pooled, files_recycled,
        pinned_bytes;
    uint64_t damage_met; /* places where this start, or a read since, found something damaged */
    bool is_disk_full;   /* what is refused now is refused because of that */
};
void ks_engine_stats(struct ks_engine *engine, struct ks_engine_stats *out);

#endif
