#include "storage/segment_walk.h"

#include "base/alloc.h"
#include "base/map_copy.h"
#include "storage/engine_priv.h"

#include <string.h>

#define WINDOW_BYTES (64u << 10)
#define RESIDENT_STEP_BYTES (64u << 10)

void ks_segment_walk_fini(struct ks_segment_walk *walk)
{
    if (!walk->is_file_borrowed)
        ks_file_close(walk->file);
    ks_free(walk->window);
    walk->file = NULL;
    walk->window = NULL;
}

/* Asks the kernel for a stretch at a time: one call for many headers. */
bool ks_segment_walk_is_mapped(struct ks_segment_walk *walk, uint64_t offset, uint64_t bytes)
{
    if (!walk->map || offset + bytes > walk->end_bytes)
        return false;
    if (offset >= walk->resident_from && offset + bytes <= walk->resident_to)
        return true;
    struct ks_io *io = walk->segment->engine->options.io;
    uint64_t stretch = ks_min_u64(ks_max_u64(bytes, RESIDENT_STEP_BYTES), walk->end_bytes - offset);
    if (!ks_io_is_resident(io, walk->map + offset, stretch)) {
        stretch = bytes;
        if (!ks_io_is_resident(io, walk->map + offset, stretch))
            return false;
    }
    if (offset != walk->resident_to)
        walk->resident_from = offset;
    walk->resident_to = offset + stretch;
    return true;
}

enum ks_status ks_segment_walk_read(
    struct ks_segment_walk *walk, uint64_t offset, uint8_t *to, size_t bytes, struct ks_error *err)
{
    if (!walk->file) {
        if (!walk->may_block)
            return KS_WOULD_BLOCK;
        enum ks_status st = ks_segment_open_file(walk->segment, KS_OPEN_READ, &walk->file, err);
        if (st)
            return st;
    }
    enum ks_status st = ks_file_read_exactly(walk->file, to, bytes, offset, err);
    return st == KS_IO ? KS_CORRUPT : st;
}

static enum ks_status window_fetch(
    struct ks_segment_walk *walk, uint64_t offset, size_t bytes, uint8_t *to, struct ks_error *err)
{
    if (!walk->window) {
        walk->window = ks_malloc(WINDOW_BYTES);
        if (!walk->window)
            return ks_fail(err, KS_NO_MEMORY, 0, "cannot walk a segment");
    }
    bool is_there =
        offset >= walk->window_offset && offset + bytes <= walk->window_offset + walk->window_bytes;
    if (!is_there) {
        size_t wanted = (size_t)ks_min_u64(WINDOW_BYTES, walk->end_bytes - offset);
        walk->window_bytes = 0;
        enum ks_status st = ks_segment_walk_read(walk, offset, walk->window, wanted, err);
        /* A bad sector further on must not hide this header. */
        if (st == KS_CORRUPT && wanted > bytes) {
            wanted = bytes;
            st = ks_segment_walk_read(walk, offset, walk->window, wanted, err);
        }
        if (st)
            return st;
        walk->window_offset = offset;
        walk->window_bytes = wanted;
    }
    memcpy(to, walk->window + (offset - walk->window_offset), bytes);
    return KS_OK;
}

enum ks_status ks_segment_walk_at(struct ks_segment_walk *walk, uint64_t offset, uint64_t sequence,
    struct ks_batch_header *out_header, uint32_t *out_stored_bytes, struct ks_error *err)
{
    if (offset < KS_SEGMENT_HEADER_BYTES || offset >= walk->end_bytes)
        return KS_CORRUPT;
    uint8_t prefix[KS_BATCH_PREFIX_BYTES_MAX];
    size_t bytes = (size_t)ks_min_u64(sizeof prefix, walk->end_bytes - offset);
    bool is_copied = ks_segment_walk_is_mapped(walk, offset, bytes) &&
                     ks_map_copy(prefix, walk->map + offset, bytes);
    if (!is_copied) {
        enum ks_status st = window_fetch(walk, offset, bytes, prefix, err);
        if (st)
            return st;
    }
    size_t stored_bytes = 0;
    enum ks_status st =
        ks_batch_decode_prefix(ks_view_of(prefix, bytes), out_header, &stored_bytes);
    if (st || out_header->log_id != walk->segment->log_id ||
        out_header->first_sequence != sequence || stored_bytes > walk->end_bytes - offset)
        return KS_CORRUPT;
    *out_stored_bytes = (uint32_t)stored_bytes;
    return KS_OK;
}
