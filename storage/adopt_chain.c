/*
 * Which segments of a log count: those that follow each other without a gap, as far as any do. Two
 * may hold the same records, when a flush was cut short before its commit and done again elsewhere.
 */
#include "base/alloc.h"
#include "proto/limits.h"
#include "storage/adopt_priv.h"
#include "storage/producers.h"

#include <stdlib.h>
#include <string.h>

/*
 * A log whose segments have all expired since the copy was made is, to look at, one that never had
 * more records. Sequences are never used twice, so it goes on so much higher: more than a shard
 * takes in years.
 */
#define SEQUENCES_SKIPPED (1ull << 40)

static bool is_there(const struct adopt_segment *segment)
{
    return segment->proof != ADOPT_MISSING && segment->proof != ADOPT_REUSED;
}

static int by_sequence(const void *a, const void *b)
{
    const struct adopt_segment *left = a;
    const struct adopt_segment *right = b;
    if (left->row.first_sequence != right->row.first_sequence)
        return left->row.first_sequence < right->row.first_sequence ? -1 : 1;
    return left->file_id < right->file_id ? -1 : left->file_id > right->file_id;
}

static bool is_better(const struct adopt_segment *a, const struct adopt_segment *b)
{
    return a->reach != b->reach ? a->reach > b->reach : a->gaps < b->gaps;
}

/* The best one of those behind the segment at i; i: there is none. A segment that was
 * walked may have ended at damage: then whatever comes next follows it. */
static uint32_t find_next(const struct adopt_log *log, uint32_t i)
{
    const struct adopt_segment *segment = &log->segments[i];
    uint64_t wanted = segment->row.last_sequence + 1;
    uint32_t best = i;
    for (uint32_t k = i + 1; k < log->segment_count; k++) {
        const struct adopt_segment *other = &log->segments[k];
        if (other->row.first_sequence < wanted)
            continue;
        if (other->row.first_sequence > wanted && segment->proof == ADOPT_WALK && best == i)
            wanted = other->row.first_sequence;
        if (other->row.first_sequence > wanted)
            break;
        if (best == i || is_better(other, &log->segments[best]))
            best = k;
    }
    return best;
}

/* The chain that goes furthest; of those the one with the fewest gaps, then the one that begins
 * first. */
static void choose_chain(struct adopt_log *log)
{
    if (log->segment_count == 0)
        return;
    qsort(log->segments, log->segment_count, sizeof *log->segments, by_sequence);
    for (uint32_t i = log->segment_count; i-- > 0;) {
        struct adopt_segment *segment = &log->segments[i];
        segment->next = find_next(log, i);
        const struct adopt_segment *next = &log->segments[segment->next];
        bool is_last = segment->next == i;
        segment->reach = is_last ? segment->row.last_sequence : next->reach;
        segment->gaps = is_last ? 0 : next->gaps;
        segment->gaps += !is_last && next->row.first_sequence > segment->row.last_sequence + 1;
    }
    for (uint32_t i = 1; i < log->segment_count; i++)
        if (is_better(&log->segments[i], &log->segments[log->first]))
            log->first = i;
    log->has_chain = true;
}

/* What is gone at the beginning has expired. A file that became something else is gone for good,
 * and with it what lay before; one that is missing behind others is damage, told to readers. */
static void cut_beginning(struct adopt_log *log)
{
    uint32_t first = log->first;
    bool is_leading = true;
    for (uint32_t i = first;; i = log->segments[i].next) {
        const struct adopt_segment *segment = &log->segments[i];
        is_leading = is_leading && !is_there(segment);
        if (is_leading || segment->proof == ADOPT_REUSED) {
            first = segment->next;
            log->has_chain = segment->next != i;
        }
        if (segment->next == i)
            break;
    }
    log->first = first;
}

/* All but the last are sealed and end where the next one begins. */
static void seal_all_but_last(struct adopt_log *log)
{
    for (uint32_t i = log->first; log->segments[i].next != i; i = log->segments[i].next) {
        Kstream__Catalog__FileRow *row = &log->segments[i].row;
        if (row->status == KS_FILE_SEALED)
            continue;
        row->status = KS_FILE_SEALED;
        row->last_sequence = log->segments[log->segments[i].next].row.first_sequence - 1;
        row->readable_bytes = ks_max_u64(row->readable_bytes, row->file_bytes);
    }
}

static void keep_files(struct adopt *adopt, struct adopt_log *log)
{
    for (uint32_t i = log->first;; i = log->segments[i].next) {
        struct adopt_file *file = ks_u64_map_get(&adopt->files, log->segments[i].file_id);
        file->is_kept = true;
        adopt->counts.segments +=
            is_there(&log->segments[i]) && log->segments[i].proof != ADOPT_ROW;
        if (log->segments[i].next == i)
            break;
    }
}

static uint32_t chain_last(const struct adopt_log *log)
{
    uint32_t i = log->first;
    while (log->segments[i].next != i)
        i = log->segments[i].next;
    return i;
}

/* ---- producers ---- */

/* Batches above the copy's flushpoint. What cannot be read is left out: its producer is told that
 * it is unknown, never that something was stored. */
static enum ks_status note_producers(struct ks_file *file, const Kstream__Catalog__FileRow *row,
    uint64_t above, struct ks_producers **producers)
{
    uint64_t offset = KS_SEGMENT_HEADER_BYTES;
    enum ks_status st = KS_OK;
    while (!st && offset + KS_BATCH_HEADER_BYTES < row->readable_bytes) {
        uint8_t prefix[KS_BATCH_PREFIX_BYTES_MAX];
        struct ks_batch_header header;
        size_t stored_bytes = 0;
        size_t wanted = (size_t)ks_min_u64(sizeof prefix, row->readable_bytes - offset);
        if (ks_file_read_exactly(file, prefix, wanted, offset, NULL) ||
            ks_batch_decode_prefix(ks_view_of(prefix, wanted), &header, &stored_bytes) ||
            header.log_id != row->log_id)
            break;
        offset += stored_bytes;
        if (header.producer_id == 0 || header.first_sequence <= above)
            continue;
        if (!*producers)
            st = ks_producers_create(producers);
        if (!st)
            st = ks_producers_reserve(*producers, header.producer_id);
        const struct ks_producer_batch batch = {.sequence = header.producer_sequence,
            .first_sequence = header.first_sequence,
            .arrival_unix_ms = header.arrival_unix_ms,
            .record_count = header.record_count,
            .body_crc = header.body_crc};
        if (!st)
            ks_producers_record(*producers, header.producer_id, &batch);
    }
    return st;
}

/* The table as of the new flushpoint. */
static enum ks_status find_producers(
    struct adopt *adopt, struct adopt_log *log, struct ks_error *err)
{
    KS_CLEANUP(ks_producers_destroyp) struct ks_producers *producers = NULL;
    const Kstream__Catalog__FlushpointRow *old = log->flushpoint;
    uint64_t above = old ? old->last_sequence : 0;
    enum ks_status st = KS_OK;
    if (old && old->has_producers)
        st = ks_producers_decode(ks_view_of(old->producers.data, old->producers.len), &producers);
    for (uint32_t i = log->first; !st;) {
        const struct adopt_segment *segment = &log->segments[i];
        if (is_there(segment) && segment->row.last_sequence > above) {
            char path[KS_FILE_PATH_BYTES];
            KS_CLEANUP(ks_file_closep) struct ks_file *file = NULL;
            ks_files_path(segment->file_id, path);
            st = ks_io_open(adopt->io, path, KS_OPEN_READ, &file, err);
            if (!st)
                st = note_producers(file, &segment->row, above, &producers);
        }
        if (segment->next == i)
            break;
        i = segment->next;
    }
    if (st)
        return ks_fail(
            err, st, 0, "cannot find the producers of log %llu", (unsigned long long)log->log_id);
    if (producers && !ks_producers_encode(producers, log->flushed.last_sequence, &log->producers))
        return adopt_no_memory(err);
    return KS_OK;
}

/* ---- the flushpoint ---- */

static enum ks_status set_flushpoint(
    struct adopt *adopt, struct adopt_log *log, struct ks_error *err)
{
    const struct adopt_segment *last = &log->segments[chain_last(log)];
    log->needs_flushpoint = true;
    log->flushed.file_id = last->file_id;
    log->flushed.generation = last->row.generation;
    log->flushed.flushed_bytes = last->row.readable_bytes;
    log->flushed.last_sequence = last->row.last_sequence;
    log->flushed.last_arrival_unix_ms = last->row.last_arrival_unix_ms;
    log->flushed.is_closed = last->is_closed;
    log->is_closed = log->is_closed || last->is_closed;
    return find_producers(adopt, log, err);
}

/* Nothing of it is in segments any more, or never was. */
static void set_no_segments(const struct adopt *adopt, struct adopt_log *log)
{
    log->has_chain = false;
    if (!adopt->may_have_expired || log->is_closed || log->is_in_journal || log->is_new ||
        log->status == KS_SHARD_ROW_CLOSED)
        return; /* nothing will be appended, or the journal says where it goes on */
    log->needs_flushpoint = true;
    log->is_skipping = true;
    log->flushed.last_sequence += SEQUENCES_SKIPPED;
    log->flushed.is_closed = false;
    if (log->flushpoint && log->flushpoint->has_producers &&
        !ks_buf_append(
            &log->producers, log->flushpoint->producers.data, log->flushpoint->producers.len))
        log->producers.bytes = 0; /* its producers are unknown then */
}

void adopt_log_close(struct adopt_log *log, uint64_t closed_s)
{
    if (log->is_skipping) {
        log->needs_flushpoint = false;
        log->flushed.last_sequence -= SEQUENCES_SKIPPED;
    }
    log->status = KS_SHARD_ROW_CLOSED;
    log->closed_s = closed_s;
    log->end_sequence = adopt_last_record(log);
}

enum ks_status adopt_log_settle(struct adopt *adopt, struct adopt_log *log, struct ks_error *err)
{
    uint64_t old = log->flushpoint ? log->flushpoint->last_sequence : 0;
    choose_chain(log);
    if (log->has_chain)
        cut_beginning(log);
    if (log->has_chain)
        seal_all_but_last(log);
    uint64_t end = log->has_chain ? log->segments[chain_last(log)].row.last_sequence : 0;
    if (end < old || end == 0) {
        set_no_segments(adopt, log);
        return KS_OK;
    }
    keep_files(adopt, log);
    return end > old ? set_flushpoint(adopt, log, err) : KS_OK;
}
