/* One log's part of a flush: chosen under its mutex, written without, published under it again. */
#include "base/alloc.h"
#include "proto/catalog.pb-c.h"
#include "storage/engine_priv.h"
#include "storage/flush_priv.h"

#include <pthread.h>
#include <string.h>

#define WRITEBACK_BYTES (1u << 20)
#define SYNC_HELPERS_MAX 16u
#define SYNC_FILES_PER_HELPER 4u
#define PRODUCERS_BYTES_MAX (1u << 20)

/* ---- choosing ---- */

static void extents_release(struct ks_flush_job *job)
{
    for (uint32_t i = 0; i < job->extent_count; i++)
        ks_tail_chunk_unref(job->extents[i].chunk);
    job->extent_count = 0;
}

void ks_flush_job_free(struct ks_flush_job *job)
{
    extents_release(job);
    ks_file_close(job->file);
    ks_buf_fini(&job->producers);
    ks_free(job->sparse);
    {
        KS_LOCK_SCOPE(&job->log->mu);
        job->log->is_flushing = false;
    }
    if (job->segment)
        ks_segment_unref(job->segment);
    ks_log_unref(job->log);
    ks_free(job);
}

static struct ks_segment *active_segment(const struct ks_log *log)
{
    if (log->segments.count == 0)
        return NULL;
    struct ks_segment *last = log->segments.items[log->segments.count - 1];
    return last->state == KS_SEGMENT_ACTIVE ? last : NULL;
}

static uint64_t footer_bound(const struct ks_segment *segment, uint32_t batch_count)
{
    const struct ks_engine_limits *limits = &segment->engine->options.limits;
    uint64_t bytes = ks_max_u64(segment->readable_bytes, limits->segment_bytes);
    uint64_t marks = bytes / limits->index_interval_bytes + 2;
    /* No mark without a batch of its own. */
    return ks_footer_bytes_bound(batch_count, ks_min_u64(marks, batch_count));
}

/* Keeps the first batches_max batches of what was collected. */
static void extents_cut(struct ks_flush_job *job, uint32_t batches_max)
{
    uint32_t left = batches_max;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < job->extent_count; i++) {
        struct ks_tail_extent *extent = &job->extents[i];
        if (left == 0) {
            ks_tail_chunk_unref(extent->chunk);
            continue;
        }
        ks_tail_extent_cut(extent, KS_MIN(left, extent->batch_count));
        left -= extent->batch_count;
        kept++;
    }
    job->extent_count = kept;
}

static void collect(
    struct ks_flush_job *job, const struct ks_segment *segment, uint64_t up_to, uint64_t bytes_max)
{
    struct ks_log *log = job->log;
    job->extent_count = ks_tail_collect(
        &log->tail, log->flushed_sequence, up_to, bytes_max, job->extents, KS_FLUSH_EXTENTS_MAX);
    uint32_t batches_max = log->engine->options.limits.segment_batches_max;
    uint32_t batches = segment ? segment->batch_count : 0;
    extents_cut(job, batches_max > batches ? batches_max - batches : 0);
    job->bytes = 0;
    job->batch_count = 0;
    for (uint32_t i = 0; i < job->extent_count; i++) {
        job->bytes += job->extents[i].bytes;
        job->batch_count += job->extents[i].batch_count;
    }
}

/* At most what leaves room for the footer, and what a footer can list; a fresh segment takes one
 * batch whatever its size. */
static void collect_for(struct ks_flush_job *job, const struct ks_segment *segment, uint64_t up_to)
{
    const struct ks_engine_limits *limits = &job->log->engine->options.limits;
    uint64_t used = segment ? segment->readable_bytes : KS_SEGMENT_HEADER_BYTES;
    uint32_t batches = segment ? segment->batch_count : 0;
    uint64_t footer = segment ? footer_bound(segment, batches) : ks_footer_bytes_bound(0, 0);
    uint64_t room =
        limits->segment_bytes > used + footer ? limits->segment_bytes - used - footer : 0;
    collect(job, segment, up_to, room);
    uint64_t more_footer =
        ks_footer_bytes_bound(job->batch_count, job->batch_count) - ks_footer_bytes_bound(0, 0);
    if (job->extent_count > 0 && job->bytes + more_footer > room) {
        extents_release(job);
        collect(job, segment, up_to, room > more_footer ? room - more_footer : 0);
    }
    if (job->extent_count > 0 || used > KS_SEGMENT_HEADER_BYTES)
        return;
    collect(job, segment, up_to, KS_BATCH_STORED_BYTES_MAX);
    for (uint32_t i = 1; i < job->extent_count; i++)
        ks_tail_chunk_unref(job->extents[i].chunk);
    job->extent_count = KS_MIN(job->extent_count, 1u);
}

/* Under the log's mutex. False: nothing can be flushed now. */
static bool plan_locked(struct ks_flush_job *job)
{
    struct ks_log *log = job->log;
    uint64_t up_to = atomic_load(&log->durable_sequence) + atomic_load(&log->durable_end);
    struct ks_segment *segment = active_segment(log);
    bool can_seal = segment && segment->batch_count > 0;
    log->wants_seal = log->wants_seal && can_seal;
    if (log->state == KS_LOG_DELETED || log->is_flushing ||
        (up_to <= log->flushed_sequence && !log->wants_seal))
        return false;
    if (!log->wants_seal)
        collect_for(job, segment, up_to);
    job->is_seal = job->extent_count == 0;
    if (job->is_seal && !can_seal)
        return false;
    job->last_sequence =
        job->is_seal ? log->flushed_sequence : job->extents[job->extent_count - 1].last_sequence;
    if (!job->is_seal && log->producers &&
        !ks_producers_encode(log->producers, job->last_sequence, &job->producers))
        return false;
    if (segment)
        job->segment = ks_segment_ref(segment);
    log->is_flushing = true;
    return true;
}

struct ks_flush_job *ks_flush_job_plan(struct ks_log *log)
{
    struct ks_flush_job *job = ks_zalloc(sizeof *job);
    if (!job)
        return NULL;
    ks_buf_init(&job->producers, PRODUCERS_BYTES_MAX);
    job->log = log;
    {
        KS_LOCK_SCOPE(&log->mu);
        if (plan_locked(job)) {
            ks_log_ref(log);
            return job;
        }
    }
    extents_release(job);
    ks_buf_fini(&job->producers);
    ks_free(job);
    return NULL;
}

/* ---- writing ---- */

/*
 * Walks the headers of what will be written, once more before it goes to disk: this log's, without
 * a gap. Finds what the rows and the sparse index need.
 */
static bool scan(struct ks_flush_job *job, uint64_t first_sequence)
{
    uint32_t interval = job->log->engine->options.limits.index_interval_bytes;
    uint64_t entries_max = job->bytes / interval + 2;
    uint64_t now = ks_clock_unix_ms(job->log->engine->options.clock);
    job->sparse = ks_calloc(entries_max, sizeof *job->sparse);
    if (!job->sparse)
        return false;
    uint64_t offset = job->write_offset;
    uint64_t mark_at = offset;
    uint64_t expected = first_sequence;
    job->batch_count = 0;
    job->bytes = 0;
    for (uint32_t i = 0; i < job->extent_count; i++) {
        const struct ks_tail_extent *extent = &job->extents[i];
        for (uint32_t at = 0; at < extent->bytes;) {
            struct ks_batch_header header;
            size_t bytes = 0;
            struct ks_view rest =
                ks_view_of(extent->chunk->data + extent->offset + at, extent->bytes - at);
            KS_ASSERT(ks_batch_decode_prefix(rest, &header, &bytes) == KS_OK);
            KS_ASSERT(header.log_id == ks_log_id(job->log) && bytes <= rest.bytes);
            KS_ASSERT(header.first_sequence == expected);
            if (offset >= mark_at) {
                job->sparse[job->sparse_count++] = (struct ks_index_entry){.sequence = expected,
                    .arrival_unix_ms = header.arrival_unix_ms,
                    .offset = (uint32_t)offset};
                mark_at = offset + interval;
            }
            if (job->batch_count++ == 0)
                job->first_arrival_unix_ms = header.arrival_unix_ms;
            /* Of lost records only the latest possible arrival keeps their loss from expiring too
             * early. */
            job->last_arrival_unix_ms = header.kind == KS_BATCH_DAMAGED
                                            ? ks_max_u64(header.arrival_unix_ms, now)
                                            : header.arrival_unix_ms;
            job->last_sequence = ks_batch_last_sequence(&header);
            job->is_closed = header.kind == KS_BATCH_CLOSE;
            expected = header.first_sequence + header.record_count;
            offset += bytes;
            at += (uint32_t)bytes;
        }
    }
    job->bytes = offset - job->write_offset;
    return true;
}

/* A file for a log that has no active segment. The segment joins the log's list at once, empty, so
 * that a delete finds it. */
static enum ks_status take_segment(struct ks_flush_job *job, struct ks_error *err)
{
    struct ks_log *log = job->log;
    struct ks_engine *engine = log->engine;
    uint64_t file_id = 0;
    uint64_t generation = 0;
    enum ks_status st = ks_files_take(engine->files, &file_id, &generation);
    if (st)
        return st;
    struct ks_segment *segment = ks_segment_create(
        engine, file_id, generation, ks_log_id(log), job->extents[0].first_sequence);
    bool is_in = false;
    bool is_deleted = false;
    if (segment) {
        segment->is_header_checked = true;
        KS_LOCK_SCOPE(&log->mu);
        is_deleted = log->state == KS_LOG_DELETED;
        is_in = !is_deleted && ks_segment_list_reserve(&log->segments);
        if (is_in)
            ks_segment_list_push(&log->segments, ks_segment_ref(segment));
    }
    if (!is_in) {
        if (segment)
            ks_segment_unref(segment);
        ks_files_give_back(engine->files, file_id, generation);
        job->is_gone = is_deleted;
        return ks_fail(err, is_deleted ? KS_NOT_FOUND : KS_NO_MEMORY, 0, "cannot make a segment");
    }
    job->segment = segment;
    return KS_OK;
}

/* Real blocks for the write and the footer to come, so that neither can meet a full disk. */
static enum ks_status allocate(struct ks_flush_job *job, struct ks_error *err)
{
    struct ks_segment *segment = job->segment;
    const struct ks_engine_limits *limits = &segment->engine->options.limits;
    uint64_t end = job->write_offset + job->bytes;
    uint64_t needed = end + footer_bound(segment, segment->batch_count + job->batch_count);
    if (needed <= segment->allocated_bytes)
        return KS_OK;
    uint64_t step = ks_max_u64(limits->segment_step_bytes, segment->allocated_bytes);
    uint64_t target = ks_min_u64(segment->allocated_bytes + step, limits->segment_bytes);
    target = ks_round_up(ks_max_u64(target, needed), 4096);
    uint64_t from = segment->allocated_bytes;
    enum ks_status st = ks_file_allocate(job->file, from, target - from, err);
    if (!st)
        segment->allocated_bytes = target;
    return st;
}

/* Errors: KS_NOT_FOUND the stream is gone meanwhile. */
static enum ks_status header_fill(
    struct ks_flush_job *job, uint8_t bytes[KS_SEGMENT_HEADER_BYTES], struct ks_error *err)
{
    const struct ks_log_identity *identity = &job->log->identity;
    const struct ks_segment *segment = job->segment;
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = NULL;
    if (ks_registry_find_number(segment->engine, identity->stream_number, &stream)) {
        job->is_gone = true;
        return ks_fail(err, KS_NOT_FOUND, 0, "the stream of a segment was deleted");
    }
    struct ks_segment_header header = {.file_id = segment->file_id,
        .generation = segment->generation,
        .log_id = segment->log_id,
        .first_sequence = segment->first_sequence,
        .created_unix_ms = ks_clock_unix_ms(segment->engine->options.clock),
        .shard_created_s = identity->shard_created_s,
        .shard_index = identity->shard_index,
        .hash_first = identity->hash_first,
        .hash_last = identity->hash_last};
    _Static_assert(sizeof header.stream_id == sizeof stream->id, "a header holds an id");
    _Static_assert(sizeof header.stream_name == sizeof stream->name, "a header holds a name");
    memcpy(header.stream_id, stream->id, sizeof header.stream_id);
    memcpy(header.stream_name, stream->name, sizeof header.stream_name);
    ks_segment_header_encode(&header, bytes);
    return KS_OK;
}

/* Gathered writes of about a MiB, each sent on its way, so that the sync at the end is short. */
static enum ks_status write_batches(
    struct ks_flush_job *job, struct ks_view header, struct ks_error *err)
{
    struct iovec iov[KS_FLUSH_EXTENTS_MAX + 1];
    int iov_count = 0;
    uint64_t offset = job->write_offset - header.bytes;
    uint64_t pending = 0;
    if (header.bytes > 0) {
        iov[iov_count++] =
            (struct iovec){.iov_base = (void *)(uintptr_t)header.data, .iov_len = header.bytes};
        pending = header.bytes;
    }
    for (uint32_t i = 0; i < job->extent_count; i++) {
        const struct ks_tail_extent *extent = &job->extents[i];
        iov[iov_count++] = (struct iovec){
            .iov_base = extent->chunk->data + extent->offset, .iov_len = extent->bytes};
        pending += extent->bytes;
        if (pending < WRITEBACK_BYTES && i + 1 < job->extent_count)
            continue;
        enum ks_status st = ks_file_write(job->file, iov, iov_count, offset, KS_WRITE_PLAIN, err);
        if (st)
            return st;
        ks_file_start_writeback(job->file, offset, pending);
        offset += pending;
        pending = 0;
        iov_count = 0;
    }
    return KS_OK;
}

static enum ks_status write_job(struct ks_flush_job *job, struct ks_error *err)
{
    bool is_new = job->write_offset == KS_SEGMENT_HEADER_BYTES;
    KS_AUTO_FREE uint8_t *header = is_new ? ks_malloc(KS_SEGMENT_HEADER_BYTES) : NULL;
    if (is_new && !header)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot write a segment");
    enum ks_status st = is_new ? header_fill(job, header, err) : KS_OK;
    if (st)
        return st;
    st = write_batches(job, ks_view_of(header, is_new ? KS_SEGMENT_HEADER_BYTES : 0), err);
    if (st)
        ks_engine_poison(job->log->engine, err);
    return st;
}

/* The sparse entries in memory bound damage; a copy, for readers may replace them meanwhile. */
static struct ks_index_entry *sparse_copy(const struct ks_flush_job *job, uint32_t *out_count)
{
    KS_LOCK_SCOPE(&job->log->mu);
    const struct ks_segment *segment = job->segment;
    *out_count = segment->sparse_count;
    if (segment->sparse_count == 0)
        return NULL;
    struct ks_index_entry *copy =
        ks_memdup(segment->sparse, segment->sparse_count * sizeof *segment->sparse);
    *out_count = copy ? segment->sparse_count : 0;
    return copy;
}

static enum ks_status write_footer(
    struct ks_flush_job *job, const struct ks_buf *bytes, struct ks_error *err)
{
    uint64_t offset = job->segment->readable_bytes;
    job->file_bytes = offset + bytes->bytes;
    if (job->file_bytes > job->segment->allocated_bytes) {
        enum ks_status st = ks_file_allocate(job->file, offset, bytes->bytes, err);
        if (st)
            return st;
    }
    enum ks_status st =
        ks_file_write_one(job->file, bytes->data, bytes->bytes, offset, KS_WRITE_PLAIN, err);
    if (!st)
        st = ks_file_truncate(job->file, job->file_bytes, err);
    if (st)
        ks_engine_poison(job->log->engine, err);
    return st;
}

static enum ks_status seal_job(struct ks_flush_job *job, struct ks_error *err)
{
    uint32_t sparse_count = 0;
    KS_AUTO_FREE struct ks_index_entry *sparse = sparse_copy(job, &sparse_count);
    struct ks_footer footer;
    enum ks_status st =
        ks_segment_build_footer(job->segment, job->file, sparse, sparse_count, &footer, err);
    if (st)
        return st;
    struct ks_buf bytes;
    ks_buf_init(&bytes, KS_FOOTER_BYTES_MAX + 16);
    st = ks_footer_encode(&footer, &bytes) ? write_footer(job, &bytes, err)
                                           : ks_fail(err, KS_NO_MEMORY, 0, "cannot seal a segment");
    ks_buf_fini(&bytes);
    ks_footer_fini(&footer);
    return st;
}

/*
 * A segment of which nothing is flushed yet, and whose file has gone from the pool: it never was.
 * Sealed, it would be a segment without a record, which neither a search nor the next start can
 * place.
 */
static void drop_segment(struct ks_flush_job *job)
{
    struct ks_log *log = job->log;
    struct ks_segment *segment = KS_TAKE(job->segment);
    {
        KS_LOCK_SCOPE(&log->mu);
        struct ks_segment_list *list = &log->segments;
        job->is_gone = log->state == KS_LOG_DELETED;
        bool is_last = list->count > 0 && list->items[list->count - 1] == segment;
        KS_ASSERT(is_last || job->is_gone);
        /* A delete under way retires what is in the list; the file is then given back. */
        if (!job->is_gone)
            list->count--;
    }
    if (!job->is_gone) {
        ks_files_discard(log->engine->files, segment->file_id, segment->generation);
        ks_segment_unref(segment); /* the list's */
    }
    ks_segment_unref(segment);
}

/* Errors: KS_NOT_FOUND it has gone, and the segment with it. */
static enum ks_status open_empty(struct ks_flush_job *job, struct ks_error *err)
{
    char path[KS_FILE_PATH_BYTES];
    ks_files_path(job->segment->file_id, path);
    struct ks_io *io = job->segment->engine->options.io;
    enum ks_status st = ks_io_open(io, path, KS_OPEN_WRITE, &job->file, err);
    if (st == KS_NOT_FOUND)
        drop_segment(job);
    return st;
}

/* An active segment whose header is not what the catalog says is left as it is: what it held is
 * reported to readers as damaged, what comes goes to another file. */
static enum ks_status open_begun(struct ks_flush_job *job, struct ks_error *err)
{
    enum ks_status st = ks_segment_open_file(job->segment, KS_OPEN_WRITE, &job->file, err);
    if (st != KS_CORRUPT)
        return st;
    job->is_abandon = true;
    job->is_seal = true;
    job->file_bytes = job->segment->readable_bytes;
    extents_release(job);
    return KS_OK;
}

/* Ends, for each file that is missing leaves the pool. Errors: KS_WOULD_BLOCK the pool is empty. */
static enum ks_status open_job(struct ks_flush_job *job, struct ks_error *err)
{
    enum ks_status st;
    do {
        st = job->segment ? KS_OK : take_segment(job, err);
        if (st)
            return st;
        st = job->segment->batch_count > 0 ? open_begun(job, err) : open_empty(job, err);
    } while (st == KS_NOT_FOUND && !job->is_gone);
    return st;
}

static enum ks_status run_job(
    struct ks_flush_round *round, struct ks_flush_job *job, struct ks_error *err)
{
    enum ks_status st = open_job(job, err);
    round->files_missing += st == KS_WOULD_BLOCK;
    if (st || job->is_abandon)
        return st;
    if (job->is_seal)
        return seal_job(job, err);
    job->write_offset = job->segment->readable_bytes;
    if (!scan(job, job->extents[0].first_sequence))
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot write a segment");
    st = allocate(job, err);
    return st ? st : write_job(job, err);
}

/* ---- syncing ---- */

static void sync_job(struct ks_flush_job *job)
{
    struct ks_error error = KS_ERROR_INIT;
    if (!job->is_ready || job->is_abandon || job->is_synced)
        return;
    struct ks_engine *engine = job->log->engine;
    uint64_t begun_ns = ks_clock_mono_ns(engine->options.clock);
    enum ks_status st = ks_file_sync(job->file, &error);
#ifdef KS_PLANTED_BUG_RETRY_FAILED_SYNC
    if (st)
        st = ks_file_sync(job->file, &error);
#endif
    if (st)
        ks_engine_poison(engine, &error);
    ks_latency_add(
        &engine->latencies.segment_sync, begun_ns, ks_clock_mono_ns(engine->options.clock), 1);
    job->is_synced = st == KS_OK;
}

struct sync_work {
    struct ks_flush_round *round;
    _Atomic uint32_t next;
};

static void *sync_some(void *arg)
{
    struct sync_work *work = arg;
    for (;;) {
        uint32_t i = atomic_fetch_add(&work->next, 1);
        if (i >= work->round->count)
            return NULL;
        sync_job(work->round->jobs[i]);
    }
}

/* Many small syncs go faster side by side: helpers for this round only, so that idleness costs
 * none. The simulation has no threads and does them in order. */
void ks_flush_round_sync(struct ks_flush_round *round)
{
    struct sync_work work = {.round = round};
    pthread_t helpers[SYNC_HELPERS_MAX];
    uint32_t wanted = round->engine->threads ? round->ready_count / SYNC_FILES_PER_HELPER : 0;
    uint32_t started = 0;
    while (started < KS_MIN(wanted, SYNC_HELPERS_MAX) &&
           pthread_create(&helpers[started], NULL, sync_some, &work) == 0)
        started++;
    sync_some(&work);
    for (uint32_t i = 0; i < started; i++)
        pthread_join(helpers[i], NULL);
}

void ks_flush_round_run(struct ks_flush_round *round)
{
    round->ready_count = 0;
    round->files_missing = 0;
    round->refusal = (struct ks_error)KS_ERROR_INIT;
    for (uint32_t i = 0; i < round->count; i++) {
        struct ks_error error = KS_ERROR_INIT;
        enum ks_status st = run_job(round, round->jobs[i], &error);
        if (ks_engine_is_poisoned(round->engine))
            return;
        round->jobs[i]->is_ready = st == KS_OK;
        round->ready_count += st == KS_OK;
        /* A log deleted meanwhile needs nothing; one without a file waits for the pool. */
        bool is_refused = st && st != KS_WOULD_BLOCK && !round->jobs[i]->is_gone;
        if (is_refused && !round->refusal.status) {
            error.status = st;
            round->refusal = error;
        }
    }
#ifndef KS_PLANTED_BUG_FLUSHPOINT_BEFORE_SYNC
    ks_flush_round_sync(round);
#endif
}

/* ---- committing ---- */

static enum ks_status put_flushpoint(
    const struct ks_flush_job *job, struct ks_kv_txn *txn, struct ks_error *err)
{
    Kstream__Catalog__FlushpointRow row = KSTREAM__CATALOG__FLUSHPOINT_ROW__INIT;
    row.file_id = job->segment->file_id;
    row.generation = job->segment->generation;
    row.flushed_bytes = job->write_offset + job->bytes;
    row.last_sequence = job->last_sequence;
    row.last_arrival_unix_ms = job->last_arrival_unix_ms;
    row.is_closed = job->is_closed;
    row.has_producers = job->producers.bytes > 0;
    row.producers = (ProtobufCBinaryData){.data = job->producers.data, .len = job->producers.bytes};
    struct ks_catalog_key key;
    return ks_catalog_put(
        txn, KS_TABLE_FLUSHPOINTS, ks_catalog_key_u64(&key, ks_log_id(job->log)), &row.base, err);
}

static enum ks_status put_file(
    const struct ks_flush_job *job, struct ks_kv_txn *txn, struct ks_error *err)
{
    const struct ks_segment *segment = job->segment;
    Kstream__Catalog__FileRow row = KSTREAM__CATALOG__FILE_ROW__INIT;
    row.generation = segment->generation;
    row.status = job->is_seal ? KS_FILE_SEALED : KS_FILE_ACTIVE;
    row.log_id = segment->log_id;
    row.first_sequence = segment->first_sequence;
    bool is_first = segment->batch_count == 0;
    row.first_arrival_unix_ms =
        is_first ? job->first_arrival_unix_ms : segment->first_arrival_unix_ms;
    row.last_sequence = job->is_seal ? segment->last_sequence : job->last_sequence;
    row.last_arrival_unix_ms =
        job->is_seal ? segment->last_arrival_unix_ms : job->last_arrival_unix_ms;
    row.readable_bytes = job->is_seal ? segment->readable_bytes : job->write_offset + job->bytes;
    row.batch_count = segment->batch_count + (job->is_seal ? 0 : job->batch_count);
    row.file_bytes = job->file_bytes;
    KS_ASSERT(row.batch_count > 0 && row.last_sequence >= row.first_sequence);
    struct ks_catalog_key key;
    return ks_catalog_put(
        txn, KS_TABLE_FILES, ks_catalog_key_u64(&key, segment->file_id), &row.base, err);
}

enum ks_status ks_flush_job_apply(
    struct ks_flush_job *job, struct ks_kv_txn *txn, struct ks_error *err)
{
    if (!job->is_ready)
        return KS_OK;
    {
        KS_LOCK_SCOPE(&job->log->mu);
        job->is_skipped = job->log->state == KS_LOG_DELETED;
    }
    if (job->is_skipped)
        return KS_OK;
    enum ks_status st = job->is_seal ? KS_OK : put_flushpoint(job, txn, err);
    return st ? st : put_file(job, txn, err);
}

/* ---- publishing ---- */

/* A missing entry only makes a walk longer. */
static void sparse_push(struct ks_segment *segment, const struct ks_index_entry *entry)
{
    if (segment->sparse_count == segment->sparse_capacity) {
        uint32_t capacity = segment->sparse_capacity ? 2 * segment->sparse_capacity : 1;
        struct ks_index_entry *grown =
            ks_realloc(segment->sparse, capacity * sizeof *segment->sparse);
        if (!grown)
            return;
        segment->sparse = grown;
        segment->sparse_capacity = capacity;
    }
    segment->sparse[segment->sparse_count++] = *entry;
}

/* One interval apart over several small flushes too. */
static void sparse_add(struct ks_segment *segment, const struct ks_flush_job *job)
{
    uint32_t interval = segment->engine->options.limits.index_interval_bytes;
    for (uint32_t i = 0; i < job->sparse_count; i++) {
        const struct ks_index_entry *last =
            segment->sparse_count ? &segment->sparse[segment->sparse_count - 1] : NULL;
        if (!last || job->sparse[i].offset >= last->offset + interval)
            sparse_push(segment, &job->sparse[i]);
    }
}

static void publish_sealed(struct ks_flush_job *job)
{
    struct ks_segment *segment = job->segment;
    segment->state = KS_SEGMENT_SEALED;
    job->log->wants_seal = false;
    segment->file_bytes = job->file_bytes;
    ks_free(segment->sparse);
    segment->sparse = NULL;
    segment->sparse_count = 0;
    segment->sparse_capacity = 0;
}

static void publish_written(struct ks_flush_job *job)
{
    struct ks_log *log = job->log;
    struct ks_segment *segment = job->segment;
    KS_ASSERT(segment->readable_bytes == job->write_offset);
    if (segment->batch_count == 0)
        segment->first_arrival_unix_ms = job->first_arrival_unix_ms;
    segment->readable_bytes += job->bytes;
    segment->last_sequence = job->last_sequence;
    segment->last_arrival_unix_ms = job->last_arrival_unix_ms;
    segment->batch_count += job->batch_count;
    sparse_add(segment, job);
    KS_ASSERT(log->flushed_sequence < job->last_sequence);
    log->flushed_sequence = job->last_sequence;
    log->flushed_arrival_unix_ms = job->last_arrival_unix_ms;
    ks_tail_trim(&log->tail, log->flushed_sequence);
    log->tail_since_mono_ns =
        log->tail.bytes > 0 ? ks_clock_mono_ns(log->engine->options.clock) : 0;
}

void ks_flush_job_publish(struct ks_flush_job *job)
{
    struct ks_log *log = job->log;
    struct ks_engine *engine = log->engine;
    if (!job->is_ready || job->is_skipped)
        return;
    {
        KS_LOCK_SCOPE(&log->mu);
        /* A delete in the same commit comes after us: its own done retires the segment. */
        if (job->is_seal)
            publish_sealed(job);
        else
            publish_written(job);
        ks_retention_note(engine->retention, log);
    }
    if (job->is_seal) {
        ks_engine_count(engine, KS_COUNT_SEGMENTS_SEALED, 1);
        if (engine->index && !job->is_abandon)
            ks_index_submit(engine->index, job->segment);
        return;
    }
    ks_engine_count(engine, KS_COUNT_FLUSHED_BYTES, job->bytes);
    if (engine->journal)
        ks_journal_cover(engine->journal, ks_log_id(log), job->last_sequence);
}
