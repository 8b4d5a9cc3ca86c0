/*
 * The bytes of a segment file but for its batches (proto/batch.h): the 4 KiB header and the footer.
 * FORMAT.md draws them. Only segment_format.c knows an offset. Threads: plain functions over the
 * caller's memory.
 */
#ifndef KS_STORAGE_SEGMENT_FORMAT_H
#define KS_STORAGE_SEGMENT_FORMAT_H

#include "base/bytes.h"
#include "base/status.h"
#include "base/u128.h"
#include "proto/batch.h"

#define KS_SEGMENT_HEADER_BYTES 4096u
/* What decoders take at most: 2^20 batches of the least size fill a larger segment than is ever
 * made. */
#define KS_FOOTER_BATCHES_MAX (1u << 20)
#define KS_FOOTER_BYTES_MAX (KS_FOOTER_BATCHES_MAX * 16u)

struct ks_segment_header {
    uint64_t file_id;
    uint64_t generation;
    uint64_t log_id;
    uint64_t first_sequence;
    uint64_t created_unix_ms;
    uint64_t shard_created_s;
    uint32_t shard_index;
    ks_u128 hash_first;
    ks_u128 hash_last;
    char stream_id[25];
    char stream_name[129];
};

void ks_segment_header_encode(
    const struct ks_segment_header *header, uint8_t to[KS_SEGMENT_HEADER_BYTES]);
/* from: exactly KS_SEGMENT_HEADER_BYTES. Errors: KS_CORRUPT; KS_UNSUPPORTED a newer version or an
 * unknown incompatible flag. */
enum ks_status ks_segment_header_decode(
    struct ks_view from, struct ks_segment_header *out, struct ks_error *err) KS_MUST_USE;

/* One batch as the footer tells of it. A damaged stretch stands in the list as one batch of its
 * bytes and lost ordinals. */
struct ks_footer_batch {
    uint32_t bytes;
    uint32_t record_count;
};

struct ks_footer_mark {
    uint32_t batch; /* index into batches */
    uint64_t arrival_unix_ms;
};

struct ks_footer {
    uint64_t log_id;
    uint64_t first_sequence;
    uint64_t last_sequence; /* end + 1 when the close batch is in */
    uint64_t last_arrival_unix_ms;
    uint64_t batches_bytes;
    struct ks_footer_batch *batches;
    uint32_t batch_count;
    uint32_t batch_capacity;
    struct ks_footer_mark *marks;
    uint32_t mark_count;
    uint32_t mark_capacity;
};

void ks_footer_fini(struct ks_footer *footer);
/* False: no memory. */
bool ks_footer_add_batch(
    struct ks_footer *footer, uint32_t bytes, uint32_t record_count) KS_MUST_USE;
bool ks_footer_add_mark(
    struct ks_footer *footer, uint32_t batch, uint64_t arrival_unix_ms) KS_MUST_USE;

/* An upper bound of the encoded footer with that many batches and marks. */
uint64_t ks_footer_bytes_bound(uint64_t batch_count, uint64_t mark_count);
/* Appends tag, length and Footer. False: memory or ceiling of to. */
bool ks_footer_encode(const struct ks_footer *footer, struct ks_buf *to) KS_MUST_USE;
/*
 * How many bytes at the end of the file the footer takes, tag and length included; from: the last
 * four bytes. Errors: KS_CORRUPT not a possible length.
 */
enum ks_status ks_footer_length(struct ks_view last_four_bytes, uint64_t *out_bytes) KS_MUST_USE;
/* from: exactly the footer with tag and length. Errors: KS_CORRUPT; KS_NO_MEMORY. On success
 * ks_footer_fini is due. */
enum ks_status ks_footer_decode(struct ks_view from, struct ks_footer *out_footer) KS_MUST_USE;

#endif
