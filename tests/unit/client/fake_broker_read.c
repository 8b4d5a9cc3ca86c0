#include "proto/sequence.h"
#include "proto/wire.h"
#include "tests/unit/client/fake_broker_priv.h"

/* ---- reads: an iterator is "SHARD:ORDINAL" ---- */

void fake_get_iterator(struct fake_request *request)
{
    const Kstream__GetShardIteratorRequest *message = (const void *)fake_unpack(request);
    uint32_t index = 0;
    ck_assert_int_eq(ks_shard_id_from_text(ks_view_of_text(message->shard_id), &index), KS_OK);
    if (index >= request->broker->shard_count) {
        fake_answer_error(request, KS_NOT_FOUND, 0, NULL);
        return;
    }
    uint64_t ordinal = 1;
    const char *type = message->shard_iterator_type;
    if (strcmp(type, "LATEST") == 0)
        ordinal = request->broker->shards[index].count + 1;
    if (strstr(type, "SEQUENCE_NUMBER")) {
        struct ks_sequence_number number;
        ck_assert_int_eq(
            ks_sequence_from_text(ks_view_of_text(message->starting_sequence_number), &number),
            KS_OK);
        ordinal = number.ordinal + (strcmp(type, "AFTER_SEQUENCE_NUMBER") == 0);
    }
    char text[64];
    snprintf(text, sizeof text, "%u:%llu", index, (unsigned long long)ordinal);
    Kstream__GetShardIteratorResponse response = KSTREAM__GET_SHARD_ITERATOR_RESPONSE__INIT;
    response.shard_iterator = text;
    fake_answer(request, KS_OP_GET_SHARD_ITERATOR, &response.base);
}

/* count records from ordinal on as one stored batch. */
static void batch_append(
    struct ks_buf *to, const struct fake_shard *shard, uint64_t ordinal, size_t count)
{
    struct ks_buf records;
    ks_buf_init(&records, KS_BATCH_RECORDS_BYTES_MAX);
    uint32_t body_crc = 0;
    for (size_t i = 0; i < count; i++) {
        const struct fake_record *from = &shard->records[ordinal - 1 + i];
        struct ks_record record = {
            .key = ks_view_of_text(from->key), .data = ks_view_of_text(from->data)};
        size_t bytes = ks_record_encoded_bytes(record.key.bytes, record.data.bytes, false);
        ck_assert(ks_buf_reserve(&records, bytes));
        body_crc =
            ks_body_crc_extend(body_crc, ks_record_encode(&record, records.data + records.bytes));
        records.bytes += bytes;
    }
    struct ks_batch_header header = {.log_id = 1,
        .first_sequence = ordinal,
        .arrival_unix_ms = FAKE_NOW_UNIX_MS,
        .record_count = (uint32_t)count,
        .records_bytes = (uint32_t)records.bytes,
        .body_crc = body_crc,
        .kind = KS_BATCH_DATA};
    uint8_t prefix[KS_BATCH_PREFIX_BYTES_MAX];
    size_t prefix_bytes = ks_batch_encode_prefix(&header, prefix);
    ck_assert(ks_buf_append(to, prefix, prefix_bytes));
    ck_assert(ks_buf_append(to, records.data, records.bytes));
    ks_buf_fini(&records);
}

void fake_get_records(struct fake_request *request)
{
    const Kstream__GetRecordsRequest *message = (const void *)fake_unpack(request);
    char *rest = NULL;
    unsigned long index = strtoul(message->shard_iterator, &rest, 10);
    uint64_t ordinal = strtoull(rest + 1, NULL, 10);
    struct fake_shard *shard = &request->broker->shards[index];
    size_t left = shard->count + 1 - ordinal;
    size_t count = KS_MIN(left, (size_t)RECORDS_PER_ANSWER);
    if (message->has_limit)
        count = KS_MIN(count, (size_t)message->limit);
    if (request->fault == FAKE_NOTHING_YET)
        count = 0;
    struct ks_buf body;
    struct ks_buf segment;
    ks_buf_init(&body, KS_FRAME_BYTES_MAX);
    ks_buf_init(&segment, KS_FRAME_BYTES_MAX);
    if (count > 0)
        batch_append(&segment, shard, ordinal, count);
    if (count > 0 && request->fault == FAKE_DAMAGE_RECORD)
        segment.data[segment.bytes - 1] ^= 1;
    char text[64];
    int text_bytes =
        snprintf(text, sizeof text, "%lu:%llu", index, (unsigned long long)(ordinal + count));
    uint8_t head[256];
    uint8_t *at = head;
    if (shard->is_open || count < left) {
        at = ks_wire_put_length(at, 1, (size_t)text_bytes);
        memcpy(at, text, (size_t)text_bytes);
        at += text_bytes;
    }
    at = ks_wire_put_varint(at, 2, left - count);
    at = ks_wire_put_varint(at, 4, index);
    at = ks_wire_put_varint(at, 5, FAKE_CREATED_UNIX_S);
    at = ks_wire_put_varint(at, 6, 0);
    at = ks_wire_put_varint(at, 7, count);
    if (count > 0)
        at = ks_wire_put_length(at, 15, segment.bytes);
    ck_assert(ks_buf_append(&body, head, (size_t)(at - head)));
    ck_assert(segment.bytes == 0 || ks_buf_append(&body, segment.data, segment.bytes));
    struct ks_response_head response = {
        .request_id = request->view.request_id, .op = KS_OP_GET_RECORDS};
    uint8_t prefix[KS_FRAME_PREFIX_BYTES_MAX];
    size_t prefix_bytes = ks_response_encode_prefix(&response, body.bytes, prefix);
    ck_assert(ks_buf_append(&request->out, prefix, prefix_bytes));
    ck_assert(ks_buf_append(&request->out, body.data, body.bytes));
    ks_buf_fini(&body);
    ks_buf_fini(&segment);
}
