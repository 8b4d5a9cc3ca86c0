/*
 * One shard's table of idempotent producers (DESIGN §8): for each producer id its last few batches,
 * so that a retry is answered with the first result and stores nothing twice. Bounded:
 * KS_PRODUCERS_MAX producers, oldest use forgotten first. Threads: guarded by the log's mutex.
 */
#ifndef KS_STORAGE_PRODUCERS_H
#define KS_STORAGE_PRODUCERS_H

#include "base/bytes.h"
#include "base/status.h"

#define KS_PRODUCERS_MAX 128 /* a shard; about 40 KiB when full */
#define KS_PRODUCER_BATCHES                                                                        \
    10 /* remembered in memory: at most 5 in flight, and 5 durable ones behind them */

struct ks_producer_batch {
    uint64_t sequence;       /* the producer's */
    uint64_t first_sequence; /* the log's */
    uint64_t arrival_unix_ms;
    uint32_t record_count;
    uint32_t body_crc;
};

struct ks_producers;

enum ks_status ks_producers_create(struct ks_producers **out_producers) KS_MUST_USE;
void ks_producers_destroy(struct ks_producers *producers);
KS_DEFINE_CLEANUP(struct ks_producers, ks_producers_destroy)

enum ks_producer_verdict {
    KS_PRODUCER_ACCEPT,    /* store it */
    KS_PRODUCER_DUPLICATE, /* *out_batch is the first result */
    KS_PRODUCER_REFUSE,    /* the status says why */
};

/* Judges a put; changes nothing. producers may be NULL (nobody known). *out_expected: the sequence
 * accepted next, 0 if none. */
enum ks_producer_verdict ks_producers_judge(const struct ks_producers *producers,
    uint64_t producer_id, uint64_t sequence, bool is_first, uint32_t record_count,
    uint32_t body_crc, struct ks_producer_batch *out_batch, enum ks_status *out_status,
    uint64_t *out_expected);
/* Makes room for one more producer if needed, so that record cannot fail. Errors: KS_NO_MEMORY. */
enum ks_status ks_producers_reserve(
    struct ks_producers *producers, uint64_t producer_id) KS_MUST_USE;
/* Notes an accepted (or replayed) batch. */
void ks_producers_record(
    struct ks_producers *producers, uint64_t producer_id, const struct ks_producer_batch *batch);
/* Could this batch, which is not in the table, have been stored and forgotten? One before those
 * that are remembered of its producer could; one of an unknown producer, when the table is full. */
bool ks_producers_may_have_forgotten(
    const struct ks_producers *producers, uint64_t producer_id, uint64_t sequence);
/* The newest batch of a producer; NULL if unknown. */
const struct ks_producer_batch *ks_producers_last(
    const struct ks_producers *producers, uint64_t producer_id);

/*
 * The table as of last_sequence (no batch above it), for the flushpoint row. Take it when the bytes
 * to flush are chosen, not when they are written: the list remembers few batches, and newer ones
 * push out those at last_sequence. false: buffer's ceiling or memory.
 */
bool ks_producers_encode(
    const struct ks_producers *producers, uint64_t last_sequence, struct ks_buf *to) KS_MUST_USE;
/* Errors: KS_CORRUPT; KS_NO_MEMORY. An empty view gives *out_producers = NULL. */
enum ks_status ks_producers_decode(
    struct ks_view from, struct ks_producers **out_producers) KS_MUST_USE;

#endif
