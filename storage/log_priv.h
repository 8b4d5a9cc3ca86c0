/*
 * A log's inside, for the files of storage/ only. Who writes what: appends (log.c), the committer
 * (commit.c: durable_sequence), the flusher (flush.c: segments, flushed_sequence), the registry
 * (registry.c: life and state), recovery (before threads exist).
 */
#ifndef KS_STORAGE_LOG_PRIV_H
#define KS_STORAGE_LOG_PRIV_H

#include "base/mutex.h"
#include "base/u128.h"
#include "proto/batch.h"
#include "storage/due_heap.h"
#include "storage/log.h"
#include "storage/producers.h"
#include "storage/segment.h"
#include "storage/tail.h"

#include <stdatomic.h>

struct ks_engine;

enum ks_log_state {
    KS_LOG_OPEN,
    KS_LOG_CLOSING, /* the close batch is queued, or durable: no more appends */
    KS_LOG_CLOSED,  /* its stream says so: the end may be seen */
    KS_LOG_DELETED, /* the tombstone is durable, or will be: nothing is served */
};

/* What a segment header says of its origin, so that files can be adopted without the catalog. The
 * stream's names are the registry's: a log is idle most of the time, and there are many. */
struct ks_log_identity {
    uint64_t stream_number;
    uint32_t shard_index;
    uint64_t shard_created_s;
    ks_u128 hash_first;
    ks_u128 hash_last;
};

#define KS_LOG_NO_END UINT64_MAX
/* Everything below sequence has expired, for good; nothing at or above it arrived before
 * arrival_unix_ms. */
struct ks_log_edge {
    uint64_t sequence;
    uint64_t arrival_unix_ms;
};

struct ks_log {
    uint64_t log_id;                 /* [const] never reused */
    struct ks_engine *engine;        /* [const] */
    struct ks_log_identity identity; /* [const] */
    _Atomic uint32_t refs;

    struct ks_mutex mu;             /* KS_RANK_SHARD; held for one batch's memcpy at most */
    enum ks_log_state state;        /* [mu] */
    uint64_t routing_epoch;         /* [mu] */
    uint64_t next_sequence;         /* [mu] the ordinal the next record gets */
    uint64_t appended_bytes;        /* [mu] stored bytes of its records since the start */
    uint64_t last_arrival_unix_ms;  /* [mu] of the newest batch, durable or not; never goes back */
    struct ks_tail tail;            /* [mu] */
    struct ks_producers *producers; /* [mu] NULL until the first idempotent put */
    _Atomic uint64_t
        durable_sequence; /* written by the committer after the block is on disk; seq_cst. A durable
                             close batch does not raise it: it sets durable_end */
    _Atomic bool durable_end;      /* the close batch is durable */
    _Atomic uint64_t end_sequence; /* the last record of a closed shard, once its children can be
                                      found; else KS_LOG_NO_END */
    _Atomic uint64_t durable_arrival_unix_ms; /* arrival of durable_sequence, stored just before it:
                                          a reader may see the newer one a moment early */

    _Atomic(struct ks_log_watch *)
        watches; /* armed ones, a stack: pushed by their parties, taken whole by who wakes them */

    uint64_t flushed_sequence; /* [mu] the flushpoint's last sequence (end + 1 once the close batch
                                  is in) */
    uint64_t flushed_arrival_unix_ms; /* [mu] */
    struct ks_segment_list segments;  /* [mu] oldest first; the last one may be active */
    struct ks_log_edge edge;          /* [mu] as far as it is known; never goes back */
    uint64_t retention_ms;            /* [mu] 0: kept for ever */
    uint64_t retention_floor_unix_ms; /* [mu] older ones are gone whatever the retention */
    uint64_t tail_since_mono_ns;      /* [mu] when the oldest unflushed batch came; 0 = none */
    struct ks_list flush_link;        /* [flusher's list, KS_RANK_FLUSH] */
    bool is_noted;                    /* [mu] the flusher knows of unflushed batches */
    bool is_flushing; /* [mu] a flush of this log, or the end of its active segment, is between
                         begin  and its catalog commit */
    bool wants_seal;  /* [mu] the oldest record of its active segment has expired: the flusher ends
                         the segment */
    bool is_leaving;  /* [mu] its removal from the stream is under way */
    uint64_t closed_unix_ms; /* [mu] closed: when, at the latest; 0: not looked up yet */
    struct ks_due due;       /* [compactor's mutex] when retention asks for something */
};

enum ks_status ks_log_create(struct ks_engine *engine, uint64_t log_id,
    const struct ks_log_identity *identity, struct ks_log **out_log,
    struct ks_error *err) KS_MUST_USE;
KS_DEFINE_CLEANUP(struct ks_log, ks_log_unref)

/*
 * Closes the log: CLOSING, its close batch queued; append is answered when that is durable. append:
 * mail and home set, room in the journal reserved for ks_close_bytes(). Errors: KS_NO_MEMORY,
 * KS_STOPPING and KS_POISONED, nothing has happened.
 */
uint32_t ks_close_bytes(void); /* of a stored close batch: less than any with a record */
enum ks_status ks_log_close(
    struct ks_log *log, struct ks_append *append, struct ks_error *err) KS_MUST_USE;
/* The end can be seen from now on: the close batch is durable, the children can be found. */
void ks_log_show_end(struct ks_log *log);
/*
 * Recovery only: the catalog says that the log is closed behind end_sequence. Records that the log
 * should have and lacks become a damaged stretch; if the log knows its end, that one counts.
 */
enum ks_status ks_log_settle_end(
    struct ks_log *log, uint64_t end_sequence, struct ks_error *err) KS_MUST_USE;

/* Recovery only, before threads exist: puts a batch of the journal behind what the log has. stored
 * is copied. */
enum ks_status ks_log_replay(
    struct ks_log *log, struct ks_view stored, struct ks_error *err) KS_MUST_USE;
/* The stored bytes of a damaged batch over [first, last], at most UINT32_MAX ordinals; returns how
 * many. */
size_t ks_log_encode_damage(
    const struct ks_log *log, uint64_t first, uint64_t last, uint8_t to[KS_BATCH_PREFIX_BYTES_MAX]);
/* Recovery only: damaged batches over [first, last], readers are told of it. */
enum ks_status ks_log_replay_damage(struct ks_log *log, uint64_t first_sequence,
    uint64_t last_sequence, struct ks_error *err) KS_MUST_USE;

/* Recovery only: a close batch whose bytes are damaged; all that it says is known. */
enum ks_status ks_log_replay_close(
    struct ks_log *log, uint64_t first_sequence, struct ks_error *err) KS_MUST_USE;

/*
 * Takes all armed watches, after the news have been stored (seq_cst, as the arming is: a party that
 * does not see the news is seen here). NULL: nobody waits. Linked by next; each is to be mailed.
 */
struct ks_log_watch *ks_log_watch_take(struct ks_log *log);
/* Mails them at once. Any thread, below KS_RANK_MAILBOX. */
void ks_log_wake(struct ks_log *log);

void ks_log_check(const struct ks_log *log); /* invariants, mu held */

struct ks_log_retention {
    uint32_t hours; /* 0: for ever */
    uint64_t floor_unix_ms;
};
/* From now on; takes mu. */
void ks_log_set_retention(struct ks_log *log, const struct ks_log_retention *retention);

/* --- log_trim.c; mu held for all that follows --- */
/* Records that arrived before it have expired. */
uint64_t ks_log_horizon(const struct ks_log *log, uint64_t now_unix_ms);
/* The first moment at which a record of that arrival has expired; UINT64_MAX: never. */
uint64_t ks_log_expires_unix_ms(const struct ks_log *log, uint64_t arrival_unix_ms);
/* Moves the edge to the horizon, as far as that can be told without waiting for the disk. */
void ks_log_advance_edge(struct ks_log *log, uint64_t horizon);
/* It was found further on; one that is behind is ignored. */
void ks_log_note_edge(struct ks_log *log, const struct ks_log_edge *edge);
/* The oldest record to be served; durable + 1: none. */
uint64_t ks_log_first_sequence(const struct ks_log *log, uint64_t durable);

#endif
