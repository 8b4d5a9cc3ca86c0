/* The footer of a segment that is full, out of the file itself. */
#include "storage/engine_priv.h"
#include "storage/flush_priv.h"
#include "storage/segment_walk.h"

/* The first entry behind offset bounds a damaged stretch; without one it reaches to the end. */
static struct ks_index_entry next_known(const struct ks_segment *segment,
    const struct ks_index_entry *sparse, uint32_t sparse_count, uint64_t offset)
{
    for (uint32_t i = 0; i < sparse_count; i++) {
        if (sparse[i].offset > offset)
            return sparse[i];
    }
    return (struct ks_index_entry){
        .sequence = segment->last_sequence + 1, .offset = (uint32_t)segment->readable_bytes};
}

static enum ks_status footer_walk(struct ks_segment *segment, struct ks_segment_walk *walk,
    const struct ks_index_entry *sparse, uint32_t sparse_count, struct ks_footer *footer,
    struct ks_error *err)
{
    uint64_t offset = KS_SEGMENT_HEADER_BYTES;
    uint64_t sequence = segment->first_sequence;
    uint64_t mark_at = offset;
    while (offset < segment->readable_bytes) {
        struct ks_batch_header header;
        uint32_t bytes = 0;
        uint32_t records = 0;
        enum ks_status st = ks_segment_walk_at(walk, offset, sequence, &header, &bytes, err);
        if (st == KS_CORRUPT) {
            struct ks_index_entry next = next_known(segment, sparse, sparse_count, offset);
            bytes = (uint32_t)(next.offset - offset);
            records = (uint32_t)(next.sequence - sequence);
            ks_emit(segment->engine->options.events, KS_LEVEL_ERROR, "segment.damaged_batches",
                "file=%016llx log=%llu offset=%llu bytes=%u first_sequence=%llu records=%u",
                (unsigned long long)segment->file_id, (unsigned long long)segment->log_id,
                (unsigned long long)offset, bytes, (unsigned long long)sequence, records);
        } else if (st) {
            return st;
        } else {
            records = header.record_count;
            footer->last_arrival_unix_ms = header.arrival_unix_ms;
            if (offset >= mark_at) {
                if (!ks_footer_add_mark(footer, footer->batch_count, header.arrival_unix_ms))
                    return ks_fail(err, KS_NO_MEMORY, 0, "cannot seal a segment");
                mark_at = offset + segment->engine->options.limits.index_interval_bytes;
            }
        }
        if (!ks_footer_add_batch(footer, bytes, records))
            return ks_fail(err, KS_NO_MEMORY, 0, "cannot seal a segment");
        offset += bytes;
        sequence += records;
    }
    return KS_OK;
}

enum ks_status ks_segment_build_footer(struct ks_segment *segment, struct ks_file *file,
    const struct ks_index_entry *sparse, uint32_t sparse_count, struct ks_footer *out_footer,
    struct ks_error *err)
{
    struct ks_footer footer = {.log_id = segment->log_id,
        .first_sequence = segment->first_sequence,
        .last_sequence = segment->last_sequence};
    struct ks_segment_walk walk = {.segment = segment,
        .end_bytes = segment->readable_bytes,
        .may_block = true,
        .file = file,
        .is_file_borrowed = true};
    enum ks_status st = footer_walk(segment, &walk, sparse, sparse_count, &footer, err);
    ks_segment_walk_fini(&walk);
    if (st) {
        ks_footer_fini(&footer);
        return st;
    }
    *out_footer = footer;
    return KS_OK;
}
