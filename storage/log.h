/*
 * The narrow waist: one shard's log, as everything above storage/ sees it. Records get strictly
 * increasing ordinals
 * ("sequence", dense, from 1), travel and rest in batches (proto/batch.h), and become readable when
 * they are durable. Nothing here names a file, an offset or a journal: another log engine can stand
 * below this header.
 *
 * Life:    made by the registry with its stream; referenced (ks_log_ref); gone when the last
 * reference goes. Threads: every function from any thread. None waits for the disk, but those with
 * may_block set.
 */
#ifndef KS_STORAGE_LOG_H
#define KS_STORAGE_LOG_H

#include "base/bytes.h"
#include "base/mailbox.h"
#include "base/status.h"

struct ks_log;

struct ks_log *ks_log_ref(struct ks_log *log);
void ks_log_unref(struct ks_log *log);
uint64_t ks_log_id(const struct ks_log *log);

/* When an append is answered. Readers see only what is durable, whatever it says. */
enum ks_ack {
    KS_ACK_DURABLE, /* it is on disk */
    /* It is in memory and has its sequence: a crash may lose it with all that follows in the log,
     * and its sequences then name other records. When the disk is far behind, as KS_ACK_DURABLE. */
    KS_ACK_MEMORY,
};

/* What there was no room in; KS_REFUSED_CLOSING: in the shard, which is about to close. */
enum ks_refusal {
    KS_REFUSED_CLOSING,
    KS_REFUSED_JOURNAL,
    KS_REFUSED_MEMORY,
    KS_REFUSED_DISK,
    KS_REFUSED_LIMIT, /* of the stream's own, by whoever would have appended */
    KS_REFUSAL_COUNT
};

/*
 * One append of one batch. Memory of the caller, untouched by it from ks_log_append until deliver
 * has run on home's owner.
 */
struct ks_append {
    struct ks_mail mail;     /* set mail.deliver; the completion */
    struct ks_mailbox *home; /* borrowed; where the completion goes */
    struct ks_view
        records; /* validated `repeated Record` bytes (proto/batch.h); only read during the call */
    uint32_t record_count;  /* of records; at least 1 */
    uint32_t body_crc;      /* of records, from the validation */
    uint64_t routing_epoch; /* the epoch the caller routed with; 0 = do not check */
    uint64_t producer_id;   /* 0 = not idempotent */
    uint64_t producer_sequence;
    bool is_producer_first;  /* accept an unknown producer with this sequence */
    bool is_producer_repeat; /* but it was sent before, outcome unknown: not if it may be forgotten
                              */
    enum ks_ack ack;

    enum ks_status
        status; /* KS_OK: what ack asks for. KS_POISONED: outcome unknown until the next start */
    uint64_t first_sequence; /* of this batch, or of the first one like it if is_duplicate */
    uint64_t arrival_unix_ms;
    bool is_duplicate;
    enum ks_refusal refusal;  /* why ks_log_append told to come again */
    uint64_t durable_mono_ns; /* when it became durable; 0: it was answered before that */

    /* Private to storage/. */
    uint64_t queued_mono_ns;
    struct ks_list commit_link;
    struct ks_log *log;
    struct ks_tail_chunk *chunk; /* NULL: nothing to write, a duplicate waiting its turn */
    uint32_t chunk_offset;
    uint32_t stored_bytes;
    uint64_t last_sequence;
    uint64_t reserved_bytes;
};

/*
 * Takes every resource, assigns sequences, copies the batch into the tail, queues it for the
 * committer. KS_OK: deliver will run exactly once. Anything else: nothing was stored, deliver will
 * not run. Errors: KS_THROTTLED memory or journal is full (retry); KS_STORAGE_FULL the disk is;
 * KS_TOO_LARGE the batch can never fit; KS_WOULD_BLOCK the shard is about to close, its children
 * will be there soon: look for a newer routing epoch; KS_SHARD_CLOSED it is closed, and the batch
 * is certainly not in it; KS_ROUTING_CHANGED; KS_NOT_FOUND deleted; KS_PRODUCER_MISMATCH, _GAP (the
 * text says which sequence is expected), _UNKNOWN; KS_POISONED; KS_STOPPING.
 */
enum ks_status ks_log_append(
    struct ks_log *log, struct ks_append *append, struct ks_error *err) KS_MUST_USE;

/* What a reader may know. All from one moment. */
struct ks_log_bounds {
    uint64_t first_sequence; /* oldest record still there; last_sequence + 1 when there is none */
    uint64_t last_sequence;  /* newest durable record; 0 = none ever */
    uint64_t last_arrival_unix_ms; /* of last_sequence; 0 = none ever */
    bool is_closed;  /* last_sequence is the end for ever, and the children can be found */
    bool is_deleted; /* reads are answered KS_NOT_FOUND */
};
void ks_log_bounds(struct ks_log *log, struct ks_log_bounds *out);

/*
 * A party's wish to hear of the next thing that happens to a log: its memory, from arm until
 * deliver has run on home's owner or a disarm that returned true; it holds a reference to the log
 * as long.
 */
struct ks_log_watch {
    struct ks_mail mail;       /* set mail.deliver */
    struct ks_mailbox *home;   /* borrowed */
    struct ks_log_watch *next; /* private */
};

/*
 * The mail comes once, when records become durable, the log is closed for good or deleted; then the
 * watch is disarmed. Look at the bounds after arming: what happened before is not told.
 */
void ks_log_watch_arm(struct ks_log *log, struct ks_log_watch *watch);
/* False: the mail is under way. Other parties' watches may be mailed for nothing. */
bool ks_log_watch_disarm(struct ks_log *log, struct ks_log_watch *watch) KS_MUST_USE;

#define KS_READ_EXTENTS_MAX 16

/* Contiguous stored batches, by reference. They stay valid until ks_read_release, whatever happens
 * to the log. */
struct ks_read {
    struct ks_view extents[KS_READ_EXTENTS_MAX];
    void *pins[KS_READ_EXTENTS_MAX]; /* private */
    uint8_t pin_kinds[KS_READ_EXTENTS_MAX];
    uint32_t extent_count; /* 0: nothing there yet (or at the end of a closed log) */
    uint32_t skip;         /* records of the first batch that come before from_sequence */
    uint32_t take; /* records to deliver after those; the rest of the last batch is not asked for */
    uint64_t next_sequence;        /* where to go on */
    uint64_t bytes;                /* of all extents */
    uint64_t last_arrival_unix_ms; /* arrival of the last record taken; 0 if none */
};

struct ks_read_request {
    uint64_t from_sequence; /* first record wanted; below the oldest one it is raised to it */
    uint64_t bytes_max;     /* of extents; at least one batch is given whatever its size */
    uint32_t records_max;   /* 1.. */
    bool may_block;         /* false: KS_WOULD_BLOCK when the disk would have to be waited for */
};

/*
 * Reads durable records only. A damaged stretch is answered by a batch of kind `damaged` in its
 * place, never skipped. out_read is valid only on KS_OK, then ks_read_release is due. Errors:
 * KS_WOULD_BLOCK; KS_IO; KS_NO_MEMORY; KS_NOT_FOUND deleted.
 */
enum ks_status ks_log_read(struct ks_log *log, const struct ks_read_request *request,
    struct ks_read *out_read, struct ks_error *err) KS_MUST_USE;
void ks_read_release(struct ks_read *read);

/*
 * The first record with arrival >= unix_ms; last_sequence + 1 if all are older.
 * Errors: KS_WOULD_BLOCK unless may_block; KS_IO; KS_NOT_FOUND deleted.
 */
enum ks_status ks_log_find_time(struct ks_log *log, uint64_t unix_ms, bool may_block,
    uint64_t *out_sequence, struct ks_error *err) KS_MUST_USE;

/* The last sequence accepted from a producer, for one that resumes. KS_PRODUCER_UNKNOWN: none is
 * known. */
struct ks_producer_state {
    uint64_t sequence;
    uint64_t first_sequence;
    uint32_t record_count;
    uint32_t body_crc;
};
enum ks_status ks_log_producer_state(struct ks_log *log, uint64_t producer_id,
    struct ks_producer_state *out, struct ks_error *err) KS_MUST_USE;

#endif
