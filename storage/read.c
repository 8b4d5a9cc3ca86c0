#include "base/alloc.h"
#include "storage/engine_priv.h"
#include "storage/read_priv.h"

#include <string.h>

enum pin_kind { PIN_TAIL = 1, PIN_MAP = 2, PIN_COPY = 3 };

/* ---- bounds ---- */

void ks_log_bounds(struct ks_log *log, struct ks_log_bounds *out)
{
    uint64_t now = ks_engine_retention_unix_ms(log->engine);
    KS_LOCK_SCOPE(&log->mu);
    ks_log_advance_edge(log, ks_log_horizon(log, now));
    out->is_closed = atomic_load(&log->end_sequence) != KS_LOG_NO_END;
    out->last_sequence = atomic_load(&log->durable_sequence);
    out->last_arrival_unix_ms =
        out->last_sequence > 0 ? atomic_load(&log->durable_arrival_unix_ms) : 0;
    out->first_sequence = ks_log_first_sequence(log, out->last_sequence);
    out->is_deleted = log->state == KS_LOG_DELETED;
}

/* ---- release ---- */

static void unpin(struct ks_read *read, uint32_t i)
{
    switch ((enum pin_kind)read->pin_kinds[i]) {
    case PIN_TAIL:
        ks_tail_chunk_unref(read->pins[i]);
        break;
    case PIN_MAP: {
        struct ks_segment *segment = read->pins[i];
        atomic_fetch_sub(&segment->engine->counters[KS_COUNT_PINNED_BYTES], read->extents[i].bytes);
        ks_segment_unpin_map(segment);
        ks_segment_unref(segment);
        break;
    }
    case PIN_COPY:
        ks_free(read->pins[i]);
        break;
    }
}

void ks_read_release(struct ks_read *read)
{
    for (uint32_t i = 0; i < read->extent_count; i++)
        unpin(read, i);
    read->extent_count = 0;
}

static void read_add(struct ks_read *read, enum pin_kind kind, void *pin, struct ks_view bytes)
{
    KS_ASSERT(read->extent_count < KS_READ_EXTENTS_MAX);
    read->extents[read->extent_count] = bytes;
    read->pins[read->extent_count] = pin;
    read->pin_kinds[read->extent_count] = (uint8_t)kind;
    read->extent_count++;
    read->bytes += bytes.bytes;
}

/* The extents begin with begin and hold all records up to end (not included). */
static void read_finish(struct ks_read *read, const struct ks_read_request *request, uint64_t begin,
    uint64_t end, uint64_t arrival_unix_ms)
{
    uint64_t from = ks_max_u64(request->from_sequence, begin);
    uint64_t there = end - from;
    read->skip = (uint32_t)(from - begin);
    read->take = (uint32_t)ks_min_u64(there, request->records_max);
    read->next_sequence = from + read->take;
    read->last_arrival_unix_ms = read->take > 0 ? arrival_unix_ms : 0;
}

/* ---- the tail ---- */

/* Cuts an extent behind the batch that holds stop. Returns the sequence behind what is left. */
static uint64_t extent_cut(
    struct ks_tail_extent *extent, uint64_t stop, uint64_t bytes_max, uint64_t *out_arrival)
{
    uint64_t next = extent->first_sequence;
    uint32_t at = 0;
    while (at < extent->bytes && next <= stop) {
        struct ks_batch_header header;
        size_t bytes = 0;
        struct ks_view rest =
            ks_view_of(extent->chunk->data + extent->offset + at, extent->bytes - at);
        KS_ASSERT(ks_batch_decode_prefix(rest, &header, &bytes) == KS_OK);
        /* A close batch is for nobody: the bounds tell of the end. */
        if ((at > 0 && at + bytes > bytes_max) || header.kind == KS_BATCH_CLOSE)
            break;
        next = header.first_sequence + header.record_count;
        *out_arrival = header.arrival_unix_ms;
        at += (uint32_t)bytes;
    }
    extent->bytes = at;
    return next;
}

static void read_tail(const struct ks_read_request *request, uint64_t from,
    struct ks_tail_extent *extents, uint32_t count, struct ks_read *read)
{
    struct ks_read_request raised = *request;
    raised.from_sequence = from;
    uint64_t stop = from + request->records_max - 1;
    uint64_t next = extents[0].first_sequence;
    uint64_t arrival = 0;
    uint64_t bytes_left = request->bytes_max;
    for (uint32_t i = 0; i < count; i++) {
        struct ks_tail_extent *extent = &extents[i];
        bool is_last = i + 1 == count || extents[i + 1].first_sequence > stop;
        bool is_wanted = extent->first_sequence <= stop;
        if (is_wanted && is_last)
            next = extent_cut(extent, stop, i == 0 ? bytes_left : UINT64_MAX, &arrival);
        if (is_wanted && extent->bytes > 0)
            read_add(read, PIN_TAIL, extent->chunk,
                ks_view_of(extent->chunk->data + extent->offset, extent->bytes));
        else
            ks_tail_chunk_unref(extent->chunk);
    }
    if (read->extent_count > 0)
        read_finish(read, &raised, extents[0].first_sequence, next, arrival);
}

/* Log mutex held. At least one batch, whatever its size. */
static uint32_t collect_tail(struct ks_log *log, const struct ks_read_request *request,
    uint64_t from, uint64_t durable, struct ks_tail_extent *extents)
{
    uint32_t count = ks_tail_collect(
        &log->tail, from - 1, durable, request->bytes_max, extents, KS_READ_EXTENTS_MAX);
    if (count == 0)
        count =
            ks_tail_collect(&log->tail, from - 1, durable, KS_BATCH_STORED_BYTES_MAX, extents, 1);
    return count;
}

/* ---- segments ---- */

/* A batch of our own that says which records are lost. */
static enum ks_status give_damaged(struct ks_segment_view *view, const struct ks_found *found,
    const struct ks_read_request *request, struct ks_read *read, struct ks_error *err)
{
    uint64_t lost = ks_min_u64(found->next_sequence - found->sequence, UINT32_MAX);
    struct ks_batch_header header = {.log_id = view->segment->log_id,
        .first_sequence = found->sequence,
        .arrival_unix_ms = found->arrival_unix_ms,
        .record_count = (uint32_t)lost,
        .kind = KS_BATCH_DAMAGED};
    uint8_t *bytes = ks_malloc(KS_BATCH_PREFIX_BYTES_MAX);
    if (!bytes)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot read a log");
    size_t length = ks_batch_encode_prefix(&header, bytes);
    read_add(read, PIN_COPY, bytes, ks_view_of(bytes, length));
    read_finish(read, request, found->sequence, found->sequence + lost, found->arrival_unix_ms);
    return KS_OK;
}

/* How far the answer goes behind the first batch: good batches only, within the limits. */
static uint64_t extend(struct ks_segment_view *view, const struct ks_read_request *request,
    const struct ks_found *first, struct ks_found *last)
{
    uint64_t stop =
        ks_min_u64(request->from_sequence + request->records_max - 1, view->last_sequence);
    *last = *first;
    while (last->next_sequence <= stop) {
        struct ks_batch_header header;
        uint32_t bytes = 0;
        enum ks_status st = ks_segment_walk_at(
            &view->walk, last->next_offset, last->next_sequence, &header, &bytes, NULL);
        if (st || header.record_count == 0 ||
            last->next_offset + bytes - first->offset > request->bytes_max)
            break;
        last->offset = last->next_offset;
        last->sequence = last->next_sequence;
        last->next_offset += bytes;
        last->next_sequence += header.record_count;
        last->arrival_unix_ms = header.arrival_unix_ms;
    }
    return last->next_offset - first->offset;
}

static enum ks_status give_copy(struct ks_segment_view *view, const struct ks_found *first,
    struct ks_found *last, uint64_t bytes, const struct ks_read_request *request,
    struct ks_read *read, struct ks_error *err)
{
    if (!view->may_block)
        return KS_WOULD_BLOCK;
    KS_AUTO_FREE uint8_t *copy = ks_malloc(bytes);
    if (!copy)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot read a log");
    enum ks_status st = ks_segment_walk_read(&view->walk, first->offset, copy, bytes, err);
    if (st == KS_CORRUPT) {
        /* An unreadable sector: what stands before it is still good. */
        *last = *first;
        bytes = first->next_offset - first->offset;
        st = ks_segment_walk_read(&view->walk, first->offset, copy, bytes, err);
    }
    if (st == KS_CORRUPT) {
        struct ks_found lost = *first;
        lost.is_damaged = true;
        return give_damaged(view, &lost, request, read, err);
    }
    if (st)
        return st;
    ks_engine_count(view->segment->engine, KS_COUNT_READS_COPY, 1);
    uint8_t *given = KS_TAKE(copy);
    read_add(read, PIN_COPY, given, ks_view_of(given, bytes));
    read_finish(read, request, first->sequence, last->next_sequence, last->arrival_unix_ms);
    return KS_OK;
}

static enum ks_status give_batches(struct ks_segment_view *view, const struct ks_found *first,
    const struct ks_read_request *request, struct ks_read *read, struct ks_error *err)
{
    struct ks_segment *segment = view->segment;
    struct ks_found last;
    uint64_t bytes = extend(view, request, first, &last);
    enum ks_status st = KS_OK;
    if (ks_segment_walk_is_mapped(&view->walk, first->offset, bytes)) {
        /* The view's pin of the map goes to the answer. */
        view->is_map_pinned = false;
        read_add(read, PIN_MAP, ks_segment_ref(segment),
            ks_view_of(view->walk.map + first->offset, bytes));
        ks_engine_count(segment->engine, KS_COUNT_PINNED_BYTES, bytes);
        ks_engine_count(segment->engine, KS_COUNT_READS_MAP, 1);
        read_finish(read, request, first->sequence, last.next_sequence, last.arrival_unix_ms);
    } else {
        st = give_copy(view, first, &last, bytes, request, read, err);
    }
    if (st)
        return st;
    bool is_whole = read->next_sequence >= last.next_sequence;
    struct ks_index_entry hint = {.sequence = is_whole ? last.next_sequence : last.sequence,
        .arrival_unix_ms = last.arrival_unix_ms,
        .offset = (uint32_t)(is_whole ? last.next_offset : last.offset)};
    ks_segment_hint(segment, &hint);
    return KS_OK;
}

/* The batch found may have expired, or damage may hide whether it has: then the answer begins where
 * the first record is that has not. */
static enum ks_status skip_expired(struct ks_segment_view *view, struct ks_read_request *raised,
    struct ks_found *found, struct ks_error *err)
{
    if (view->segment_first_arrival_unix_ms >= view->horizon ||
        (!found->is_damaged && !found->is_lost && found->arrival_unix_ms >= view->horizon))
        return KS_OK;
    struct ks_log_edge edge;
    enum ks_status st = ks_segment_view_find_edge(view, &edge, err);
    if (st)
        return st;
    {
        KS_LOCK_SCOPE(&view->log->mu);
        ks_log_note_edge(view->log, &edge);
    }
    if (edge.sequence <= raised->from_sequence)
        return KS_OK;
    raised->from_sequence = edge.sequence;
    return edge.sequence > view->last_sequence
               ? KS_END
               : ks_segment_view_find(view, edge.sequence, found, err);
}

static enum ks_status read_segment(struct ks_segment_view *view,
    const struct ks_read_request *request, struct ks_read *read, struct ks_error *err)
{
    struct ks_read_request raised = *request;
    struct ks_engine *engine = view->segment->engine;
    uint64_t pinned = atomic_load(&engine->counters[KS_COUNT_PINNED_BYTES]);
    bool use_map = pinned + request->bytes_max <= engine->options.limits.pinned_bytes_max;
    struct ks_found found = {.is_damaged = true,
        .sequence = request->from_sequence,
        .next_sequence = view->last_sequence + 1,
        .arrival_unix_ms = view->segment->first_arrival_unix_ms};
    enum ks_status st = ks_segment_view_open(view, use_map, err);
    if (st == KS_CORRUPT)
        return give_damaged(view, &found, request, read, err);
    if (!st)
        st = ks_segment_view_find(view, request->from_sequence, &found, err);
    if (!st)
        st = skip_expired(view, &raised, &found, err);
    if (st == KS_CORRUPT) /* the file itself is not what it should be */
        return give_damaged(view, &found, request, read, err);
    if (st == KS_END) { /* the rest of it has expired */
        read->next_sequence = raised.from_sequence;
        return KS_OK;
    }
    if (st)
        return st;
    return found.is_damaged ? give_damaged(view, &found, &raised, read, err)
                            : give_batches(view, &found, &raised, read, err);
}

/* ---- reading ---- */

enum ks_status ks_log_read(struct ks_log *log, const struct ks_read_request *request,
    struct ks_read *out_read, struct ks_error *err)
{
    KS_ASSERT(request->records_max > 0);
    struct ks_read read = {.extent_count = 0};
    struct ks_read_request raised = *request;
    struct ks_tail_extent extents[KS_READ_EXTENTS_MAX];
    uint32_t extent_count = 0;
    struct ks_segment_view view = {.may_block = request->may_block};
    enum ks_status st = KS_OK;
    uint64_t now = ks_engine_retention_unix_ms(log->engine);
    {
        KS_LOCK_SCOPE(&log->mu);
        if (log->state == KS_LOG_DELETED)
            return ks_fail(err, KS_NOT_FOUND, 0, "the shard was deleted");
        uint64_t durable = atomic_load(&log->durable_sequence);
        uint64_t horizon = ks_log_horizon(log, now);
        ks_log_advance_edge(log, horizon);
        uint64_t from = ks_max_u64(request->from_sequence, ks_log_first_sequence(log, durable));
        uint64_t tail_first = ks_tail_first_sequence(&log->tail);
        raised.from_sequence = from;
        read.next_sequence = from;
        struct ks_segment *segment = ks_segment_list_find(&log->segments, from);
        if (from > durable) {
            *out_read = read;
            return KS_OK;
        }
        view.horizon = horizon;
        if (tail_first > 0 && tail_first <= from)
            extent_count = collect_tail(log, &raised, from, durable, extents);
        else if (segment && segment->first_sequence <= from)
            st = ks_segment_view_init(&view, log, segment, durable, err);
        else
            st = ks_fail(err, KS_INTERNAL, 0, "record %llu of log %llu is nowhere",
                (unsigned long long)from, (unsigned long long)log->log_id);
    }
    if (extent_count > 0) {
        read_tail(&raised, raised.from_sequence, extents, extent_count, &read);
        ks_engine_count(log->engine, KS_COUNT_READS_TAIL, 1);
    } else if (!st && view.segment) {
        st = read_segment(&view, &raised, &read, err);
    }
    ks_segment_view_fini(&view);
    if (!st)
        *out_read = read;
    return st;
}

/* ---- by time ---- */

/* Among durable batches of the tail from `from` on. Log mutex held. */
static uint64_t find_time_in_tail(
    const struct ks_log *log, uint64_t unix_ms, uint64_t from, uint64_t durable)
{
    const struct ks_tail_query query = {.unix_ms = unix_ms, .last_sequence = durable};
    struct ks_tail_arrival found;
    if (!ks_tail_find_arrival(&log->tail, &query, &found))
        return durable + 1;
    return ks_min_u64(ks_max_u64(found.first_sequence, from), durable + 1);
}

static enum ks_status find_time_in_segment(
    struct ks_segment_view *view, uint64_t unix_ms, uint64_t *out_sequence, struct ks_error *err)
{
    struct ks_found found;
    enum ks_status st = ks_segment_view_open(view, true, err);
    if (!st)
        st = ks_segment_view_find_time(view, unix_ms, &found, err);
    if (st == KS_CORRUPT) {
        /* Nothing of it can be read, but its readers shall be told so. */
        *out_sequence = view->first_sequence;
        return KS_OK;
    }
    if (st == KS_END) {
        *out_sequence = view->last_sequence + 1;
        return KS_OK;
    }
    if (!st)
        *out_sequence = found.sequence;
    return st;
}

enum ks_status ks_log_find_time(struct ks_log *log, uint64_t unix_ms, bool may_block,
    uint64_t *out_sequence, struct ks_error *err)
{
    struct ks_segment_view view = {.may_block = may_block};
    enum ks_status st = KS_OK;
    uint64_t now = ks_engine_retention_unix_ms(log->engine);
    {
        KS_LOCK_SCOPE(&log->mu);
        if (log->state == KS_LOG_DELETED)
            return ks_fail(err, KS_NOT_FOUND, 0, "the shard was deleted");
        uint64_t durable = atomic_load(&log->durable_sequence);
        unix_ms = ks_max_u64(unix_ms, ks_log_horizon(log, now));
        struct ks_segment *segment = ks_segment_list_find_arrival(&log->segments, unix_ms);
        if (!segment) {
            *out_sequence = find_time_in_tail(
                log, unix_ms, ks_min_u64(log->flushed_sequence, durable) + 1, durable);
            return KS_OK;
        }
        st = ks_segment_view_init(&view, log, segment, durable, err);
    }
    if (!st)
        st = find_time_in_segment(&view, unix_ms, out_sequence, err);
    ks_segment_view_fini(&view);
    return st;
}
