/* Finding a batch in a segment: hint, sparse entries or index, footer; then a walk over headers. */
#include "base/alloc.h"
#include "storage/engine_priv.h"
#include "storage/flush_priv.h"
#include "storage/read_priv.h"

#include <string.h>

enum ks_status ks_segment_view_init(struct ks_segment_view *view, struct ks_log *log,
    struct ks_segment *segment, uint64_t durable_sequence, struct ks_error *err)
{
    view->log = log;
    view->segment = ks_segment_ref(segment);
    view->is_sealed = segment->state != KS_SEGMENT_ACTIVE;
    view->first_sequence = segment->first_sequence;
    view->last_sequence = ks_min_u64(segment->last_sequence, durable_sequence);
    view->file_bytes = segment->file_bytes;
    view->segment_first_arrival_unix_ms = segment->first_arrival_unix_ms;
    view->segment_last_arrival_unix_ms = segment->last_arrival_unix_ms;
    view->walk.segment = segment;
    view->walk.end_bytes = segment->readable_bytes;
    if (segment->sparse_count == 0)
        return KS_OK;
    view->sparse = ks_memdup(segment->sparse, segment->sparse_count * sizeof *segment->sparse);
    if (!view->sparse)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot read a log");
    view->sparse_count = segment->sparse_count;
    return KS_OK;
}

void ks_segment_view_fini(struct ks_segment_view *view)
{
    ks_segment_walk_fini(&view->walk);
    if (view->is_map_pinned)
        ks_segment_unpin_map(view->segment);
    if (view->has_footer)
        ks_footer_fini(&view->footer);
    ks_free(view->sparse);
    if (view->segment)
        ks_segment_unref(view->segment);
}

enum ks_status ks_segment_view_open(
    struct ks_segment_view *view, bool use_map, struct ks_error *err)
{
    view->walk.may_block = view->may_block;
    /* A map costs more than a short read: page tables, and a page or two of it that stay. */
    bool is_short = view->walk.end_bytes < view->segment->engine->options.limits.map_bytes_min;
    if (!use_map || is_short)
        return view->may_block ? KS_OK : KS_WOULD_BLOCK;
    enum ks_status st = ks_segment_pin_map(
        view->segment, view->walk.end_bytes, view->may_block, &view->walk.map, err);
    if (st == KS_OK)
        view->is_map_pinned = true;
    if (st == KS_OK || st == KS_WOULD_BLOCK || st == KS_CORRUPT)
        return st;
    /* Pinned and too short, or it cannot be mapped: the file itself serves. */
    view->walk.map = NULL;
    return view->may_block ? KS_OK : KS_WOULD_BLOCK;
}

/* ---- footer ---- */

enum ks_status ks_segment_read_footer(struct ks_segment *segment, uint64_t file_bytes,
    struct ks_footer *out_footer, struct ks_error *err)
{
    KS_CLEANUP(ks_file_closep) struct ks_file *file = NULL;
    enum ks_status st = ks_segment_open_file(segment, KS_OPEN_READ, &file, err);
    return st ? st : ks_segment_read_footer_from(segment, file, file_bytes, out_footer, err);
}

enum ks_status ks_segment_read_footer_from(const struct ks_segment *segment, struct ks_file *file,
    uint64_t file_bytes, struct ks_footer *out_footer, struct ks_error *err)
{
    uint8_t last[4];
    uint64_t footer_bytes = 0;
    if (file_bytes < KS_SEGMENT_HEADER_BYTES + sizeof last)
        return ks_fail(err, KS_CORRUPT, 0, "segment '%s' has no footer", file->path);
    enum ks_status st =
        ks_file_read_exactly(file, last, sizeof last, file_bytes - sizeof last, err);
    if (st)
        return st;
    if (ks_footer_length(ks_view_of(last, sizeof last), &footer_bytes) ||
        footer_bytes > file_bytes - KS_SEGMENT_HEADER_BYTES)
        return ks_fail(err, KS_CORRUPT, 0, "segment '%s' has no footer", file->path);
    KS_AUTO_FREE uint8_t *bytes = ks_malloc(footer_bytes);
    if (!bytes)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot read the footer of '%s'", file->path);
    st = ks_file_read_exactly(file, bytes, footer_bytes, file_bytes - footer_bytes, err);
    if (st)
        return st;
    struct ks_footer footer;
    st = ks_footer_decode(ks_view_of(bytes, footer_bytes), &footer);
    if (st)
        return ks_fail(err, st, 0, "segment '%s' has a damaged footer", file->path);
    if (footer.log_id != segment->log_id || footer.first_sequence != segment->first_sequence ||
        footer.batches_bytes != file_bytes - footer_bytes - KS_SEGMENT_HEADER_BYTES) {
        ks_footer_fini(&footer);
        return ks_fail(
            err, KS_CORRUPT, 0, "segment '%s' has a footer of something else", file->path);
    }
    *out_footer = footer;
    return KS_OK;
}

/* Once per view. An unreadable footer is replaced by what a walk finds. */
static enum ks_status need_footer(struct ks_segment_view *view, struct ks_error *err)
{
    if (view->has_footer)
        return KS_OK;
    if (!view->may_block)
        return KS_WOULD_BLOCK;
    struct ks_segment *segment = view->segment;
    enum ks_status st = ks_segment_read_footer(segment, view->file_bytes, &view->footer, err);
    if (st == KS_CORRUPT || st == KS_IO) {
        ks_engine_count(segment->engine, KS_COUNT_INDEX_REBUILDS, 1);
        ks_emit(segment->engine->options.events, KS_LEVEL_WARNING, "segment.footer_unreadable",
            "file=%016llx log=%llu", (unsigned long long)segment->file_id,
            (unsigned long long)segment->log_id);
        KS_CLEANUP(ks_file_closep) struct ks_file *file = NULL;
        st = ks_segment_open_file(segment, KS_OPEN_READ, &file, err);
        if (!st)
            st = ks_segment_build_footer(segment, file, NULL, 0, &view->footer, err);
    }
    view->has_footer = st == KS_OK;
    return st;
}

/* What the footer says of the place: the last batch that begins at or before sequence (or, with
 * sequence 0, at or before offset). */
static struct ks_found footer_find(
    const struct ks_segment_view *view, uint64_t sequence, uint64_t offset)
{
    const struct ks_footer *footer = &view->footer;
    struct ks_found found = {
        .next_sequence = footer->first_sequence, .next_offset = KS_SEGMENT_HEADER_BYTES};
    for (uint32_t i = 0; i < footer->batch_count; i++) {
        bool is_behind = sequence ? found.next_sequence > sequence : found.next_offset > offset;
        if (is_behind)
            break;
        found.sequence = found.next_sequence;
        found.offset = found.next_offset;
        found.next_sequence += footer->batches[i].record_count;
        found.next_offset += footer->batches[i].bytes;
    }
    return found;
}

/* ---- damage ---- */

/* At offset, where sequence should begin, there is no batch: how far does that reach? */
static enum ks_status damage_bounds(struct ks_segment_view *view, uint64_t offset,
    uint64_t sequence, struct ks_found *out_found, struct ks_error *err)
{
    struct ks_found found = {.is_damaged = true,
        .offset = offset,
        .sequence = sequence,
        .next_sequence = view->last_sequence + 1,
        .next_offset = view->walk.end_bytes,
        .arrival_unix_ms = view->segment->first_arrival_unix_ms};
    if (view->is_sealed) {
        enum ks_status st = need_footer(view, err);
        if (st && st != KS_CORRUPT)
            return st;
        struct ks_found told = st ? (struct ks_found){.offset = 0} : footer_find(view, 0, offset);
        if (!st && told.offset == offset && told.sequence == sequence) {
            found.next_sequence = ks_min_u64(told.next_sequence, view->last_sequence + 1);
            found.next_offset = told.next_offset;
        }
    }
    for (uint32_t i = 0; !view->is_sealed && i < view->sparse_count; i++) {
        if (view->sparse[i].offset <= offset)
            continue;
        found.next_sequence = view->sparse[i].sequence;
        found.next_offset = view->sparse[i].offset;
        break;
    }
    ks_engine_count(view->segment->engine, KS_COUNT_DAMAGE_MET, 1);
    ks_emit(view->segment->engine->options.events, KS_LEVEL_ERROR, "read.damaged",
        "file=%016llx log=%llu offset=%llu first_sequence=%llu last_sequence=%llu",
        (unsigned long long)view->segment->file_id, (unsigned long long)view->segment->log_id,
        (unsigned long long)offset, (unsigned long long)sequence,
        (unsigned long long)found.next_sequence - 1);
    *out_found = found;
    return KS_OK;
}

enum ks_status ks_segment_view_at(struct ks_segment_view *view, uint64_t offset, uint64_t sequence,
    struct ks_found *out_found, struct ks_error *err)
{
    struct ks_batch_header header;
    uint32_t bytes = 0;
    enum ks_status st = ks_segment_walk_at(&view->walk, offset, sequence, &header, &bytes, err);
    if (st == KS_CORRUPT)
        return damage_bounds(view, offset, sequence, out_found, err);
    if (st)
        return st;
    *out_found = (struct ks_found){.is_lost = header.kind == KS_BATCH_DAMAGED,
        .offset = offset,
        .sequence = sequence,
        .next_sequence = sequence + header.record_count,
        .next_offset = offset + bytes,
        .arrival_unix_ms = header.arrival_unix_ms};
    return KS_OK;
}

/* ---- where to start ---- */

/* After a start the entries of an active segment are unknown: one walk makes them for all. */
static enum ks_status rebuild_sparse(struct ks_segment_view *view, struct ks_error *err)
{
    if (!view->may_block)
        return KS_WOULD_BLOCK;
    struct ks_segment *segment = view->segment;
    uint32_t interval = segment->engine->options.limits.index_interval_bytes;
    uint32_t capacity = (uint32_t)(view->walk.end_bytes / interval + 2);
    struct ks_index_entry *sparse = ks_calloc(capacity, sizeof *sparse);
    if (!sparse)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot read a log");
    ks_free(view->sparse);
    view->sparse = sparse;
    view->sparse_count = 0;
    uint64_t offset = KS_SEGMENT_HEADER_BYTES;
    uint64_t sequence = view->first_sequence;
    uint64_t mark_at = offset;
    while (offset < view->walk.end_bytes) {
        struct ks_batch_header header;
        uint32_t bytes = 0;
        enum ks_status st = ks_segment_walk_at(&view->walk, offset, sequence, &header, &bytes, err);
        if (st == KS_CORRUPT)
            break; /* nothing is known behind it */
        if (st)
            return st;
        if (offset >= mark_at) {
            view->sparse[view->sparse_count++] = (struct ks_index_entry){.sequence = sequence,
                .arrival_unix_ms = header.arrival_unix_ms,
                .offset = (uint32_t)offset};
            mark_at = offset + interval;
        }
        sequence += header.record_count;
        offset += bytes;
    }
    ks_engine_count(segment->engine, KS_COUNT_INDEX_REBUILDS, 1);
    return KS_OK;
}

/* For the next reader, unless the flusher has moved on: its entries would be missing in between. */
static void install_sparse(struct ks_segment_view *view)
{
    struct ks_segment *segment = view->segment;
    KS_LOCK_SCOPE(&view->log->mu);
    if (segment->state != KS_SEGMENT_ACTIVE || view->sparse_count == 0 ||
        segment->readable_bytes != view->walk.end_bytes)
        return;
    struct ks_index_entry *copy =
        ks_memdup(view->sparse, view->sparse_count * sizeof *view->sparse);
    if (!copy)
        return;
    ks_free(segment->sparse);
    segment->sparse = copy;
    segment->sparse_count = view->sparse_count;
    segment->sparse_capacity = view->sparse_count;
}

static enum ks_status need_sparse(struct ks_segment_view *view, struct ks_error *err)
{
    if (view->sparse_count > 0 && view->sparse[0].offset == KS_SEGMENT_HEADER_BYTES)
        return KS_OK;
    enum ks_status st = rebuild_sparse(view, err);
    if (!st)
        install_sparse(view);
    return st;
}

static struct ks_index_entry segment_start(const struct ks_segment_view *view)
{
    return (struct ks_index_entry){.sequence = view->first_sequence,
        .offset = KS_SEGMENT_HEADER_BYTES,
        .arrival_unix_ms = view->segment->first_arrival_unix_ms};
}

/* The footer knows better than an index whose entry does not lead to a batch: a right entry means
 * damaged data, a wrong one a damaged index. */
static enum ks_status check_index_entry(
    struct ks_segment_view *view, struct ks_index_entry *entry, struct ks_error *err)
{
    struct ks_batch_header header;
    uint32_t bytes = 0;
    enum ks_status st =
        ks_segment_walk_at(&view->walk, entry->offset, entry->sequence, &header, &bytes, err);
    if (st != KS_CORRUPT)
        return st;
    st = need_footer(view, err);
    if (st)
        return st;
    struct ks_found told = footer_find(view, 0, entry->offset);
    if (told.offset == entry->offset && told.sequence == entry->sequence)
        return KS_OK;
    ks_index_drop(view->segment->engine->index, "an entry leads to another batch");
    *entry = segment_start(view);
    return KS_NOT_FOUND;
}

static enum ks_status start_sealed(struct ks_segment_view *view, uint64_t sequence,
    struct ks_index_entry *out_start, struct ks_error *err)
{
    if (!view->may_block)
        return KS_WOULD_BLOCK;
    struct ks_index *index = view->segment->engine->index;
    enum ks_status st = KS_NOT_FOUND;
    if (index && !view->has_footer)
        st = ks_index_find(index, view->segment, sequence, out_start, NULL);
    if (!st)
        st = check_index_entry(view, out_start, err);
    if (st != KS_NOT_FOUND)
        return st;
    st = need_footer(view, err);
    if (st == KS_CORRUPT) {
        *out_start = segment_start(view);
        return KS_OK;
    }
    if (st)
        return st;
    struct ks_found told = footer_find(view, sequence, 0);
    *out_start =
        (struct ks_index_entry){.sequence = told.sequence, .offset = (uint32_t)told.offset};
    if (index)
        ks_index_submit(index, view->segment);
    return KS_OK;
}

static enum ks_status find_start(struct ks_segment_view *view, uint64_t sequence,
    struct ks_index_entry *out_start, struct ks_error *err)
{
    *out_start = segment_start(view);
    if (sequence == view->first_sequence)
        return KS_OK;
    if (ks_segment_recall(view->segment, sequence, out_start))
        return KS_OK;
    if (view->is_sealed)
        return start_sealed(view, sequence, out_start, err);
    enum ks_status st = need_sparse(view, err);
    for (uint32_t i = 0; !st && i < view->sparse_count; i++) {
        if (view->sparse[i].sequence <= sequence)
            *out_start = view->sparse[i];
    }
    return st;
}

enum ks_status ks_segment_view_find(struct ks_segment_view *view, uint64_t sequence,
    struct ks_found *out_found, struct ks_error *err)
{
    KS_ASSERT(sequence >= view->first_sequence && sequence <= view->last_sequence);
    struct ks_index_entry start;
    enum ks_status st = find_start(view, sequence, &start, err);
    if (st)
        return st;
    uint64_t offset = start.offset;
    uint64_t at = start.sequence;
    for (;;) {
        st = ks_segment_view_at(view, offset, at, out_found, err);
        if (st || out_found->next_sequence > sequence)
            return st;
        offset = out_found->next_offset;
        at = out_found->next_sequence;
    }
}

/* ---- by time ---- */

static enum ks_status start_by_time(struct ks_segment_view *view, uint64_t unix_ms,
    struct ks_index_entry *out_start, struct ks_error *err)
{
    *out_start = segment_start(view);
    if (unix_ms <= view->segment->first_arrival_unix_ms)
        return KS_OK;
    if (!view->is_sealed) {
        enum ks_status st = need_sparse(view, err);
        for (uint32_t i = 0; !st && i < view->sparse_count; i++) {
            if (view->sparse[i].arrival_unix_ms < unix_ms)
                *out_start = view->sparse[i];
        }
        return st;
    }
    if (!view->may_block)
        return KS_WOULD_BLOCK;
    struct ks_index *index = view->segment->engine->index;
    enum ks_status st = KS_NOT_FOUND;
    if (index)
        st = ks_index_find_time(index, view->segment, unix_ms, out_start, NULL);
    if (!st)
        st = check_index_entry(view, out_start, err);
    if (st != KS_NOT_FOUND)
        return st;
    *out_start = segment_start(view);
    st = need_footer(view, err);
    if (st)
        return st == KS_CORRUPT ? KS_OK : st;
    const struct ks_footer *footer = &view->footer;
    uint32_t mark = 0;
    uint64_t offset = KS_SEGMENT_HEADER_BYTES;
    uint64_t sequence = footer->first_sequence;
    for (uint32_t i = 0; i < footer->batch_count && mark < footer->mark_count; i++) {
        if (footer->marks[mark].batch == i) {
            if (footer->marks[mark].arrival_unix_ms >= unix_ms)
                break;
            *out_start = (struct ks_index_entry){.sequence = sequence, .offset = (uint32_t)offset};
            mark++;
        }
        offset += footer->batches[i].bytes;
        sequence += footer->batches[i].record_count;
    }
    if (index)
        ks_index_submit(index, view->segment);
    return KS_OK;
}

enum ks_status ks_segment_view_find_time(struct ks_segment_view *view, uint64_t unix_ms,
    struct ks_found *out_found, struct ks_error *err)
{
    struct ks_index_entry start;
    enum ks_status st = start_by_time(view, unix_ms, &start, err);
    if (st)
        return st;
    uint64_t offset = start.offset;
    uint64_t sequence = start.sequence;
    while (sequence <= view->last_sequence) {
        st = ks_segment_view_at(view, offset, sequence, out_found, err);
        if (st || (!out_found->is_damaged && out_found->arrival_unix_ms >= unix_ms))
            return st;
        offset = out_found->next_offset;
        sequence = out_found->next_sequence;
    }
    return KS_END;
}

enum ks_status ks_segment_view_find_edge(
    struct ks_segment_view *view, struct ks_log_edge *out_edge, struct ks_error *err)
{
    struct ks_index_entry start;
    enum ks_status st = start_by_time(view, view->horizon, &start, err);
    if (st)
        return st;
    struct ks_log_edge edge = {
        .sequence = start.sequence, .arrival_unix_ms = view->segment_first_arrival_unix_ms};
    bool is_damage_between = false;
    bool is_found = false;
    uint64_t offset = start.offset;
    uint64_t sequence = start.sequence;
    while (sequence <= view->last_sequence) {
        struct ks_found found;
        st = ks_segment_view_at(view, offset, sequence, &found, err);
        if (st)
            return st;
        offset = found.next_offset;
        sequence = found.next_sequence;
        if (found.is_damaged || found.is_lost) {
            is_damage_between = true;
            continue;
        }
        is_found = found.arrival_unix_ms >= view->horizon;
        if (is_found && !is_damage_between)
            edge.arrival_unix_ms = found.arrival_unix_ms;
        if (is_found)
            break;
        is_damage_between = false;
        edge = (struct ks_log_edge){
            .sequence = found.next_sequence, .arrival_unix_ms = found.arrival_unix_ms};
    }
    /* Behind the last record stands the close batch. */
    if (!is_found && !is_damage_between)
        edge.arrival_unix_ms = ks_max_u64(edge.arrival_unix_ms, view->segment_last_arrival_unix_ms);
    *out_edge = edge;
    return KS_OK;
}
