/*
 * The journal: what makes an append durable. A set of preallocated, recycled files
 * "journal/NNNN.jnl", shared by all logs; blocks of whole batches, one write each, O_DIRECT and
 * synced by that write. FORMAT.md has every byte.
 *
 * Life of a file: made (allocated, dir synced) -> ready (and zeroed, in time) -> current -> full ->
 * (every log's last sequence in it is covered by a durable flushpoint or tombstone) -> ready again.
 * LSNs are consecutive within a run and never reused.
 *
 * Threads: ks_journal_reserve/release/cover from any thread; block functions (journal_priv.h) from
 * the commit step only; files are made by the journal step.
 */
#ifndef KS_STORAGE_JOURNAL_H
#define KS_STORAGE_JOURNAL_H

#include "base/bytes.h"
#include "base/status.h"
#include "proto/batch.h"

struct ks_engine;
struct ks_journal;

#define KS_JOURNAL_BLOCK_ALIGN 4096u

enum ks_journal_entry_type {
    KS_JOURNAL_DATA = 1,   /* a stored batch of a log */
    KS_JOURNAL_OPEN = 2,   /* reserved for the bulk bypass: log, file, generation, first sequence */
    KS_JOURNAL_EXTENT = 3, /* reserved: log, file, generation, offset, bytes, sequences, crc */
};

/* One row of a block's entry table. */
struct ks_journal_entry {
    enum ks_journal_entry_type type;
    enum ks_batch_kind kind;
    uint64_t log_id;
    uint64_t first_sequence;
    uint64_t last_sequence;
    uint32_t offset; /* in the block's payload */
    uint32_t bytes;
};

/* A longer batch fits no block. */
uint64_t ks_journal_batch_bytes_max(const struct ks_journal *journal);
/* Room for a batch in a later block: contiguous room in zeroed files is counted, so that after a
 * KS_OK nothing but the disk can fail. Errors: KS_THROTTLED (full until a flush), KS_TOO_LARGE
 * (never fits a block). *out_reserved is given to ks_journal_release when the block that holds the
 * batch is formed, or when the append is given up. */
enum ks_status ks_journal_reserve(
    struct ks_journal *journal, uint32_t stored_bytes, uint64_t *out_reserved) KS_MUST_USE;
void ks_journal_release(struct ks_journal *journal, uint64_t reserved_bytes);
/* The same for a block without batches. Of the commit step only. Errors: KS_THROTTLED. */
enum ks_status ks_journal_reserve_empty(
    struct ks_journal *journal, uint64_t *out_reserved) KS_MUST_USE;

/* How full: 0..100, of the bytes that may be used before the hard limit. The flusher starts in
 * earnest at 50. */
unsigned ks_journal_used_percent(struct ks_journal *journal);

/* A durable flushpoint or tombstone covers log_id up to last_sequence: files left without a need
 * become ready again. */
void ks_journal_cover(struct ks_journal *journal, uint64_t log_id, uint64_t last_sequence);
/* The lowest LSN that lies in any file, recycled ones included: recovery may meet it, so only
 * tombstones below it can go. */
uint64_t ks_journal_oldest_lsn(struct ks_journal *journal);
/* Calls each(arg, log_id), without a lock, for the logs (256 at most) that keep the oldest file
 * with a need from being recycled: they come first to the flusher. */
void ks_journal_oldest_logs(
    struct ks_journal *journal, void (*each)(void *arg, uint64_t log_id), void *arg);

/* The last LSN this run knows durable, and how many ordinals there are up to it: goes into catalog
 * commits, so that recovery can tell damage from a torn tail, and how much is missing. */
struct ks_journal_durable {
    uint64_t run_id;
    uint64_t lsn; /* 0 = nothing of this run yet */
    uint64_t ordinals;
};
struct ks_journal_durable ks_journal_durable(struct ks_journal *journal);

#endif
