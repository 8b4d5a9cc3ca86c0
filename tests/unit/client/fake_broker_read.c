#include "proto/sequence.h"
#include "proto/wire.h"
#include "tests/unit/client/fake_broker_priv.h"

/* ---- the list of shards, three to a page ---- */

#define SHARDS_PER_PAGE 3u

static Kstream__Shard *list_entry(
    struct fake_request *request, const struct fake_shard *from, uint32_t index)
{
    struct ks_arena *arena = &request->arena;
    Kstream__Shard *shard = ks_arena_zalloc(arena, sizeof *shard);
    Kstream__HashKeyRange *range = ks_arena_zalloc(arena, sizeof *range);
    Kstream__SequenceNumberRange *numbers = ks_arena_zalloc(arena, sizeof *numbers);
    kstream__shard__init(shard);
    kstream__hash_key_range__init(range);
    kstream__sequence_number_range__init(numbers);
    char text[KS_SHARD_ID_TEXT_BYTES];
    ks_shard_id_to_text(index, text);
    shard->shard_id = ks_arena_strdup(arena, text);
    if (from->has_parent) {
        ks_shard_id_to_text(from->parents[0], text);
        shard->parent_shard_id = ks_arena_strdup(arena, text);
        ks_shard_id_to_text(from->parents[1], text);
        if (from->parents[1] != from->parents[0])
            shard->adjacent_parent_shard_id = ks_arena_strdup(arena, text);
    }
    range->starting_hash_key = ks_arena_strdup(arena, "0");
    range->ending_hash_key = ks_arena_strdup(arena, "1");
    numbers->starting_sequence_number = ks_arena_strdup(arena, "1");
    if (!from->is_open)
        numbers->ending_sequence_number = ks_arena_strdup(arena, "2");
    shard->hash_key_range = range;
    shard->sequence_number_range = numbers;
    return shard;
}

void fake_list_shards(struct fake_request *request)
{
    const Kstream__ListShardsRequest *message = (const void *)fake_unpack(request);
    struct fake_broker *broker = request->broker;
    Kstream__ListShardsResponse response = KSTREAM__LIST_SHARDS_RESPONSE__INIT;
    char token[16];
    uint32_t at = message->next_token ? (uint32_t)strtoul(message->next_token, NULL, 10) : 0;
    response.shards = ks_arena_zalloc(&request->arena, FAKE_SHARDS_MAX * sizeof(Kstream__Shard *));
    for (; at < broker->shard_count && response.n_shards < SHARDS_PER_PAGE; at++)
        if (!broker->shards[at].is_expired)
            response.shards[response.n_shards++] = list_entry(request, &broker->shards[at], at);
    snprintf(token, sizeof token, "%u", at);
    if (at < broker->shard_count)
        response.next_token = token;
    fake_answer(request, KS_OP_LIST_SHARDS, &response.base);
}

/* ---- reads: an iterator is "SHARD:ORDINAL" ---- */

void fake_get_iterator(struct fake_request *request)
{
    const Kstream__GetShardIteratorRequest *message = (const void *)fake_unpack(request);
    uint32_t index = 0;
    ck_assert_int_eq(ks_shard_id_from_text(ks_view_of_text(message->shard_id), &index), KS_OK);
    if (index >= request->broker->shard_count || request->broker->shards[index].is_expired) {
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

/* The shards that continue one, as fields of the answer. */
static void children_append(struct ks_buf *to, const struct fake_broker *broker, uint32_t index)
{
    ks_buf_init(to, 1024);
    for (uint32_t i = 0; i < broker->shard_count; i++) {
        const struct fake_shard *shard = &broker->shards[i];
        if (!shard->has_parent || (shard->parents[0] != index && shard->parents[1] != index))
            continue;
        char ids[3][KS_SHARD_ID_TEXT_BYTES];
        char *parents[2] = {ids[1], ids[2]};
        ks_shard_id_to_text(i, ids[0]);
        ks_shard_id_to_text(shard->parents[0], ids[1]);
        ks_shard_id_to_text(shard->parents[1], ids[2]);
        Kstream__HashKeyRange range = KSTREAM__HASH_KEY_RANGE__INIT;
        Kstream__ChildShard child = KSTREAM__CHILD_SHARD__INIT;
        range.starting_hash_key = range.ending_hash_key = ids[0];
        child.shard_id = ids[0];
        child.parent_shards = parents;
        child.n_parent_shards = shard->parents[0] == shard->parents[1] ? 1 : 2;
        child.hash_key_range = &range;
        uint8_t packed[256];
        uint8_t head[16];
        size_t bytes = kstream__child_shard__pack(&child, packed);
        ck_assert(ks_buf_append(to, head, (size_t)(ks_wire_put_length(head, 3, bytes) - head)));
        ck_assert(ks_buf_append(to, packed, bytes));
    }
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
    if (request->broker->has_long_poll && message->wait_ms > 0 && count == 0 && shard->is_open) {
        request->must_wait = true;
        return;
    }
    struct ks_buf body;
    struct ks_buf segment;
    ks_buf_init(&body, KS_FRAME_BYTES_MAX);
    ks_buf_init(&segment, KS_FRAME_BYTES_MAX);
    if (count > 0)
        batch_append(&segment, shard, ordinal, count);
    if (count > 0 && request->fault == FAKE_DAMAGE_RECORD)
        segment.data[segment.bytes - 1] ^= 1;
    char text[64];
    struct ks_buf children;
    children_append(&children, request->broker, (uint32_t)index);
    int text_bytes =
        snprintf(text, sizeof text, "%lu:%llu", index, (unsigned long long)(ordinal + count));
    uint8_t head[1024];
    uint8_t *at = head;
    bool is_end = !shard->is_open && count == left;
    if (!is_end) {
        at = ks_wire_put_length(at, 1, (size_t)text_bytes);
        memcpy(at, text, (size_t)text_bytes);
        at += text_bytes;
    }
    at = ks_wire_put_varint(at, 2, left - count);
    if (is_end && children.bytes > 0) {
        memcpy(at, children.data, children.bytes);
        at += children.bytes;
    }
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
    ks_buf_fini(&children);
}
