/* Finding a batch in a segment, for read*.c only. */
#ifndef KS_STORAGE_READ_PRIV_H
#define KS_STORAGE_READ_PRIV_H

#include "storage/segment_walk.h"

struct ks_log;

/* A segment as it was at one moment under the log's mutex, and what has been read of it since. */
struct ks_segment_view {
    struct ks_log *log;
    struct ks_segment *segment; /* referenced */
    bool is_sealed;
    bool may_block;
    bool is_map_pinned;
    uint64_t first_sequence;
    uint64_t last_sequence; /* of its last record that may be served */
    uint64_t file_bytes;
    uint64_t segment_first_arrival_unix_ms;
    uint64_t segment_last_arrival_unix_ms;
    uint64_t horizon; /* set by the caller: records that arrived before it have expired */
    struct ks_index_entry *sparse; /* a copy; active only; empty: not known */
    uint32_t sparse_count;
    struct ks_footer footer;
    bool has_footer;
    struct ks_segment_walk walk;
};

/* A batch that was found, or a stretch of lost ordinals. */
struct ks_found {
    bool is_damaged;
    bool is_lost; /* a good batch that says so of its ordinals: nobody knows their arrival */
    uint64_t offset;
    uint64_t sequence;      /* of its first record */
    uint64_t next_sequence; /* behind its last one */
    uint64_t next_offset;
    uint64_t arrival_unix_ms;
};

/* Log mutex held. Errors: KS_NO_MEMORY. ks_segment_view_fini is due in any case. */
enum ks_status ks_segment_view_init(struct ks_segment_view *view, struct ks_log *log,
    struct ks_segment *segment, uint64_t durable_sequence, struct ks_error *err) KS_MUST_USE;
void ks_segment_view_fini(struct ks_segment_view *view);
/* After the mutex: use_map false reads the file only. Errors: KS_WOULD_BLOCK; KS_CORRUPT nothing of
 * it can be served. */
enum ks_status ks_segment_view_open(
    struct ks_segment_view *view, bool use_map, struct ks_error *err) KS_MUST_USE;
/* The batch or the damaged stretch that holds sequence. Errors: KS_WOULD_BLOCK; KS_NO_MEMORY. */
enum ks_status ks_segment_view_find(struct ks_segment_view *view, uint64_t sequence,
    struct ks_found *out_found, struct ks_error *err) KS_MUST_USE;
/* The first batch with arrival >= unix_ms; there is one. Damage before it is passed over. Errors:
 * as above; KS_END after all there is none. */
enum ks_status ks_segment_view_find_time(struct ks_segment_view *view, uint64_t unix_ms,
    struct ks_found *out_found, struct ks_error *err) KS_MUST_USE;
/*
 * Where what has not expired begins: behind the last batch that arrived before the horizon. Damage
 * behind that batch may hide records that have not expired, so it is left to be told of. Errors: as
 * ks_segment_view_find.
 */
struct ks_log_edge;
enum ks_status ks_segment_view_find_edge(
    struct ks_segment_view *view, struct ks_log_edge *out_edge, struct ks_error *err) KS_MUST_USE;
/* What stands at offset, which is where sequence begins. */
enum ks_status ks_segment_view_at(struct ks_segment_view *view, uint64_t offset, uint64_t sequence,
    struct ks_found *out_found, struct ks_error *err) KS_MUST_USE;
/* The footer of a sealed file, with tag and length off its end. Errors: KS_CORRUPT; KS_IO;
 * KS_NO_MEMORY. Waits for the disk. */
enum ks_status ks_segment_read_footer(struct ks_segment *segment, uint64_t file_bytes,
    struct ks_footer *out_footer, struct ks_error *err) KS_MUST_USE;
/* The same from its file, opened by the caller. */
enum ks_status ks_segment_read_footer_from(const struct ks_segment *segment, struct ks_file *file,
    uint64_t file_bytes, struct ks_footer *out_footer, struct ks_error *err) KS_MUST_USE;

#endif
