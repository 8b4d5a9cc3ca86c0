#include "proto/frame.h"

#include "proto/wire.h"

/* Field numbers of Request and Response. */
enum { FIELD_REQUEST_ID = 1, FIELD_PUT_CREDIT = 2, FIELD_ERROR = KS_OP_ERROR, FIELD_OP_MIN = 10 };

/* Room kept for what stands around a message in a frame. */
#define MESSAGE_BYTES_MAX (KS_FRAME_BYTES_MAX - KS_FRAME_PREFIX_BYTES_MAX)

enum ks_status ks_frame_parse(
    struct ks_view received, struct ks_frame *out_frame, struct ks_error *err)
{
    *out_frame = (struct ks_frame){.frame_bytes = 0};
    struct ks_cursor c = ks_cursor_over(received.data, received.bytes);
    uint32_t body_bytes = 0;
    if (!ks_cursor_u32be(&c, &body_bytes))
        return KS_OK;
    if (body_bytes == 0)
        return ks_fail(err, KS_PROTOCOL, 0, "a frame of no bytes");
    if (body_bytes > KS_FRAME_BYTES_MAX)
        return ks_fail(err, KS_TOO_LARGE, 0, "a frame of %u bytes, the limit is %u", body_bytes,
            KS_FRAME_BYTES_MAX);
    out_frame->frame_bytes = KS_FRAME_LENGTH_BYTES + (size_t)body_bytes;
    out_frame->is_complete = ks_cursor_view(&c, body_bytes, &out_frame->body);
    return KS_OK;
}

enum ks_status ks_request_peek(
    struct ks_view body, struct ks_request_view *out_request, struct ks_error *err)
{
    *out_request = (struct ks_request_view){.request_id = 0};
    struct ks_cursor c = ks_cursor_over(body.data, body.bytes);
    struct ks_wire_field field;
    bool has_id = false;
    while (ks_wire_next(&c, &field)) {
        if (field.number == FIELD_REQUEST_ID) {
            if (field.type != KS_WIRE_VARINT || has_id)
                return ks_fail(err, KS_PROTOCOL, 0, "a request with a malformed request id");
            has_id = true;
            out_request->request_id = field.value;
        } else if (field.number >= FIELD_OP_MIN) {
            if (field.type != KS_WIRE_BYTES || out_request->op != 0)
                return ks_fail(err, KS_PROTOCOL, 0, "a request with more than one operation");
            out_request->op = field.number;
            out_request->message = field.bytes;
        }
    }
    if (ks_cursor_left(&c) > 0)
        return ks_fail(err, KS_PROTOCOL, 0, "a request that is not a protobuf message");
    if (!has_id)
        return ks_fail(err, KS_PROTOCOL, 0, "a request without request id");
    if (out_request->op == 0)
        return ks_fail(err, KS_PROTOCOL, 0, "a request without operation");
    return KS_OK;
}

enum ks_status ks_response_peek(
    struct ks_view body, struct ks_response_view *out_response, struct ks_error *err)
{
    *out_response = (struct ks_response_view){.request_id = 0};
    struct ks_cursor c = ks_cursor_over(body.data, body.bytes);
    struct ks_wire_field field;
    bool has_id = false;
    while (ks_wire_next(&c, &field)) {
        if (ks_wire_is(&field, FIELD_REQUEST_ID, KS_WIRE_VARINT)) {
            has_id = true;
            out_response->request_id = field.value;
        } else if (ks_wire_is(&field, FIELD_PUT_CREDIT, KS_WIRE_VARINT)) {
            out_response->put_credit_bytes = (uint32_t)ks_min_u64(field.value, UINT32_MAX);
        } else if (field.number == FIELD_ERROR || field.number >= FIELD_OP_MIN) {
            if (field.type != KS_WIRE_BYTES || out_response->op != 0)
                return ks_fail(err, KS_PROTOCOL, 0, "a response with more than one result");
            out_response->op = field.number;
            out_response->message = field.bytes;
        }
    }
    if (ks_cursor_left(&c) > 0 || !has_id || out_response->op == 0)
        return ks_fail(err, KS_PROTOCOL, 0, "a malformed response");
    return KS_OK;
}

/* fields: the outer message's own fields, already encoded. */
static size_t frame_encode_prefix(
    struct ks_view fields, uint32_t op, size_t message_bytes, uint8_t *to)
{
    KS_ASSERT(message_bytes <= MESSAGE_BYTES_MAX);
    uint8_t *at = to + KS_FRAME_LENGTH_BYTES;
    memcpy(at, fields.data, fields.bytes);
    at = ks_wire_put_length(at + fields.bytes, op, message_bytes);
    size_t prefix_bytes = (size_t)(at - to);
    KS_ASSERT(prefix_bytes <= KS_FRAME_PREFIX_BYTES_MAX);
    ks_store_u32be(to, (uint32_t)(prefix_bytes - KS_FRAME_LENGTH_BYTES + message_bytes));
    return prefix_bytes;
}

size_t ks_request_encode_prefix(
    const struct ks_request_head *head, size_t message_bytes, uint8_t to[KS_FRAME_PREFIX_BYTES_MAX])
{
    uint8_t fields[16];
    uint8_t *end = ks_wire_put_varint(fields, FIELD_REQUEST_ID, head->request_id);
    return frame_encode_prefix(
        ks_view_of(fields, (size_t)(end - fields)), (uint32_t)head->op, message_bytes, to);
}

size_t ks_response_encode_prefix(const struct ks_response_head *head, size_t message_bytes,
    uint8_t to[KS_FRAME_PREFIX_BYTES_MAX])
{
    uint8_t fields[32];
    uint8_t *end = ks_wire_put_varint(fields, FIELD_REQUEST_ID, head->request_id);
    end = ks_wire_put_varint(end, FIELD_PUT_CREDIT, head->put_credit_bytes);
    return frame_encode_prefix(
        ks_view_of(fields, (size_t)(end - fields)), head->op, message_bytes, to);
}

static enum ks_status append_message(
    struct ks_buf *to, struct ks_view prefix, const ProtobufCMessage *message, size_t message_bytes)
{
    if (!ks_buf_reserve(to, prefix.bytes + message_bytes))
        return KS_NO_MEMORY;
    memcpy(to->data + to->bytes, prefix.data, prefix.bytes);
    size_t packed = protobuf_c_message_pack(message, to->data + to->bytes + prefix.bytes);
    KS_ASSERT(packed == message_bytes);
    to->bytes += prefix.bytes + message_bytes;
    return KS_OK;
}

enum ks_status ks_request_append(
    struct ks_buf *to, const struct ks_request_head *head, const ProtobufCMessage *message)
{
    size_t message_bytes = protobuf_c_message_get_packed_size(message);
    if (message_bytes > MESSAGE_BYTES_MAX)
        return KS_TOO_LARGE;
    uint8_t prefix[KS_FRAME_PREFIX_BYTES_MAX];
    size_t prefix_bytes = ks_request_encode_prefix(head, message_bytes, prefix);
    return append_message(to, ks_view_of(prefix, prefix_bytes), message, message_bytes);
}

enum ks_status ks_response_append(
    struct ks_buf *to, const struct ks_response_head *head, const ProtobufCMessage *message)
{
    size_t message_bytes = protobuf_c_message_get_packed_size(message);
    if (message_bytes > MESSAGE_BYTES_MAX)
        return KS_TOO_LARGE;
    uint8_t prefix[KS_FRAME_PREFIX_BYTES_MAX];
    size_t prefix_bytes = ks_response_encode_prefix(head, message_bytes, prefix);
    return append_message(to, ks_view_of(prefix, prefix_bytes), message, message_bytes);
}
