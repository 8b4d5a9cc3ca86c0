/*
 * PutRecords by hand: the server sees views into the frame, the client writes records once and
 * sends them by reference. The messages are PutRecordsRequest and PutRecordsResponse of api.proto;
 * a decoder here accepts what an ordinary protobuf encoder makes. Threads: plain functions over the
 * caller's memory; the structs are large, keep one per thread.
 */
#ifndef KS_PROTO_PUT_RECORDS_H
#define KS_PROTO_PUT_RECORDS_H

#include "base/bytes.h"
#include "base/status.h"
#include "proto/frame.h"
#include "proto/limits.h"

/* The records of one shard in a routed put. */
struct ks_put_part {
    uint64_t producer_id; /* 0: not idempotent */
    uint64_t producer_sequence;
    uint32_t shard_index;
    uint32_t record_count;
    bool is_first;
    bool is_repeat;
    struct ks_view records; /* unchecked: ks_records_validate */
};

/* A record of a plain put. data == NULL with a false flag: the member is absent. */
struct ks_put_entry {
    struct ks_view key;
    struct ks_view data;
    struct ks_view explicit_hash; /* decimal text */
    bool has_key;
    bool has_data;
    bool has_explicit_hash;
};

/* Which stream: the members that are absent have data == NULL. */
struct ks_put_stream {
    struct ks_view name;
    struct ks_view arn;
    struct ks_view id;
};

struct ks_put_request {
    struct ks_view message;
    struct ks_put_stream stream;
    uint64_t routing_epoch;
    bool has_routing_epoch;
    uint32_t part_count;  /* > 0: routed */
    uint32_t entry_count; /* > 0: plain */
    struct ks_put_part parts[KS_PUT_PARTS_MAX];
    struct ks_put_entry entries[KS_PUT_RECORDS_MAX];
};

/*
 * Takes the message apart; nothing is copied. A part's records and a plain put's members are not
 * checked yet. Errors: KS_PROTOCOL malformed, or both forms at once, or parts without stream id and
 * routing epoch; KS_TOO_LARGE more parts or records than the limits allow.
 */
enum ks_status ks_put_request_decode(
    struct ks_view message, struct ks_put_request *out_request, struct ks_error *err) KS_MUST_USE;

/*
 * True when a plain put keeps every rule of rules.def (sizes of the whole request are the
 * caller's). When false, ks_rules_check on the unpacked message says what is wrong.
 */
bool ks_put_request_is_valid(const struct ks_put_request *request) KS_MUST_USE;

/* PutRecord, taken apart in the same way: a key may contain any character, U+0000 too. */
struct ks_put_record {
    struct ks_put_stream stream;
    struct ks_put_entry entry;
    struct ks_view sequence_number_for_ordering; /* absent: data == NULL */
};

/* Errors: KS_PROTOCOL. */
enum ks_status ks_put_record_decode(
    struct ks_view message, struct ks_put_record *out_record, struct ks_error *err) KS_MUST_USE;
/* As ks_put_request_is_valid. */
bool ks_put_record_is_valid(const struct ks_put_record *record) KS_MUST_USE;

/* ---- client side: requests ---- */

#define KS_PUT_PART_HEAD_BYTES_MAX 64

/* What stands before a part's records: shard, producer, count, length; returns its length. The
 * records follow. */
size_t ks_put_part_encode_head(
    const struct ks_put_part *part, uint8_t to[KS_PUT_PART_HEAD_BYTES_MAX]);

#define KS_PUT_HEAD_BYTES_MAX (KS_FRAME_PREFIX_BYTES_MAX + 64)

struct ks_put_routed {
    uint64_t request_id;
    struct ks_view stream_id; /* KS_STREAM_ID_BYTES at most */
    uint64_t routing_epoch;
    const struct ks_put_part *parts;
    uint32_t part_count;
};

/*
 * The frame's start, up to the first part; each part's head and records follow, in order. Returns
 * its length, 0 when the frame would be over KS_FRAME_BYTES_MAX.
 */
size_t ks_put_routed_encode_head(
    const struct ks_put_routed *put, uint8_t to[KS_PUT_HEAD_BYTES_MAX]);

struct ks_put_plain {
    uint64_t request_id;
    struct ks_put_stream stream;
    const struct ks_put_entry *entries;
    uint32_t entry_count;
};

/* Appends the whole frame. Errors: KS_TOO_LARGE over the frame limit; KS_NO_MEMORY. */
enum ks_status ks_put_plain_append(struct ks_buf *to, const struct ks_put_plain *put) KS_MUST_USE;

/* ---- answers ---- */

struct ks_put_result {
    uint64_t first_sequence; /* 0 with an error */
    uint64_t arrival_unix_ms;
    uint64_t created_unix_s;             /* of the shard */
    uint64_t expected_producer_sequence; /* with KS_PRODUCER_GAP */
    uint64_t retry_after_ms;             /* with KS_THROTTLED by a limit; 0: not known */
    uint32_t shard_index;
    uint32_t record_count;
    bool is_duplicate;
    enum ks_status status;
    struct ks_view error_text;
};

struct ks_put_response {
    uint32_t failed_record_count;
    uint32_t part_count;
    uint32_t record_count; /* of record_parts; 0 for a routed put */
    struct ks_put_result parts[KS_PUT_PARTS_MAX];
    uint16_t record_parts[KS_PUT_RECORDS_MAX]; /* index into parts, in the order of the request */
};

/* Appends the whole frame; failed_record_count is counted here. Errors: KS_NO_MEMORY. */
enum ks_status ks_put_response_append(struct ks_buf *to, const struct ks_response_head *head,
    const struct ks_put_response *response) KS_MUST_USE;
/* Texts are views into message. Errors: KS_PROTOCOL. */
enum ks_status ks_put_response_decode(
    struct ks_view message, struct ks_put_response *out_response, struct ks_error *err) KS_MUST_USE;

#endif
