#include "proto/get_records.h"

#include "proto/wire.h"

#define FIELD_SEGMENT 15

enum ks_status ks_get_response_append_prefix(struct ks_buf *to, uint64_t request_id,
    uint32_t put_credit_bytes, const Kstream__GetRecordsResponse *response, size_t batches_bytes)
{
    KS_ASSERT(response->segment == NULL);
    uint8_t segment[16];
    size_t segment_bytes = 0;
    if (batches_bytes > 0)
        segment_bytes =
            (size_t)(ks_wire_put_length(segment, FIELD_SEGMENT, batches_bytes) - segment);
    size_t head_bytes = kstream__get_records_response__get_packed_size(response);
    if (batches_bytes > KS_GET_BATCHES_BYTES_MAX ||
        head_bytes + segment_bytes + batches_bytes > KS_FRAME_BYTES_MAX - KS_FRAME_PREFIX_BYTES_MAX)
        return KS_TOO_LARGE;
    uint8_t prefix[KS_FRAME_PREFIX_BYTES_MAX];
    struct ks_response_head head = {
        .request_id = request_id, .put_credit_bytes = put_credit_bytes, .op = KS_OP_GET_RECORDS};
    size_t prefix_bytes =
        ks_response_encode_prefix(&head, head_bytes + segment_bytes + batches_bytes, prefix);
    if (!ks_buf_reserve(to, prefix_bytes + head_bytes + segment_bytes))
        return KS_NO_MEMORY;
    uint8_t *at = to->data + to->bytes;
    memcpy(at, prefix, prefix_bytes);
    size_t packed = kstream__get_records_response__pack(response, at + prefix_bytes);
    KS_ASSERT(packed == head_bytes);
    memcpy(at + prefix_bytes + head_bytes, segment, segment_bytes);
    to->bytes += prefix_bytes + head_bytes + segment_bytes;
    return KS_OK;
}

enum ks_status ks_get_response_split(struct ks_view message, struct ks_view *out_head,
    struct ks_view *out_batches, struct ks_error *err)
{
    struct ks_cursor c = ks_cursor_over(message.data, message.bytes);
    struct ks_wire_field field;
    size_t field_start = 0;
    while (ks_wire_next(&c, &field)) {
        if (field.number != FIELD_SEGMENT) {
            field_start = c.position;
            continue;
        }
        if (field.type != KS_WIRE_BYTES || ks_cursor_left(&c) > 0)
            return ks_fail(err, KS_PROTOCOL, 0, "records are not at the end of the answer");
        *out_head = ks_view_of(message.data, field_start);
        *out_batches = field.bytes;
        return KS_OK;
    }
    if (ks_cursor_left(&c) > 0)
        return ks_fail(err, KS_PROTOCOL, 0, "a malformed answer to GetRecords");
    *out_head = message;
    *out_batches = ks_view_of(NULL, 0);
    return KS_OK;
}
