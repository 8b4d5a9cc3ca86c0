/*
 * A log's life and its appends. ks_log_append takes every resource, then gives the batch its
 * sequence and queues it, all under the log's mutex, so that batches reach the committer in order.
 * Reads are in read.c, flushing in flush.c.
 */
#include "storage/log.h"

#include "base/alloc.h"
#include "storage/engine_priv.h"
#include "storage/log_priv.h"

/* A segment's header and the footer it may need; half of a segment is always left for batches. */
#define SEGMENT_SHARE 2u

void ks_log_check(const struct ks_log *log)
{
    uint64_t durable = atomic_load(&log->durable_sequence);
    KS_ASSERT(durable < log->next_sequence);
    KS_ASSERT(log->flushed_sequence <= log->next_sequence);
    KS_ASSERT(log->state != KS_LOG_CLOSED || atomic_load(&log->durable_end));
    KS_ASSERT(atomic_load(&log->end_sequence) == KS_LOG_NO_END || log->state != KS_LOG_OPEN);
}

enum ks_status ks_log_create(struct ks_engine *engine, uint64_t log_id,
    const struct ks_log_identity *identity, struct ks_log **out_log, struct ks_error *err)
{
    KS_AUTO_FREE struct ks_log *log = ks_zalloc(sizeof *log);
    if (!log)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot open log %llu", (unsigned long long)log_id);
    log->log_id = log_id;
    log->engine = engine;
    log->identity = *identity;
    atomic_init(&log->refs, 1);
    ks_mutex_init(&log->mu, KS_RANK_SHARD);
    log->state = KS_LOG_OPEN;
    log->next_sequence = 1;
    atomic_init(&log->end_sequence, KS_LOG_NO_END);
    ks_tail_init(&log->tail, &engine->tail_budget, engine->options.limits.tail_chunk_bytes);
    *out_log = KS_TAKE(log);
    return KS_OK;
}

struct ks_log *ks_log_ref(struct ks_log *log)
{
    uint32_t before = atomic_fetch_add_explicit(&log->refs, 1, memory_order_relaxed);
    KS_ASSERT(before > 0);
    return log;
}

void ks_log_unref(struct ks_log *log)
{
    if (!log)
        return;
    uint32_t before = atomic_fetch_sub_explicit(&log->refs, 1, memory_order_acq_rel);
    KS_ASSERT(before > 0);
    if (before > 1)
        return;
    KS_ASSERT(!ks_list_is_linked(&log->flush_link) && log->due.place == 0);
    ks_tail_fini(&log->tail);
    ks_producers_destroy(log->producers);
    ks_segment_list_fini(&log->segments);
    ks_mutex_fini(&log->mu);
    ks_free(log);
}

uint64_t ks_log_id(const struct ks_log *log)
{
    return log->log_id;
}

static enum ks_status fail_producer(
    const struct ks_append *append, enum ks_status status, uint64_t expected, struct ks_error *err)
{
    if (status == KS_PRODUCER_GAP)
        return ks_fail(err, status, 0, "producer sequence %llu leaves a gap, %llu is expected",
            (unsigned long long)append->producer_sequence, (unsigned long long)expected);
    return ks_fail(err, status, 0, "%s: producer %llu, sequence %llu", ks_status_info(status)->text,
        (unsigned long long)append->producer_id, (unsigned long long)append->producer_sequence);
}

/* KS_OK: go on, or it is a duplicate with its first result. mu held. */
static enum ks_status append_judge(
    struct ks_log *log, struct ks_append *append, struct ks_error *err)
{
    if (append->producer_id == 0)
        return KS_OK;
    struct ks_producer_batch first;
    enum ks_status status;
    uint64_t expected;
    switch (ks_producers_judge(log->producers, append->producer_id, append->producer_sequence,
        append->is_producer_first, append->record_count, append->body_crc, &first, &status,
        &expected)) {
    case KS_PRODUCER_REFUSE:
        return fail_producer(append, status, expected, err);
    case KS_PRODUCER_DUPLICATE:
        append->is_duplicate = true;
        append->first_sequence = first.first_sequence;
        append->last_sequence = first.first_sequence + first.record_count - 1;
        append->arrival_unix_ms = first.arrival_unix_ms;
        return KS_OK;
    case KS_PRODUCER_ACCEPT:
        /* The first batch of a producer that others may have pushed out of the table: stored again
         * it would be there twice. */
        if (append->is_producer_repeat && ks_producers_may_have_forgotten(log->producers,
                                              append->producer_id, append->producer_sequence))
            return fail_producer(append, KS_PRODUCER_UNKNOWN, 0, err);
        break;
    }
    return KS_OK;
}

static enum ks_status append_check_engine(struct ks_engine *engine, struct ks_error *err)
{
    if (atomic_load(&engine->is_poisoned))
        return ks_fail(err, KS_POISONED, 0, "the broker stopped after a failed write");
    if (atomic_load(&engine->is_stopping))
        return ks_fail(err, KS_STOPPING, 0, "the broker is stopping");
    return KS_OK;
}

/*
 * A closed log's table of producers is frozen: it says for ever whether a batch was stored. Only
 * when it may have forgotten the batch is the answer "unknown". judged: what the table says.
 */
static enum ks_status append_to_closed(const struct ks_log *log, const struct ks_append *append,
    enum ks_status judged, struct ks_error *err)
{
    if (judged == KS_PRODUCER_MISMATCH)
        return judged;
    if (append->producer_id != 0 && ks_producers_may_have_forgotten(log->producers,
                                        append->producer_id, append->producer_sequence))
        return fail_producer(append, KS_PRODUCER_UNKNOWN, 0, err);
    return ks_fail(err, KS_SHARD_CLOSED, 0, "shard is closed");
}

/* mu held. May a new batch come, routed as it was, which the table of producers has judged? */
static enum ks_status append_check_log(const struct ks_log *log, const struct ks_append *append,
    enum ks_status judged, struct ks_error *err)
{
    switch (log->state) {
    case KS_LOG_OPEN:
        break;
    case KS_LOG_CLOSING:
        return ks_fail(err, KS_WOULD_BLOCK, 0, "shard is about to close");
    case KS_LOG_CLOSED:
        return append_to_closed(log, append, judged, err);
    case KS_LOG_DELETED:
        return ks_fail(err, KS_NOT_FOUND, 0, "stream is deleted");
    }
    /* A newer epoch than the log's is fine: other shards were split or merged meanwhile. */
    if (append->routing_epoch != 0 && append->routing_epoch < log->routing_epoch)
        return ks_fail(err, KS_ROUTING_CHANGED, 0, "routing has changed to epoch %llu",
            (unsigned long long)log->routing_epoch);
    return judged;
}

/* Of a stored batch, whatever the journal takes. */
static uint64_t stored_bytes_max(const struct ks_engine *engine)
{
    return ks_min_u64(
        KS_BATCH_STORED_BYTES_MAX, engine->options.limits.segment_bytes / SEGMENT_SHARE);
}

uint64_t ks_engine_record_bytes_max(const struct ks_engine *engine)
{
    uint64_t bytes =
        ks_min_u64(stored_bytes_max(engine), ks_journal_batch_bytes_max(engine->journal));
    return bytes - KS_BATCH_PREFIX_BYTES_MAX - KS_RECORD_OVERHEAD_BYTES_MAX;
}

static enum ks_status append_header(const struct ks_log *log, struct ks_append *append,
    struct ks_batch_header *out_header, struct ks_error *err)
{
    *out_header = (struct ks_batch_header){.log_id = log->log_id,
        .record_count = append->record_count,
        .records_bytes = (uint32_t)append->records.bytes,
        .body_crc = append->body_crc,
        .kind = KS_BATCH_DATA};
    if (append->producer_id != 0) {
        out_header->producer_id = append->producer_id;
        out_header->producer_sequence = append->producer_sequence;
        out_header->flags = append->is_producer_first ? KS_BATCH_FLAG_FIRST : 0;
    }
    size_t bytes = append->records.bytes > KS_BATCH_RECORDS_BYTES_MAX
                       ? SIZE_MAX
                       : ks_batch_stored_bytes(out_header);
    if (bytes > stored_bytes_max(log->engine))
        return ks_fail(err, KS_TOO_LARGE, 0, "a batch of %zu bytes of records is too large",
            append->records.bytes);
    append->stored_bytes = (uint32_t)bytes;
    return KS_OK;
}

/* No room until something is flushed. When that is because the disk is full, the producer is told
 * so. */
static enum ks_status append_refuse(struct ks_engine *engine, struct ks_append *append,
    enum ks_status status, const char *text, struct ks_error *err)
{
    ks_wake_set(ks_flush_step(engine->flush)->wake);
    if (status == KS_THROTTLED && atomic_load(&engine->is_disk_full)) {
        append->refusal = KS_REFUSED_DISK;
        return ks_fail(err, KS_STORAGE_FULL, 0,
            "the disk is full: puts go on by themselves when there is room again");
    }
    return ks_fail(err, status, 0, "%s", text);
}

/* mu held. Everything that can be refused; on failure nothing is held. */
static enum ks_status append_reserve(
    struct ks_log *log, struct ks_append *append, struct ks_error *err)
{
    struct ks_journal *journal = log->engine->journal;
    if (append->producer_id != 0 && !log->producers) {
        enum ks_status st = ks_producers_create(&log->producers);
        if (st)
            return ks_fail(err, st, 0, "cannot remember a producer");
    }
    if (append->producer_id != 0) {
        enum ks_status st = ks_producers_reserve(log->producers, append->producer_id);
        if (st)
            return ks_fail(err, st, 0, "cannot remember a producer");
    }
    enum ks_status st = ks_journal_reserve(journal, append->stored_bytes, &append->reserved_bytes);
    if (st == KS_TOO_LARGE)
        return ks_fail(
            err, st, 0, "a batch of %u bytes fits no journal block", append->stored_bytes);
    append->refusal = KS_REFUSED_JOURNAL;
    if (st)
        return append_refuse(log->engine, append, st, "the journal is full, try again later", err);
    st = ks_tail_reserve(&log->tail, append->stored_bytes, false);
    if (st) {
        ks_journal_release(journal, append->reserved_bytes);
        append->reserved_bytes = 0;
        append->refusal = KS_REFUSED_MEMORY;
        return append_refuse(
            log->engine, append, st, "too much data waits in memory, try again later", err);
    }
    return KS_OK;
}

/* mu held, everything reserved: from here on nothing can fail but the disk. */
static void append_store(
    struct ks_log *log, struct ks_append *append, struct ks_batch_header *header)
{
    struct ks_engine *engine = log->engine;
    uint64_t wall = ks_clock_unix_ms(engine->options.clock);
    header->first_sequence = log->next_sequence;
    header->arrival_unix_ms = ks_max_u64(log->last_arrival_unix_ms, wall);
    append->first_sequence = header->first_sequence;
    append->last_sequence = ks_batch_last_sequence(header);
    append->arrival_unix_ms = header->arrival_unix_ms;
    uint8_t *to = ks_tail_append(&log->tail, append->stored_bytes, append->first_sequence,
        append->last_sequence, &append->chunk, &append->chunk_offset);
    size_t prefix = ks_batch_encode_prefix(header, to);
    KS_ASSERT(prefix + append->records.bytes == append->stored_bytes);
    memcpy(to + prefix, append->records.data, append->records.bytes);
    if (append->producer_id != 0) {
        struct ks_producer_batch batch = {.sequence = append->producer_sequence,
            .first_sequence = append->first_sequence,
            .arrival_unix_ms = append->arrival_unix_ms,
            .record_count = append->record_count,
            .body_crc = append->body_crc};
        ks_producers_record(log->producers, append->producer_id, &batch);
    }
    log->next_sequence = append->last_sequence + 1;
    log->appended_bytes += append->stored_bytes;
    log->last_arrival_unix_ms = append->arrival_unix_ms;
    append->queued_mono_ns = ks_clock_mono_ns(engine->options.clock);
    if (log->tail_since_mono_ns == 0)
        log->tail_since_mono_ns = ks_max_u64(1, append->queued_mono_ns);
    ks_engine_count(engine, KS_COUNT_APPENDED_RECORDS, append->record_count);
    ks_engine_count(engine, KS_COUNT_APPENDED_BYTES, append->stored_bytes);
    ks_flush_note(engine->flush, log);
}

/*
 * Answered at once. What is left to do is done for a copy that nobody waits for: the committer
 * frees it. mu held.
 */
static void append_answer(struct ks_append *append, struct ks_append *relay)
{
    *relay = *append;
    relay->mail = (struct ks_mail){.deliver = NULL};
    relay->home = NULL;
    relay->records = ks_view_of(NULL, 0);
    append->chunk = NULL; /* the copy's */
    append->reserved_bytes = 0;
    append->status = KS_OK;
    ks_mailbox_send(append->home, &append->mail); /* from here on it is its owner's again */
}

enum ks_status ks_log_append(struct ks_log *log, struct ks_append *append, struct ks_error *err)
{
    KS_ASSERT(append->record_count > 0 && append->records.bytes > 0);
    struct ks_engine *engine = log->engine;
    append->status = KS_INTERNAL;
    append->is_duplicate = false;
    append->refusal = KS_REFUSED_CLOSING;
    append->durable_mono_ns = 0;
    append->queued_mono_ns = 0;
    append->chunk = NULL;
    append->reserved_bytes = 0;
    struct ks_batch_header header;
    enum ks_status st = append_header(log, append, &header, err);
    if (st)
        return st;
    /* Far behind, a promise without a disk would only let the queue grow. */
    bool is_answered_now = append->ack == KS_ACK_MEMORY && !ks_commit_is_behind(engine->commit);
    KS_AUTO_FREE struct ks_append *relay = is_answered_now ? ks_malloc(sizeof *relay) : NULL;
    if (is_answered_now && !relay)
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory for a batch");
    KS_LOCK_SCOPE(&log->mu);
    /* Under the mutex: who stops the engine and then takes each log's mutex once knows that nothing
     * comes after. */
    st = append_check_engine(engine, err);
    if (st)
        return st;
    if (log->state != KS_LOG_DELETED)
        st = append_judge(log, append, err); /* a duplicate is answered even by a closed log */
    if (append->is_duplicate) {
        ks_engine_count(engine, KS_COUNT_DUPLICATES, 1);
    } else {
        st = append_check_log(log, append, st, err);
        if (!st)
            st = append_reserve(log, append, err);
        if (st)
            return st;
        append_store(log, append, &header);
        ks_log_check(log);
    }
    /* A duplicate waits its turn in the queue: its first self may not be durable yet. */
    struct ks_append *queued = is_answered_now ? KS_TAKE(relay) : append;
    if (is_answered_now)
        append_answer(append, queued);
    queued->log = ks_log_ref(log);
    ks_commit_enqueue(engine->commit, queued);
    return KS_OK;
}

enum ks_status ks_log_producer_state(
    struct ks_log *log, uint64_t producer_id, struct ks_producer_state *out, struct ks_error *err)
{
    KS_LOCK_SCOPE(&log->mu);
    if (log->state == KS_LOG_DELETED)
        return ks_fail(err, KS_NOT_FOUND, 0, "stream is deleted");
    const struct ks_producer_batch *last = ks_producers_last(log->producers, producer_id);
    if (!last)
        return ks_fail(err, KS_PRODUCER_UNKNOWN, 0, "producer %llu is not known to this shard",
            (unsigned long long)producer_id);
    *out = (struct ks_producer_state){.sequence = last->sequence,
        .first_sequence = last->first_sequence,
        .record_count = last->record_count,
        .body_crc = last->body_crc};
    return KS_OK;
}

/* ---- closing ---- */

uint32_t ks_close_bytes(void)
{
    const struct ks_batch_header header = {
        .log_id = 1, .first_sequence = 1, .kind = KS_BATCH_CLOSE};
    return (uint32_t)ks_batch_stored_bytes(&header);
}

static void close_store(struct ks_log *log, struct ks_append *append, uint32_t bytes)
{
    struct ks_batch_header header = {.log_id = log->log_id,
        .first_sequence = log->next_sequence,
        .arrival_unix_ms =
            ks_max_u64(log->last_arrival_unix_ms, ks_clock_unix_ms(log->engine->options.clock)),
        .kind = KS_BATCH_CLOSE};
    append->record_count = 0;
    append->queued_mono_ns = 0;
    append->first_sequence = header.first_sequence;
    append->last_sequence = ks_batch_last_sequence(&header);
    append->arrival_unix_ms = header.arrival_unix_ms;
    append->stored_bytes = bytes;
    uint8_t *to = ks_tail_append(&log->tail, bytes, append->first_sequence, append->last_sequence,
        &append->chunk, &append->chunk_offset);
    KS_ASSERT(ks_batch_encode_prefix(&header, to) == bytes);
    log->state = KS_LOG_CLOSING;
    if (log->tail_since_mono_ns == 0)
        log->tail_since_mono_ns = ks_max_u64(1, ks_clock_mono_ns(log->engine->options.clock));
    ks_flush_note(log->engine->flush, log);
    ks_log_check(log);
}

enum ks_status ks_log_close(struct ks_log *log, struct ks_append *append, struct ks_error *err)
{
    uint32_t bytes = ks_close_bytes();
    KS_LOCK_SCOPE(&log->mu);
    enum ks_status st = append_check_engine(log->engine, err);
    if (st)
        return st;
    KS_ASSERT(log->state == KS_LOG_OPEN);
    /* Beyond the memory's limit if need be: it is small, and the way to more room. */
    st = ks_tail_reserve(&log->tail, bytes, true);
    if (st)
        return ks_fail(err, st, 0, "no memory to close log %llu", (unsigned long long)log->log_id);
    close_store(log, append, bytes);
    append->log = ks_log_ref(log);
    ks_commit_enqueue(log->engine->commit, append);
    return KS_OK;
}

void ks_log_show_end(struct ks_log *log)
{
    {
        KS_LOCK_SCOPE(&log->mu);
        KS_ASSERT(log->state == KS_LOG_CLOSING || log->state == KS_LOG_CLOSED);
        log->state = KS_LOG_CLOSED;
        atomic_store(&log->end_sequence, atomic_load(&log->durable_sequence));
        ks_log_check(log);
        ks_retention_note(log->engine->retention, log);
    }
    ks_log_wake(log); /* who waits for records behind the end goes on with the children */
}

/* ---- recovery ---- */

/* mu held. Behind what the log has, whatever the memory budget says: it is durable, it must be
 * served. */
static enum ks_status log_replay_bytes(
    struct ks_log *log, const struct ks_batch_view *batch, struct ks_error *err)
{
    const struct ks_batch_header *header = &batch->header;
    uint64_t last = ks_batch_last_sequence(header);
    enum ks_status st = ks_tail_reserve(&log->tail, (uint32_t)batch->stored_bytes, true);
    if (!st && header->producer_id != 0 && !log->producers)
        st = ks_producers_create(&log->producers);
    if (!st && header->producer_id != 0)
        st = ks_producers_reserve(log->producers, header->producer_id);
    if (st)
        return ks_fail(
            err, st, 0, "no memory to recover log %llu", (unsigned long long)log->log_id);
    struct ks_tail_chunk *chunk;
    uint32_t offset;
    uint8_t *to = ks_tail_append(
        &log->tail, (uint32_t)batch->stored_bytes, header->first_sequence, last, &chunk, &offset);
    memcpy(to, batch->stored.data, batch->stored_bytes);
    ks_tail_chunk_unref(chunk);
    if (header->producer_id != 0) {
        struct ks_producer_batch known = {.sequence = header->producer_sequence,
            .first_sequence = header->first_sequence,
            .arrival_unix_ms = header->arrival_unix_ms,
            .record_count = header->record_count,
            .body_crc = header->body_crc};
        ks_producers_record(log->producers, header->producer_id, &known);
    }
    log->last_arrival_unix_ms = ks_max_u64(log->last_arrival_unix_ms, header->arrival_unix_ms);
    if (header->kind == KS_BATCH_CLOSE) {
        log->state = KS_LOG_CLOSING; /* CLOSED when its stream says so too */
        atomic_store(&log->durable_end, true);
    } else {
        log->next_sequence = last + 1;
        atomic_store(&log->durable_arrival_unix_ms, header->arrival_unix_ms);
        atomic_store(&log->durable_sequence, last);
    }
    if (log->tail_since_mono_ns == 0)
        log->tail_since_mono_ns = ks_max_u64(1, ks_clock_mono_ns(log->engine->options.clock));
    ks_flush_note(log->engine->flush, log);
    ks_log_check(log);
    return KS_OK;
}

enum ks_status ks_log_replay(struct ks_log *log, struct ks_view stored, struct ks_error *err)
{
    KS_LOCK_SCOPE(&log->mu);
    struct ks_batch_view batch;
    enum ks_status st = ks_batch_decode(stored, &batch);
    if (st)
        return ks_fail(
            err, st, 0, "a batch of log %llu cannot be read", (unsigned long long)log->log_id);
    if (batch.header.log_id != log->log_id || batch.header.first_sequence != log->next_sequence ||
        log->state != KS_LOG_OPEN)
        return ks_fail(err, KS_CORRUPT, 0,
            "journal and catalog disagree: log %llu goes on at %llu, a batch of log %llu at %llu",
            (unsigned long long)log->log_id, (unsigned long long)log->next_sequence,
            (unsigned long long)batch.header.log_id,
            (unsigned long long)batch.header.first_sequence);
    return log_replay_bytes(log, &batch, err);
}

size_t ks_log_encode_damage(
    const struct ks_log *log, uint64_t first, uint64_t last, uint8_t to[KS_BATCH_PREFIX_BYTES_MAX])
{
    KS_ASSERT(last >= first && last - first < UINT32_MAX);
    struct ks_batch_header header = {.log_id = log->log_id,
        .first_sequence = first,
        .arrival_unix_ms = log->last_arrival_unix_ms,
        .record_count = (uint32_t)(last - first + 1),
        .kind = KS_BATCH_DAMAGED};
    return ks_batch_encode_prefix(&header, to);
}

enum ks_status ks_log_replay_damage(
    struct ks_log *log, uint64_t first_sequence, uint64_t last_sequence, struct ks_error *err)
{
    KS_LOCK_SCOPE(&log->mu);
    if (first_sequence != log->next_sequence || last_sequence < first_sequence ||
        last_sequence > KS_SEQUENCE_MAX || log->state != KS_LOG_OPEN)
        return ks_fail(err, KS_CORRUPT, 0, "log %llu cannot lack %llu to %llu",
            (unsigned long long)log->log_id, (unsigned long long)first_sequence,
            (unsigned long long)last_sequence);
    /* A batch counts its ordinals in 32 bits; a longer stretch is several. */
    while (first_sequence <= last_sequence) {
        uint64_t count = ks_min_u64(last_sequence - first_sequence + 1, UINT32_MAX);
        uint8_t stored[KS_BATCH_PREFIX_BYTES_MAX];
        size_t bytes =
            ks_log_encode_damage(log, first_sequence, first_sequence + count - 1, stored);
        struct ks_batch_view batch;
        enum ks_status st = ks_batch_decode(ks_view_of(stored, bytes), &batch);
        KS_ASSERT(st == KS_OK); /* our own bytes */
        st = log_replay_bytes(log, &batch, err);
        if (st)
            return st;
        first_sequence += count;
    }
    return KS_OK;
}

enum ks_status ks_log_replay_close(
    struct ks_log *log, uint64_t first_sequence, struct ks_error *err)
{
    /* When it closed is lost. The latest possible time keeps what lies before, which may be lost as
     * well, from expiring too early. */
    struct ks_batch_header header = {.log_id = log->log_id,
        .first_sequence = first_sequence,
        .arrival_unix_ms =
            ks_max_u64(log->last_arrival_unix_ms, ks_clock_unix_ms(log->engine->options.clock)),
        .kind = KS_BATCH_CLOSE};
    uint8_t stored[KS_BATCH_PREFIX_BYTES_MAX];
    return ks_log_replay(log, ks_view_of(stored, ks_batch_encode_prefix(&header, stored)), err);
}

enum ks_status ks_log_settle_end(struct ks_log *log, uint64_t end_sequence, struct ks_error *err)
{
    bool is_short = false;
    {
        KS_LOCK_SCOPE(&log->mu);
        is_short = log->state == KS_LOG_OPEN && log->next_sequence <= end_sequence;
    }
    if (is_short) {
        enum ks_status st = ks_log_replay_damage(log, log->next_sequence, end_sequence, err);
        if (st)
            return st;
    }
    {
        KS_LOCK_SCOPE(&log->mu);
        /* A shard between split and merge never had a batch; a close batch may have been damaged.
         */
        log->state = KS_LOG_CLOSING;
        atomic_store(&log->durable_end, true);
    }
    ks_log_show_end(log);
    return KS_OK;
}
