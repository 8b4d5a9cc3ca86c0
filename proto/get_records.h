/*
 * The answer of GetRecords by hand: its last field is a Segment whose content is stored batches,
 * byte for byte. The server writes what precedes them and sends the stored bytes by reference; the
 * client takes them out of the frame as a view. Threads: plain functions over the caller's memory.
 */
#ifndef KS_PROTO_GET_RECORDS_H
#define KS_PROTO_GET_RECORDS_H

#include "base/bytes.h"
#include "base/status.h"
#include "proto/api.pb-c.h"
#include "proto/frame.h"
#include "proto/limits.h"

/*
 * Appends everything of the frame but the stored batches: batches_bytes of them must follow on the
 * socket, so this is the frame's whole start. response->segment must be NULL. Errors: KS_TOO_LARGE
 * over the frame limit; KS_NO_MEMORY.
 */
enum ks_status ks_get_response_append_prefix(struct ks_buf *to, uint64_t request_id,
    uint32_t put_credit_bytes, const Kstream__GetRecordsResponse *response,
    size_t batches_bytes) KS_MUST_USE;

/* Stored batches that fit a frame beside the largest other members. */
#define KS_GET_BATCHES_BYTES_MAX (KS_FRAME_BYTES_MAX - (64u << 10))

/*
 * Splits a packed GetRecordsResponse: head is a GetRecordsResponse without segment (unpack it),
 * batches the stored batches (ks_batch_decode one after the other). Errors: KS_PROTOCOL malformed,
 * or something behind the segment.
 */
enum ks_status ks_get_response_split(struct ks_view message, struct ks_view *out_head,
    struct ks_view *out_batches, struct ks_error *err) KS_MUST_USE;

#endif
