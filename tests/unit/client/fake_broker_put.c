/* Puts: routed ones by the rules of idempotent producers, plain ones into shard 0. */
#include "base/md5.h"
#include "proto/sequence.h"
#include "tests/unit/client/fake_broker_priv.h"

/* strndup would look for a zero behind bytes that have none. */
static char *text_of(struct ks_view bytes)
{
    char *text = malloc(bytes.bytes + 1);
    KS_ASSERT(text);
    if (bytes.bytes > 0)
        memcpy(text, bytes.data, bytes.bytes);
    text[bytes.bytes] = '\0';
    return text;
}

void fake_shard_store(struct fake_shard *shard, struct ks_view key, struct ks_view data)
{
    struct fake_record *records =
        realloc(shard->records, (shard->count + 1) * sizeof *shard->records);
    ck_assert_ptr_nonnull(records);
    shard->records = records;
    records[shard->count].key = text_of(key);
    records[shard->count].data = text_of(data);
    shard->count++;
}

static const struct fake_batch *shard_known(
    const struct fake_shard *shard, uint64_t producer_id, uint64_t sequence)
{
    for (size_t i = 0; i < shard->batch_count; i++)
        if (shard->batches[i].producer_id == producer_id && shard->batches[i].sequence == sequence)
            return &shard->batches[i];
    return NULL;
}

static uint64_t shard_last_sequence(const struct fake_shard *shard, uint64_t producer_id)
{
    uint64_t last = 0;
    for (size_t i = 0; i < shard->batch_count; i++)
        if (shard->batches[i].producer_id == producer_id)
            last = ks_max_u64(last, shard->batches[i].sequence);
    return last;
}

/* The rules of DESIGN 8; KS_OK when the batch is to be stored. */
static enum ks_status put_judge(const struct fake_shard *shard, const Kstream__ShardPut *put)
{
    uint64_t last = shard_last_sequence(shard, put->producer_id);
    if (!shard->is_open)
        return last == 0 && !put->is_first ? KS_PRODUCER_UNKNOWN : KS_SHARD_CLOSED;
    if (last == 0 && (!put->is_first || (put->is_repeat && shard->has_forgotten)))
        return KS_PRODUCER_UNKNOWN;
    if (last > 0 && put->producer_sequence <= last)
        return KS_PRODUCER_UNKNOWN;
    if (last > 0 && put->producer_sequence > last + 1)
        return KS_PRODUCER_GAP;
    return KS_OK;
}

static void part_store(struct fake_shard *shard, const Kstream__ShardPut *put, uint32_t body_crc,
    Kstream__ShardPutResult *result)
{
    result->first_sequence = shard->count + 1;
    struct ks_record_walk walk;
    struct ks_record_view record;
    ks_record_walk_init(&walk, ks_view_of(put->records.data, put->records.len));
    while (ks_record_walk_next(&walk, &record) == KS_OK)
        fake_shard_store(shard, record.key, record.data);
    struct fake_batch *batches =
        realloc(shard->batches, (shard->batch_count + 1) * sizeof *shard->batches);
    ck_assert_ptr_nonnull(batches);
    shard->batches = batches;
    batches[shard->batch_count++] = (struct fake_batch){.producer_id = put->producer_id,
        .sequence = put->producer_sequence,
        .count = put->record_count,
        .body_crc = body_crc,
        .first = result->first_sequence};
}

/* Every record is intact and belongs to the shard. */
static uint32_t part_check(const struct fake_shard *shard, const Kstream__ShardPut *put)
{
    uint32_t body_crc = 0;
    struct ks_record_limits limits = {KS_RECORD_BYTES_DEFAULT, KS_PUT_ROUTED_RECORDS_MAX};
    struct ks_view records = ks_view_of(put->records.data, put->records.len);
    ck_assert_int_eq(
        ks_records_validate(records, put->record_count, &limits, &body_crc, NULL), KS_OK);
    KS_CLEANUP(ks_md5_destroyp) struct ks_md5 *md5 = NULL;
    ck_assert_int_eq(ks_md5_create(&md5, NULL), KS_OK);
    struct ks_record_walk walk;
    struct ks_record_view record;
    ks_record_walk_init(&walk, records);
    while (ks_record_walk_next(&walk, &record) == KS_OK) {
        ks_u128 hash = 0;
        if (record.explicit_hash.bytes > 0)
            hash = ks_u128_load_be(record.explicit_hash.data);
        else
            ck_assert_int_eq(ks_md5_many(md5, &record.key, 1, &hash), KS_OK);
        ck_assert(ks_hash_range_holds(&shard->range, hash));
    }
    return body_crc;
}

static void part_fail(struct fake_request *request, Kstream__ShardPutResult *result,
    enum ks_status status, uint64_t expected)
{
    Kstream__Error *error = ks_arena_zalloc(&request->arena, sizeof *error);
    kstream__error__init(error);
    error->status = (uint32_t)status;
    error->message = ks_arena_strdup(&request->arena, ks_status_name(status));
    error->has_expected_producer_sequence = expected > 0;
    error->expected_producer_sequence = expected;
    result->first_sequence = 0;
    result->error = error;
}

static Kstream__ShardPutResult *part_put(
    struct fake_request *request, const Kstream__ShardPut *put, bool must_fail)
{
    struct fake_broker *broker = request->broker;
    Kstream__ShardPutResult *result = ks_arena_zalloc(&request->arena, sizeof *result);
    kstream__shard_put_result__init(result);
    result->shard_index = put->shard_index;
    result->record_count = put->record_count;
    result->arrival_unix_ms = FAKE_NOW_UNIX_MS;
    result->created_unix_s = FAKE_CREATED_UNIX_S;
    struct fake_shard *shard = &broker->shards[put->shard_index];
    uint32_t body_crc = part_check(shard, put);
    const struct fake_batch *known = shard_known(shard, put->producer_id, put->producer_sequence);
    bool is_same = known && known->count == put->record_count && known->body_crc == body_crc;
    enum ks_status st = put_judge(shard, put);
    if (must_fail) {
        part_fail(request, result, broker->error_status, 0);
    } else if (is_same) {
        ck_assert(put->is_repeat);
        result->first_sequence = known->first;
        result->has_is_duplicate = true;
        result->is_duplicate = true;
    } else if (known) {
        /* Repeated, but changed: the client has broken its promise, if it has made one. */
        ck_assert(broker->allows_mismatch);
        part_fail(request, result, KS_PRODUCER_MISMATCH, 0);
    } else if (st == KS_OK) {
        part_store(shard, put, body_crc, result);
    } else {
        part_fail(request, result, st, shard_last_sequence(shard, put->producer_id) + 1);
    }
    return result;
}

void fake_put_routed(struct fake_request *request, const Kstream__PutRecordsRequest *message)
{
    struct fake_broker *broker = request->broker;
    ck_assert_str_eq(message->stream_id, STREAM_ID);
    if (message->routing_epoch != broker->epoch) {
        fake_answer_error(request, KS_ROUTING_CHANGED, 0, fake_routing(request));
        return;
    }
    Kstream__PutRecordsResponse response = KSTREAM__PUT_RECORDS_RESPONSE__INIT;
    response.parts =
        ks_arena_zalloc(&request->arena, message->n_shard_puts * sizeof(Kstream__ShardPutResult *));
    for (size_t i = 0; i < message->n_shard_puts; i++) {
        const Kstream__ShardPut *put = message->shard_puts[i];
        ck_assert_uint_lt(put->shard_index, broker->shard_count);
        broker->put_bytes += put->records.len;
        bool must_fail = request->fault == FAKE_PART_ERROR && i == 0;
        response.parts[response.n_parts++] = part_put(request, put, must_fail);
    }
    broker->parts_max = KS_MAX(broker->parts_max, (uint32_t)message->n_shard_puts);
    fake_answer(request, KS_OP_PUT_RECORDS, &response.base);
}

/* What each shard knows of the producer. */
void fake_resume_producer(struct fake_request *request)
{
    struct fake_broker *broker = request->broker;
    const Kstream__ResumeProducerRequest *message = (const void *)fake_unpack(request);
    Kstream__ResumeProducerResponse response = KSTREAM__RESUME_PRODUCER_RESPONSE__INIT;
    response.shards =
        ks_arena_zalloc(&request->arena, FAKE_SHARDS_MAX * sizeof(Kstream__ProducerShard *));
    for (uint32_t i = 0; i < broker->shard_count; i++) {
        const struct fake_shard *from = &broker->shards[i];
        uint64_t last = shard_last_sequence(from, message->producer_id);
        const struct fake_batch *batch = shard_known(from, message->producer_id, last);
        if (!batch)
            continue;
        Kstream__ProducerShard *shard = ks_arena_zalloc(&request->arena, sizeof *shard);
        uint8_t *keys = ks_arena_alloc(&request->arena, 32);
        kstream__producer_shard__init(shard);
        ks_u128_store_be(keys, from->range.first);
        ks_u128_store_be(keys + 16, from->range.last);
        shard->shard_index = i;
        shard->last_producer_sequence = last;
        shard->body_crc = batch->body_crc;
        shard->record_count = batch->count;
        shard->first_sequence = batch->first;
        shard->is_closed = !from->is_open;
        shard->has_created_unix_s = true;
        shard->created_unix_s = FAKE_CREATED_UNIX_S;
        shard->has_first_hash_key = true;
        shard->first_hash_key = (ProtobufCBinaryData){.len = 16, .data = keys};
        shard->has_last_hash_key = true;
        shard->last_hash_key = (ProtobufCBinaryData){.len = 16, .data = keys + 16};
        shard->has_is_pending = true;
        shard->is_pending = request->fault == FAKE_NOTHING_YET;
        response.shards[response.n_shards++] = shard;
    }
    fake_answer(request, KS_OP_RESUME_PRODUCER, &response.base);
}

/* The plain form: everything goes to shard 0, but a key that starts with '!' is throttled. */
void fake_put_plain(struct fake_request *request, const Kstream__PutRecordsRequest *message)
{
    Kstream__Error error = KSTREAM__ERROR__INIT;
    error.status = KS_THROTTLED;
    error.message = ks_arena_strdup(&request->arena, "too fast");
    Kstream__ShardPutResult good = KSTREAM__SHARD_PUT_RESULT__INIT;
    Kstream__ShardPutResult bad = KSTREAM__SHARD_PUT_RESULT__INIT;
    good.first_sequence = request->broker->shards[0].count + 1;
    good.arrival_unix_ms = FAKE_NOW_UNIX_MS;
    good.created_unix_s = FAKE_CREATED_UNIX_S;
    bad.error = &error;
    bad.shard_index = 1;
    Kstream__ShardPutResult *parts[2] = {&good, &bad};
    Kstream__PutRecordsResponse response = KSTREAM__PUT_RECORDS_RESPONSE__INIT;
    response.n_parts = 2;
    response.parts = parts;
    response.n_record_parts = message->n_records;
    response.record_parts = ks_arena_zalloc(&request->arena, message->n_records * sizeof(uint32_t));
    for (size_t i = 0; i < message->n_records; i++) {
        const Kstream__PutRecordsRequestEntry *entry = message->records[i];
        bool is_bad = entry->partition_key[0] == '!';
        response.record_parts[i] = is_bad;
        response.failed_record_count += is_bad;
        bad.record_count += is_bad;
        good.record_count += !is_bad;
        if (!is_bad)
            fake_shard_store(&request->broker->shards[0], ks_view_of_text(entry->partition_key),
                ks_view_of(entry->data.data, entry->data.len));
    }
    if (request->fault == FAKE_SHORT_PART) {
        good.first_sequence = KS_SEQUENCE_MAX;
        good.record_count = 0;
    }
    fake_answer(request, KS_OP_PUT_RECORDS, &response.base);
}

void fake_put_record(struct fake_request *request)
{
    const Kstream__PutRecordRequest *message = (const void *)fake_unpack(request);
    struct fake_shard *shard = &request->broker->shards[0];
    fake_shard_store(shard, ks_view_of_text(message->partition_key),
        ks_view_of(message->data.data, message->data.len));
    Kstream__PutRecordResponse response = KSTREAM__PUT_RECORD_RESPONSE__INIT;
    char text[KS_SEQUENCE_TEXT_BYTES];
    char shard_id[KS_SHARD_ID_TEXT_BYTES];
    struct ks_sequence_number number = {
        .created_unix_s = FAKE_CREATED_UNIX_S, .ordinal = shard->count};
    ks_sequence_to_text(&number, text);
    ks_shard_id_to_text(0, shard_id);
    response.shard_id = shard_id;
    response.sequence_number = text;
    response.sequence = shard->count;
    response.arrival_unix_ms = FAKE_NOW_UNIX_MS;
    fake_answer(request, KS_OP_PUT_RECORD, &response.base);
}
