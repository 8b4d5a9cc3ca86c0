/*
 * Walking a segment from batch header to batch header, through a pinned map where its pages are
 * resident, else through reads of the file. Every load from a map is a guarded copy. For read*.c
 * and flush*.c only.
 */
#ifndef KS_STORAGE_SEGMENT_WALK_H
#define KS_STORAGE_SEGMENT_WALK_H

#include "storage/segment.h"

struct ks_segment_walk {
    struct ks_segment *segment; /* borrowed; pinned by the caller */
    const uint8_t *map;         /* NULL: reads only */
    uint64_t end_bytes;         /* readable bytes when the walk began */
    bool may_block;
    uint64_t resident_from; /* of the map, known resident */
    uint64_t resident_to;
    struct ks_file *file; /* opened when first needed, or borrowed */
    bool is_file_borrowed;
    uint8_t *window; /* of the file: [window_offset, + window_bytes) */
    uint64_t window_offset;
    size_t window_bytes;
};

void ks_segment_walk_fini(struct ks_segment_walk *walk);
/*
 * The header of the batch at offset, which must be of this log and begin with sequence. Errors:
 * KS_CORRUPT there is no such batch, whatever the reason (unreadable sectors too); KS_WOULD_BLOCK;
 * KS_NO_MEMORY.
 */
enum ks_status ks_segment_walk_at(struct ks_segment_walk *walk, uint64_t offset, uint64_t sequence,
    struct ks_batch_header *out_header, uint32_t *out_stored_bytes,
    struct ks_error *err) KS_MUST_USE;
/* Can [offset, offset + bytes) be given out by reference to the map? */
bool ks_segment_walk_is_mapped(struct ks_segment_walk *walk, uint64_t offset, uint64_t bytes);
/* Reads exactly bytes at offset from the file. Errors: KS_CORRUPT unreadable; KS_WOULD_BLOCK;
 * KS_NO_MEMORY. */
enum ks_status ks_segment_walk_read(struct ks_segment_walk *walk, uint64_t offset, uint8_t *to,
    size_t bytes, struct ks_error *err) KS_MUST_USE;

#endif
