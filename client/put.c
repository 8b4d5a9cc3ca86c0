/* Single puts: one request, one answer, never repeated by the library. */
#include "base/alloc.h"
#include "client/client.h"
#include "proto/sequence.h"

#include <stdio.h>

_Static_assert(KSTREAM_SEQUENCE_BYTES >= KS_SEQUENCE_TEXT_BYTES, "room for the sequence number");
_Static_assert(KSTREAM_SHARD_ID_BYTES >= KS_SHARD_ID_TEXT_BYTES, "room for the shard id");

static enum ks_status put_check(
    const char *key, size_t key_bytes, const void *data, size_t data_bytes, struct ks_error *err)
{
    if (!key || key_bytes == 0)
        return ks_fail(err, KS_VALIDATION, 0, "the partition key is empty");
    if (memchr(key, '\0', key_bytes))
        return ks_fail(err, KS_VALIDATION, 0,
            "the partition key has a zero byte; only a producer can store such a key");
    if (key_bytes > KS_PARTITION_KEY_BYTES_MAX)
        return ks_fail(err, KS_VALIDATION, 0, "the partition key is longer than %u characters",
            KS_PARTITION_KEY_CHARACTERS_MAX);
    if (!data && data_bytes > 0)
        return ks_fail(err, KS_INVALID, 0, "data is NULL but data_bytes is %zu", data_bytes);
    if (data_bytes > KS_RECORD_BYTES_MAX)
        return ks_fail(err, KS_TOO_LARGE, 0, "a record of %zu bytes, the limit is %u", data_bytes,
            KS_RECORD_BYTES_MAX);
    return KS_OK;
}

static ProtobufCBinaryData put_bytes(const void *data, size_t bytes)
{
    return (ProtobufCBinaryData){.len = bytes, .data = (uint8_t *)(uintptr_t)data};
}

static void put_result_fill(const Kstream__PutRecordResponse *from, struct kstream_put_result *to)
{
    *to = (struct kstream_put_result){
        .status = KSTREAM_OK, .ordinal = from->sequence, .arrival_unix_ms = from->arrival_unix_ms};
    snprintf(to->shard_id, sizeof to->shard_id, "%s", from->shard_id);
    snprintf(to->sequence_number, sizeof to->sequence_number, "%s", from->sequence_number);
    KS_IGNORE(ks_shard_id_from_text(ks_view_of_text(from->shard_id), &to->shard_index),
        "0 when the broker names shards in a way unknown here");
}

static enum ks_status put_record(struct kstream_client *client, const char *stream,
    const struct kstream_put_entry *entry, const struct kstream_put_options *options,
    struct kstream_put_result *result, struct ks_error *err)
{
    if (!stream || !result)
        return ks_fail(err, KS_INVALID, 0, "a stream and a place for the result are needed");
    enum ks_status st =
        put_check(entry->key, entry->key_bytes, entry->data, entry->data_bytes, err);
    if (st)
        return st;
    char key[KS_PARTITION_KEY_BYTES_MAX + 1];
    memcpy(key, entry->key, entry->key_bytes);
    key[entry->key_bytes] = '\0';
    Kstream__PutRecordRequest request = KSTREAM__PUT_RECORD_REQUEST__INIT;
    CLIENT_NAME_STREAM(&request, stream);
    request.has_data = true;
    request.data = put_bytes(entry->data, entry->data_bytes);
    request.partition_key = key;
    request.explicit_hash_key = client_text(entry->explicit_hash_key);
    request.sequence_number_for_ordering =
        client_text(CLIENT_OPTION(options, sequence_number_for_ordering, NULL));
    struct client_exchange exchange = {.op = KS_OP_PUT_RECORD,
        .request = &request.base,
        .deadline_ns = client_call_deadline_ns(client, CLIENT_OPTION(options, timeout_ms, 0))};
    struct ks_arena arena;
    ks_arena_init(&arena, CLIENT_ANSWER_BYTES_MAX);
    ProtobufCMessage *message = NULL;
    st = client_call(client, &exchange, &arena, &message, err);
    if (st == KS_OK)
        put_result_fill((const void *)message, result);
    ks_arena_fini(&arena);
    return st;
}

enum kstream_status kstream_put_record(struct kstream_client *client, const char *stream,
    const char *key, size_t key_bytes, const void *data, size_t data_bytes,
    const struct kstream_put_options *options, struct kstream_put_result *result,
    struct kstream_error *err)
{
    struct ks_error inner = KS_ERROR_INIT;
    struct kstream_put_entry entry = {.key = key,
        .key_bytes = key_bytes,
        .data = data,
        .data_bytes = data_bytes,
        .explicit_hash_key = CLIENT_OPTION(options, explicit_hash_key, NULL)};
    client->last_request_id = 0;
    enum ks_status st = put_record(client, stream, &entry, options, result, &inner);
    return client_result(st, &inner, client->last_request_id, err);
}

/* ---- many ---- */

static enum ks_status put_records_encode(struct ks_arena *arena,
    const struct kstream_put_entry *entries, size_t count, Kstream__PutRecordsRequest *request,
    struct ks_error *err)
{
    Kstream__PutRecordsRequestEntry **pointers = ks_arena_zalloc(arena, count * sizeof *pointers);
    Kstream__PutRecordsRequestEntry *list = ks_arena_zalloc(arena, count * sizeof *list);
    if (!pointers || !list)
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory for %zu records", count);
    size_t total_bytes = 0;
    for (size_t i = 0; i < count; i++) {
        const struct kstream_put_entry *from = &entries[i];
        enum ks_status st =
            put_check(from->key, from->key_bytes, from->data, from->data_bytes, err);
        if (st)
            return st;
        total_bytes += from->key_bytes + from->data_bytes;
        kstream__put_records_request_entry__init(&list[i]);
        list[i].has_data = true;
        list[i].data = put_bytes(from->data, from->data_bytes);
        list[i].explicit_hash_key = client_text(from->explicit_hash_key);
        list[i].partition_key = ks_arena_text(arena, ks_view_of(from->key, from->key_bytes));
        if (!list[i].partition_key)
            return ks_fail(err, KS_NO_MEMORY, 0, "no memory for %zu records", count);
        pointers[i] = &list[i];
    }
    if (total_bytes > KS_PUT_BYTES_MAX)
        return ks_fail(err, KS_TOO_LARGE, 0, "records of %zu bytes in one request, the limit is %u",
            total_bytes, KS_PUT_BYTES_MAX);
    request->records = pointers;
    request->n_records = count;
    return KS_OK;
}

/* The n-th record of a part, n counted so far in next. */
static void put_records_fill_one(
    const Kstream__ShardPutResult *part, uint32_t next, struct kstream_put_result *to)
{
    *to = (struct kstream_put_result){.shard_index = part->shard_index};
    if (part->error) {
        enum ks_status status = ks_status_from_wire(part->error->status);
        to->status = kstream_status_of(status == KS_OK ? KS_INTERNAL : status);
        return;
    }
    to->status = KSTREAM_OK;
    to->ordinal = part->first_sequence + next;
    to->arrival_unix_ms = part->arrival_unix_ms;
    ks_shard_id_to_text(part->shard_index, to->shard_id);
    struct ks_sequence_number number = {.created_unix_s = part->created_unix_s,
        .ordinal = to->ordinal,
        .arrival_unix_s = part->arrival_unix_ms / 1000,
        .shard_index = part->shard_index};
    ks_sequence_to_text(&number, to->sequence_number);
}

/* What a broken broker might answer must not reach the asserts of ks_sequence_to_text. */
static bool put_part_is_sane(const Kstream__ShardPutResult *part)
{
    return part->shard_index <= KS_SHARD_INDEX_MAX &&
           (part->error || (part->first_sequence > 0 && part->first_sequence <= KS_SEQUENCE_MAX &&
                               part->record_count <= KS_SEQUENCE_MAX - part->first_sequence &&
                               part->created_unix_s <= KS_SEQUENCE_SECONDS_MAX &&
                               part->arrival_unix_ms / 1000 <= KS_SEQUENCE_SECONDS_MAX));
}

/* left: zeroes, one per part. */
static bool put_answer_is_sane(
    const Kstream__PutRecordsResponse *answer, size_t count, uint32_t *left)
{
    if (answer->n_record_parts != count)
        return false;
    for (size_t i = 0; i < answer->n_parts; i++) {
        if (!put_part_is_sane(answer->parts[i]))
            return false;
        left[i] = answer->parts[i]->error ? UINT32_MAX : answer->parts[i]->record_count;
    }
    /* A part gives its records consecutive numbers: none beyond those it says it has. */
    for (size_t i = 0; i < count; i++)
        if (answer->record_parts[i] >= answer->n_parts || left[answer->record_parts[i]]-- == 0)
            return false;
    return true;
}

static enum ks_status put_records_fill(const Kstream__PutRecordsResponse *from, size_t count,
    struct kstream_put_result *results, struct ks_arena *arena, struct ks_error *err)
{
    uint32_t *next = ks_arena_zalloc(arena, from->n_parts * sizeof *next);
    uint32_t *left = ks_arena_zalloc(arena, from->n_parts * sizeof *left);
    if (!next || !left)
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory for the answer");
    if (!put_answer_is_sane(from, count, left))
        return ks_fail(err, KS_PROTOCOL, 0, "the broker's answer does not fit the request");
    const Kstream__Error *failure = NULL;
    for (size_t i = 0; i < count; i++) {
        uint32_t part = from->record_parts[i];
        put_records_fill_one(from->parts[part], next[part]++, &results[i]);
        if (!failure)
            failure = from->parts[part]->error;
    }
    if (!failure)
        return KS_OK;
    return ks_fail(err, KS_PARTIAL, 0, "%u of %zu records failed: %s", from->failed_record_count,
        count, failure->message);
}

static enum ks_status put_records(struct kstream_client *client,
    Kstream__PutRecordsRequest *request, uint64_t deadline_ns, struct ks_arena *arena,
    struct kstream_put_result *results, struct ks_error *err)
{
    struct client_exchange exchange = {
        .op = KS_OP_PUT_RECORDS, .request = &request->base, .deadline_ns = deadline_ns};
    ProtobufCMessage *message = NULL;
    enum ks_status st = client_call(client, &exchange, arena, &message, err);
    if (st)
        return st;
    return put_records_fill((const void *)message, request->n_records, results, arena, err);
}

enum kstream_status kstream_put_records(struct kstream_client *client, const char *stream,
    const struct kstream_put_entry *entries, size_t count,
    const struct kstream_call_options *options, struct kstream_put_result *results,
    struct kstream_error *err)
{
    struct ks_error inner = KS_ERROR_INIT;
    client->last_request_id = 0;
    if (!stream || !entries || !results || count == 0)
        return client_result(
            ks_fail(&inner, KS_INVALID, 0, "a stream, records and results are needed"), &inner, 0,
            err);
    if (count > KS_PUT_RECORDS_MAX)
        return client_result(
            ks_fail(&inner, KS_TOO_LARGE, 0, "%zu records in one request, the limit is %u", count,
                KS_PUT_RECORDS_MAX),
            &inner, 0, err);
    struct ks_arena arena;
    ks_arena_init(&arena, CLIENT_ANSWER_BYTES_MAX);
    Kstream__PutRecordsRequest request = KSTREAM__PUT_RECORDS_REQUEST__INIT;
    CLIENT_NAME_STREAM(&request, stream);
    uint64_t deadline_ns = client_call_deadline_ns(client, CLIENT_OPTION(options, timeout_ms, 0));
    enum ks_status st = put_records_encode(&arena, entries, count, &request, &inner);
    if (st == KS_OK)
        st = put_records(client, &request, deadline_ns, &arena, results, &inner);
    ks_arena_fini(&arena);
    return client_result(st, &inner, client->last_request_id, err);
}
