/*
 * Frames of the native wire: a 4-byte big-endian length, then one Request or Response of api.proto.
 * The outer message is read and written by hand, so that a request can be dispatched, and a large
 * one taken apart, without unpacking it. Threads: plain functions over the caller's memory.
 */
#ifndef KS_PROTO_FRAME_H
#define KS_PROTO_FRAME_H

#include "base/bytes.h"
#include "base/status.h"
#include "proto/limits.h"
#include "proto/operations.h"

#define KS_FRAME_LENGTH_BYTES 4
/* Length, request id, put credit, tag and length of the operation's message. */
#define KS_FRAME_PREFIX_BYTES_MAX 32

/* What has arrived so far, seen as a frame. */
struct ks_frame {
    size_t frame_bytes;  /* with its length bytes; 0 while those have not arrived */
    struct ks_view body; /* complete frames only */
    bool is_complete;
};

/*
 * Looks at the start of received; call it again when more has arrived. frame_bytes, known after
 * four bytes, is what to reserve. Errors: KS_TOO_LARGE over KS_FRAME_BYTES_MAX; KS_PROTOCOL an
 * empty frame. Both end the connection.
 */
enum ks_status ks_frame_parse(
    struct ks_view received, struct ks_frame *out_frame, struct ks_error *err) KS_MUST_USE;

struct ks_request_view {
    uint64_t request_id;
    uint32_t op;            /* an enum ks_op, or a number this version does not know */
    struct ks_view message; /* the operation's request message, packed */
};

/* Errors: KS_PROTOCOL malformed, no request id, not exactly one operation; *out_request holds the
 * id if it was found. */
enum ks_status ks_request_peek(
    struct ks_view body, struct ks_request_view *out_request, struct ks_error *err) KS_MUST_USE;

#define KS_OP_ERROR 3 /* a response whose result is an Error */

struct ks_response_view {
    uint64_t request_id;
    uint32_t put_credit_bytes;
    uint32_t op; /* that of the request, or KS_OP_ERROR */
    struct ks_view message;
};

/* Errors: KS_PROTOCOL. */
enum ks_status ks_response_peek(
    struct ks_view body, struct ks_response_view *out_response, struct ks_error *err) KS_MUST_USE;

/* ---- writing ---- */

struct ks_request_head {
    uint64_t request_id;
    enum ks_op op;
};

struct ks_response_head {
    uint64_t request_id;
    uint32_t put_credit_bytes;
    uint32_t op; /* an enum ks_op or KS_OP_ERROR */
};

/*
 * Everything that precedes the operation's message of message_bytes, frame length included; returns
 * its length. Asserts that the frame is within KS_FRAME_BYTES_MAX.
 */
size_t ks_request_encode_prefix(const struct ks_request_head *head, size_t message_bytes,
    uint8_t to[KS_FRAME_PREFIX_BYTES_MAX]);
size_t ks_response_encode_prefix(const struct ks_response_head *head, size_t message_bytes,
    uint8_t to[KS_FRAME_PREFIX_BYTES_MAX]);

/* Appends a whole frame. Errors: KS_NO_MEMORY the buffer's ceiling or memory; KS_TOO_LARGE over the
 * frame limit. */
enum ks_status ks_request_append(struct ks_buf *to, const struct ks_request_head *head,
    const ProtobufCMessage *message) KS_MUST_USE;
enum ks_status ks_response_append(struct ks_buf *to, const struct ks_response_head *head,
    const ProtobufCMessage *message) KS_MUST_USE;

#endif
