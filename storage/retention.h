/*
 * The compactor as seen from above: it retires what has expired, purges what was deleted long
 * enough ago, and reads sealed segments over again to find damage (scrub.c). What a reader sees
 * does not depend on it: expired records are not served from their very millisecond on
 * (log_trim.c); the compactor takes back the space.
 *
 * Threads: any.
 */
#ifndef KS_STORAGE_RETENTION_H
#define KS_STORAGE_RETENTION_H

#include "storage/registry.h"

/* One pass: from finding something due until nothing is. */
struct ks_compactor_run {
    uint64_t started_unix_ms; /* 0: never */
    uint64_t ended_unix_ms;   /* 0: under way */
    uint64_t segments;
    uint64_t bytes;
    uint64_t records;
};

struct ks_compactor_status {
    bool is_running;
    uint64_t next_due_unix_ms; /* 0: nothing will expire as things are */
    uint64_t segments_retired; /* since the start, as all below but where noted */
    uint64_t bytes_retired;
    uint64_t records_retired;
    uint64_t segments_held; /* now: retired, but a reader still has them */
    uint64_t bytes_held;
    uint64_t segments_sealed; /* because their oldest record had expired */
    uint64_t streams_purged;
    uint64_t shards_removed;      /* closed ones whose last record had expired */
    uint64_t commits_refused;     /* a full disk: tried again */
    struct ks_compactor_run last; /* the pass under way, or the last that retired anything */
    uint64_t scrub_segments;      /* verified */
    uint64_t scrub_bytes;
    uint64_t scrub_damaged_segments;
    uint64_t scrub_damaged_batches;
    uint64_t scrub_damaged_records;
    uint64_t scrub_passes;
    uint64_t scrub_last_pass_unix_ms; /* 0: none has ended */
    uint64_t scrub_next_pass_unix_ms; /* 0: one is under way, or scrubbing is off */
    uint32_t files_ready;             /* now, in the pool */
};
void ks_compactor_describe(struct ks_engine *engine, struct ks_compactor_status *out);

/* What a pass would retire, or what a change would make expire. */
struct ks_compact_scope {
    uint64_t stream_number;   /* 0: all streams */
    uint32_t retention_hours; /* as if it were so; 0: as it is */
    bool is_everything;       /* as if the stream were purged */
};
struct ks_compact_survey {
    uint64_t segments;       /* that go whole */
    uint64_t bytes;          /* of them on disk */
    uint64_t records;        /* in them */
    uint64_t oldest_unix_ms; /* arrivals of those; 0: none */
    uint64_t newest_unix_ms;
    uint64_t records_hidden; /* can be read now, and could not be after the change */
    uint64_t readers_hit;    /* reads under way in those segments, or of the last five minutes */
};
/* Looks at every shard in scope, and may wait for the disk. */
void ks_compact_survey(
    struct ks_engine *engine, const struct ks_compact_scope *scope, struct ks_compact_survey *out);

/*
 * A pass at once and without a limit of its rate. KS_OK: deliver will run, when nothing is due any
 * more. Errors: KS_POISONED, KS_STOPPING; by mail KS_STORAGE_FULL.
 */
enum ks_status ks_compact_now(
    struct ks_engine *engine, struct ks_admin *admin, struct ks_error *err) KS_MUST_USE;

/* Damage of one segment. */
struct ks_verify_damage {
    uint64_t file_id;
    uint64_t from_sequence; /* of the first damaged batch */
    uint64_t batches;
    uint64_t records; /* 0: nothing but the segment's own header or footer */
};
#define KS_VERIFY_DAMAGES_MAX 64u

struct ks_verify {
    uint64_t after_sequence; /* in: segments that end behind it. out: where to go on */
    uint64_t bytes_max;      /* in: stop behind the segment with which so much has been read */
    bool is_done;            /* all sealed segments have been read */
    uint64_t segments;
    uint64_t bytes;
    uint64_t records;
    struct ks_verify_damage damages[KS_VERIFY_DAMAGES_MAX]; /* one a segment; it stops when full */
    uint32_t damage_count;
};
/*
 * Reads a log's sealed segments over again at once, as the scrubber does: its events, and what it
 * counts of damage. Any thread but the engine's own; waits for the disk. Errors: KS_NO_MEMORY.
 */
enum ks_status ks_verify_log(
    struct ks_log *log, struct ks_verify *verify, struct ks_error *err) KS_MUST_USE;

#endif
