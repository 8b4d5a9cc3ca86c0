/* The compactor's inside, for retention*.c and scrub.c only. */
#ifndef KS_STORAGE_RETENTION_PRIV_H
#define KS_STORAGE_RETENTION_PRIV_H

#include "storage/catalog.h"
#include "storage/due_heap.h"
#include "storage/engine_priv.h"
#include "storage/retention.h"

#define KS_RETIRE_ROUND_MAX 64u /* segments of one commit */
#define KS_LOOK_ROUND_MAX 64u   /* shards looked at in one round */
#define KS_PURGE_ROUND_MAX 16u

struct ks_scrub;

/* A segment on its way out. */
struct ks_doomed {
    struct ks_log *log;         /* referenced */
    struct ks_segment *segment; /* referenced */
    bool has_token;             /* ks_log.is_flushing is ours */
    bool is_skipped;            /* the log was deleted, or the segment has gone another way */
};

/* A stream that is DELETING and kept for a while. */
struct ks_kept_stream {
    struct ks_due due; /* first member */
    uint64_t number;
    struct ks_list link; /* of all */
};

struct ks_retention {
    struct ks_engine *engine; /* [const] */
    struct ks_step step;
    struct ks_wake wake;
    struct ks_mutex mu;         /* KS_RANK_RETENTION; guards all below but where noted */
    struct ks_due_heap logs;    /* ks_log.due, each referenced */
    struct ks_due_heap streams; /* ks_kept_stream.due */
    struct ks_list kept;        /* all ks_kept_stream */
    bool needs_scan;            /* a node found no memory: look at everything again */
    bool is_busy;               /* from begin to the end of the round's commit */
    struct ks_list waiters;     /* ks_admin.mail.link: a pass at once is wanted */
    uint64_t retry_mono_ns;     /* after a refusal: not before */
    bool is_running;
    struct ks_compactor_run last;
    struct ks_compactor_run before; /* the one before it */
    uint64_t commits_refused;

    /* The round's: the step's, then the catalog's. */
    struct ks_doomed doomed[KS_RETIRE_ROUND_MAX];
    uint32_t doomed_count;
    struct ks_log *refresh[KS_LOOK_ROUND_MAX]; /* [step] referenced: find their edge */
    uint32_t refresh_count;
    uint64_t tokens_mono_ns; /* [step] when the allowance was last added up */
    uint64_t allowance;      /* [step] segments that may be retired now */
    struct ks_change change;
    struct ks_mailbox box;  /* [step] removals of shards that have ended */
    uint32_t removal_count; /* [step] under way */
    struct ks_scrub *scrub; /* [step, but for its counters] */
};

/* retention_plan.c. What is due for a log; log's mutex held. */
uint64_t ks_retention_due(const struct ks_log *log);
/* Takes what has expired of a log into the round, has its active segment sealed, or its edge looked
 * for. Takes the log's mutex. */
void ks_retention_plan(struct ks_retention *retention, struct ks_log *log, uint64_t now_unix_ms);
/* Finds the edge of a log in the segment that is expired in part. Waits for the disk. */
void ks_retention_refresh(struct ks_log *log, uint64_t now_unix_ms);

/* When a closed log may leave its stream, as far as is known; log's mutex held. */
uint64_t ks_retention_leave_due(const struct ks_log *log);

/* retention_shard.c. Begins to remove a closed shard that has expired; takes the log's mutex. True:
 * something has begun. */
bool ks_retention_remove_shard(
    struct ks_retention *retention, struct ks_log *log, uint64_t now_unix_ms);

/* scrub.c */
enum ks_status ks_scrub_create(
    struct ks_engine *engine, struct ks_scrub **out, struct ks_error *err) KS_MUST_USE;
void ks_scrub_destroy(struct ks_scrub *scrub);
/* Is there a slice to be read now? *out_wait_ms: else when to ask again; 0 = not before something
 * is sealed. */
bool ks_scrub_is_due(struct ks_scrub *scrub, uint64_t *out_wait_ms);
void ks_scrub_run(struct ks_scrub *scrub);
void ks_scrub_describe(struct ks_scrub *scrub, struct ks_compactor_status *out);

#endif
