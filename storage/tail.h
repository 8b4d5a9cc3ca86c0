/*
 * The tail: the newest batches of one log, in memory, in stored form (proto/batch.h). An
 * append-only chain of counted chunks; a batch never spans chunks. Bytes once written never change,
 * so a reader that holds a reference reads without a lock.
 *
 * Life of a byte: appended (not yet durable) -> durable -> in a segment and flushed -> trimmed; a
 * chunk's memory is freed with its last reference. Threads: all under the log's mutex, but reading
 * bytes of a referenced chunk.
 */
#ifndef KS_STORAGE_TAIL_H
#define KS_STORAGE_TAIL_H

#include "base/bytes.h"
#include "base/list.h"
#include "base/status.h"
#include "proto/batch.h"
#include "storage/tail_pool.h"

#include <stdatomic.h>

/* Bytes of tails in the whole process, with a ceiling, and memory for the small ones. Threads: any.
 */
struct ks_tail_budget {
    struct ks_tail_pool pool;
    _Atomic uint64_t used_bytes;
    _Atomic uint64_t bytes_max; /* may change while running; what is there stays */
};

struct ks_tail_mark;

struct ks_tail_chunk {
    struct ks_list link;   /* in the tail, until trimmed */
    _Atomic uint32_t refs; /* the tail holds one, each read, queued append and flush one */
    uint32_t capacity_bytes;
    uint32_t used_bytes;     /* [log mutex] */
    uint32_t flushed_bytes;  /* [log mutex] of used_bytes, those at or below the flushed sequence */
    uint32_t batch_count;    /* [log mutex] */
    uint64_t first_sequence; /* of the first batch; 0 while empty */
    uint64_t last_sequence;  /* [log mutex] of the last batch */
    struct ks_tail_mark *marks; /* [log mutex] a batch about every 4 KiB, so that none is looked for
                                   by a long walk */
    uint32_t mark_count;        /* [log mutex] */
    uint64_t memory_bytes;      /* charged to the budget */
    struct ks_tail_budget *budget; /* gets the memory back at the end */
    uint8_t data[];
};

struct ks_tail {
    struct ks_list chunks; /* oldest first; all but the last are full */
    uint64_t bytes;        /* stored bytes in the chain above the flushed sequence */
    struct ks_tail_budget *budget;
    uint32_t chunk_bytes; /* size of a full-grown chunk; the first of an idle log is 512 bytes,
                             doubling */
};

void ks_tail_budget_init(struct ks_tail_budget *budget, uint64_t bytes_max);
void ks_tail_budget_fini(struct ks_tail_budget *budget); /* no chunk is left */

void ks_tail_init(struct ks_tail *tail, struct ks_tail_budget *budget, uint32_t chunk_bytes);
void ks_tail_fini(struct ks_tail *tail);

/*
 * Room for stored_bytes in one chunk, charged to the budget. Errors: KS_THROTTLED budget;
 * KS_NO_MEMORY. Changes nothing visible. may_exceed: charge without refusing (recovery: what is
 * durable must fit).
 */
enum ks_status ks_tail_reserve(
    struct ks_tail *tail, uint32_t stored_bytes, bool may_exceed) KS_MUST_USE;
/* Cannot fail after a reserve of the same size. Returns where the caller writes stored_bytes;
 * *out_chunk is referenced once for the caller. */
uint8_t *ks_tail_append(struct ks_tail *tail, uint32_t stored_bytes, uint64_t first_sequence,
    uint64_t last_sequence, struct ks_tail_chunk **out_chunk, uint32_t *out_offset);
/* Forgets whole chunks whose last sequence is <= flushed_sequence; bytes no longer counts the
 * others' flushed part. */
void ks_tail_trim(struct ks_tail *tail, uint64_t flushed_sequence);
/* First sequence in the chain, 0 when empty. May be below flushed + 1: chunks are trimmed whole. */
uint64_t ks_tail_first_sequence(const struct ks_tail *tail);

struct ks_tail_chunk *ks_tail_chunk_ref(struct ks_tail_chunk *chunk);
void ks_tail_chunk_unref(struct ks_tail_chunk *chunk);

/* A run of whole batches inside one chunk. */
struct ks_tail_extent {
    struct ks_tail_chunk *chunk; /* referenced */
    uint32_t offset;
    uint32_t bytes;
    uint64_t first_sequence;
    uint64_t last_sequence;
    uint32_t batch_count;
};

/*
 * Collects extents holding the batches whose last sequence is above after_sequence and at most
 * last_sequence (an after_sequence inside a batch gives that batch), at most bytes_max in all and
 * count_max extents; stops at a batch boundary, never in a batch. Returns the number of extents (0:
 * nothing fits or nothing is there).
 */
uint32_t ks_tail_collect(struct ks_tail *tail, uint64_t after_sequence, uint64_t last_sequence,
    uint64_t bytes_max, struct ks_tail_extent *extents, uint32_t count_max);

/* Keeps the first batch_count batches of an extent, which has so many at least; not 0. */
void ks_tail_extent_cut(struct ks_tail_extent *extent, uint32_t batch_count);

/*
 * The first batch that begins at or below last_sequence and arrived at unix_ms or later; arrivals
 * never go back. with_damage: damaged batches right before it, whose arrival nobody knows, belong
 * to it. False: there is none.
 */
struct ks_tail_arrival {
    uint64_t first_sequence;
    uint64_t arrival_unix_ms; /* a lower bound, for a damaged one */
};
struct ks_tail_query {
    uint64_t unix_ms;
    uint64_t last_sequence;
    bool with_damage;
};
bool ks_tail_find_arrival(const struct ks_tail *tail, const struct ks_tail_query *query,
    struct ks_tail_arrival *out) KS_MUST_USE;

#endif
