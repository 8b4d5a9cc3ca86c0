#include "proto/put_records.h"
#include "proto/wire.h"

/* Field numbers of the messages in api.proto. */
enum { RESPONSE_FAILED = 1, RESPONSE_PARTS, RESPONSE_RECORD_PARTS };
enum {
    RESULT_SHARD = 1,
    RESULT_FIRST_SEQUENCE,
    RESULT_COUNT,
    RESULT_ARRIVAL,
    RESULT_CREATED,
    RESULT_IS_DUPLICATE,
    RESULT_ERROR
};
enum { ERROR_STATUS = 1, ERROR_MESSAGE, ERROR_EXCEPTION, ERROR_EXPECTED, ERROR_RETRY_AFTER = 6 };

#define ERROR_TEXT_BYTES_MAX 512
/* A result without its text: nine numbers of at most 11 bytes, three lengths, the exception's
 * name. */
#define RESULT_BYTES_MAX (9 * 11 + 3 * 4 + 64 + ERROR_TEXT_BYTES_MAX)

static uint8_t *put_text(uint8_t *to, uint32_t number, struct ks_view text)
{
    to = ks_wire_put_length(to, number, text.bytes);
    if (text.bytes > 0)
        memcpy(to, text.data, text.bytes);
    return to + text.bytes;
}

static size_t error_encode(const struct ks_put_result *result, uint8_t *to)
{
    struct ks_view text = result->error_text;
    if (text.bytes == 0)
        text = ks_view_of_text(ks_status_info(result->status)->text);
    text.bytes = KS_MIN(text.bytes, (size_t)ERROR_TEXT_BYTES_MAX);
    uint8_t *at = ks_wire_put_varint(to, ERROR_STATUS, (uint64_t)result->status);
    at = put_text(at, ERROR_MESSAGE, text);
    at = put_text(at, ERROR_EXCEPTION, ks_view_of_text(ks_status_info(result->status)->exception));
    if (result->expected_producer_sequence != 0)
        at = ks_wire_put_varint(at, ERROR_EXPECTED, result->expected_producer_sequence);
    if (result->retry_after_ms != 0)
        at = ks_wire_put_varint(at, ERROR_RETRY_AFTER, result->retry_after_ms);
    return (size_t)(at - to);
}

static size_t result_encode(const struct ks_put_result *result, uint8_t *to)
{
    uint8_t *at = ks_wire_put_varint(to, RESULT_SHARD, result->shard_index);
    at = ks_wire_put_varint(at, RESULT_FIRST_SEQUENCE, result->first_sequence);
    at = ks_wire_put_varint(at, RESULT_COUNT, result->record_count);
    at = ks_wire_put_varint(at, RESULT_ARRIVAL, result->arrival_unix_ms);
    at = ks_wire_put_varint(at, RESULT_CREATED, result->created_unix_s);
    if (result->is_duplicate)
        at = ks_wire_put_varint(at, RESULT_IS_DUPLICATE, 1);
    if (result->status != KS_OK) {
        uint8_t error[RESULT_BYTES_MAX];
        size_t error_bytes = error_encode(result, error);
        at = put_text(at, RESULT_ERROR, ks_view_of(error, error_bytes));
    }
    return (size_t)(at - to);
}

static uint32_t failed_records(const struct ks_put_response *response)
{
    uint32_t failed = 0;
    for (uint32_t i = 0; i < response->part_count; i++)
        if (response->parts[i].status != KS_OK)
            failed += response->parts[i].record_count;
    return failed;
}

/* Appends the message alone. */
static bool response_encode(struct ks_buf *to, const struct ks_put_response *response)
{
    uint8_t bytes[RESULT_BYTES_MAX + 16];
    uint8_t *at = ks_wire_put_varint(bytes, RESPONSE_FAILED, failed_records(response));
    if (!ks_buf_append(to, bytes, (size_t)(at - bytes)))
        return false;
    for (uint32_t i = 0; i < response->part_count; i++) {
        uint8_t head[16];
        size_t result_bytes = result_encode(&response->parts[i], bytes);
        KS_ASSERT(result_bytes <= RESULT_BYTES_MAX);
        at = ks_wire_put_length(head, RESPONSE_PARTS, result_bytes);
        if (!ks_buf_append(to, head, (size_t)(at - head)) ||
            !ks_buf_append(to, bytes, result_bytes))
            return false;
    }
    if (response->record_count == 0)
        return true;
    uint8_t packed[KS_PUT_RECORDS_MAX * 2 + 16];
    uint8_t numbers[KS_PUT_RECORDS_MAX * 2];
    size_t numbers_bytes = 0;
    _Static_assert(KS_PUT_PARTS_MAX <= 1u << 14, "a part's index takes two bytes at most");
    for (uint32_t i = 0; i < response->record_count; i++) {
        KS_ASSERT(response->record_parts[i] < response->part_count);
        numbers_bytes += ks_varint_store(numbers + numbers_bytes, response->record_parts[i]);
    }
    at = put_text(packed, RESPONSE_RECORD_PARTS, ks_view_of(numbers, numbers_bytes));
    return ks_buf_append(to, packed, (size_t)(at - packed));
}

enum ks_status ks_put_response_append(
    struct ks_buf *to, const struct ks_response_head *head, const struct ks_put_response *response)
{
    KS_ASSERT(response->part_count <= KS_PUT_PARTS_MAX);
    KS_ASSERT(response->record_count <= KS_PUT_RECORDS_MAX);
    /* The message goes behind room for the longest prefix, and is moved up against the real one. */
    size_t start = to->bytes;
    uint8_t prefix[KS_FRAME_PREFIX_BYTES_MAX] = {0};
    if (!ks_buf_append(to, prefix, sizeof prefix) || !response_encode(to, response)) {
        to->bytes = start;
        return KS_NO_MEMORY;
    }
    size_t message_bytes = to->bytes - start - sizeof prefix;
    size_t prefix_bytes = ks_response_encode_prefix(head, message_bytes, prefix);
    memmove(to->data + start + prefix_bytes, to->data + start + sizeof prefix, message_bytes);
    memcpy(to->data + start, prefix, prefix_bytes);
    to->bytes = start + prefix_bytes + message_bytes;
    return KS_OK;
}

static bool error_decode(struct ks_view message, struct ks_put_result *result)
{
    struct ks_cursor c = ks_cursor_over(message.data, message.bytes);
    struct ks_wire_field f;
    result->status = KS_INTERNAL;
    while (ks_wire_next(&c, &f)) {
        if (ks_wire_is(&f, ERROR_STATUS, KS_WIRE_VARINT))
            result->status =
                ks_status_from_wire(f.value > UINT32_MAX ? UINT32_MAX : (uint32_t)f.value);
        else if (ks_wire_is(&f, ERROR_MESSAGE, KS_WIRE_BYTES))
            result->error_text = f.bytes;
        else if (ks_wire_is(&f, ERROR_EXPECTED, KS_WIRE_VARINT))
            result->expected_producer_sequence = f.value;
        else if (ks_wire_is(&f, ERROR_RETRY_AFTER, KS_WIRE_VARINT))
            result->retry_after_ms = f.value;
    }
    /* An error that says "ok" is not a success. */
    if (result->status == KS_OK)
        result->status = KS_INTERNAL;
    return ks_cursor_left(&c) == 0;
}

/* A number with that field number, whose tag is one byte. */
static bool take_number(struct ks_cursor *c, uint32_t number, uint64_t *out)
{
    uint8_t tag = 0;
    return ks_cursor_u8(c, &tag) && tag == number << 3 && ks_cursor_varint(c, out);
}

/* A stored part as result_encode writes it, without looking for anything else. False: something
 * else is there, and nothing has been decided. */
static bool result_decode_stored(struct ks_view message, struct ks_put_result *result)
{
    struct ks_cursor c = ks_cursor_over(message.data, message.bytes);
    uint64_t shard = 0;
    uint64_t count = 0;
    uint64_t duplicate = 0;
    *result = (struct ks_put_result){.status = KS_OK};
    if (!take_number(&c, RESULT_SHARD, &shard) ||
        !take_number(&c, RESULT_FIRST_SEQUENCE, &result->first_sequence) ||
        !take_number(&c, RESULT_COUNT, &count) ||
        !take_number(&c, RESULT_ARRIVAL, &result->arrival_unix_ms) ||
        !take_number(&c, RESULT_CREATED, &result->created_unix_s))
        return false;
    if (ks_cursor_left(&c) > 0 && !take_number(&c, RESULT_IS_DUPLICATE, &duplicate))
        return false;
    result->shard_index = (uint32_t)shard;
    result->record_count = (uint32_t)count;
    result->is_duplicate = duplicate != 0;
    return ks_cursor_left(&c) == 0 && shard <= KS_SHARD_INDEX_MAX && count <= UINT32_MAX &&
           result->first_sequence > 0;
}

static bool result_decode(struct ks_view message, struct ks_put_result *result)
{
    if (result_decode_stored(message, result))
        return true;
    *result = (struct ks_put_result){.status = KS_OK};
    struct ks_cursor c = ks_cursor_over(message.data, message.bytes);
    struct ks_wire_field f;
    while (ks_wire_next(&c, &f)) {
        if (ks_wire_is(&f, RESULT_SHARD, KS_WIRE_VARINT) && f.value <= KS_SHARD_INDEX_MAX)
            result->shard_index = (uint32_t)f.value;
        else if (ks_wire_is(&f, RESULT_FIRST_SEQUENCE, KS_WIRE_VARINT))
            result->first_sequence = f.value;
        else if (ks_wire_is(&f, RESULT_COUNT, KS_WIRE_VARINT) && f.value <= UINT32_MAX)
            result->record_count = (uint32_t)f.value;
        else if (ks_wire_is(&f, RESULT_ARRIVAL, KS_WIRE_VARINT))
            result->arrival_unix_ms = f.value;
        else if (ks_wire_is(&f, RESULT_CREATED, KS_WIRE_VARINT))
            result->created_unix_s = f.value;
        else if (ks_wire_is(&f, RESULT_IS_DUPLICATE, KS_WIRE_VARINT))
            result->is_duplicate = f.value != 0;
        else if (ks_wire_is(&f, RESULT_ERROR, KS_WIRE_BYTES)) {
            if (!error_decode(f.bytes, result))
                return false;
        } else if (f.number <= RESULT_ERROR) {
            return false;
        }
    }
    return ks_cursor_left(&c) == 0 && (result->status != KS_OK || result->first_sequence > 0);
}

static bool record_parts_decode(struct ks_view packed, struct ks_put_response *response)
{
    struct ks_cursor c = ks_cursor_over(packed.data, packed.bytes);
    uint64_t part = 0;
    while (ks_cursor_left(&c) > 0) {
        if (response->record_count == KS_PUT_RECORDS_MAX || !ks_cursor_varint(&c, &part) ||
            part >= KS_PUT_PARTS_MAX)
            return false;
        response->record_parts[response->record_count++] = (uint16_t)part;
    }
    return true;
}

static bool response_take(struct ks_put_response *response, const struct ks_wire_field *f)
{
    if (ks_wire_is(f, RESPONSE_FAILED, KS_WIRE_VARINT) && f->value <= UINT32_MAX) {
        response->failed_record_count = (uint32_t)f->value;
        return true;
    }
    if (ks_wire_is(f, RESPONSE_PARTS, KS_WIRE_BYTES))
        return response->part_count < KS_PUT_PARTS_MAX &&
               result_decode(f->bytes, &response->parts[response->part_count++]);
    if (ks_wire_is(f, RESPONSE_RECORD_PARTS, KS_WIRE_BYTES))
        return record_parts_decode(f->bytes, response);
    return f->number > RESPONSE_RECORD_PARTS;
}

enum ks_status ks_put_response_decode(
    struct ks_view message, struct ks_put_response *out_response, struct ks_error *err)
{
    struct ks_put_response *r = out_response;
    r->failed_record_count = 0;
    r->part_count = 0;
    r->record_count = 0;
    struct ks_cursor c = ks_cursor_over(message.data, message.bytes);
    struct ks_wire_field f;
    while (ks_wire_next(&c, &f))
        if (!response_take(r, &f))
            return ks_fail(err, KS_PROTOCOL, 0, "a malformed answer to PutRecords");
    if (ks_cursor_left(&c) > 0)
        return ks_fail(err, KS_PROTOCOL, 0, "a malformed answer to PutRecords");
    for (uint32_t i = 0; i < r->record_count; i++)
        if (r->record_parts[i] >= r->part_count)
            return ks_fail(err, KS_PROTOCOL, 0, "an answer to PutRecords that names no part");
    return KS_OK;
}
