/*
 * PutRecord and PutRecords. Routed parts are validated and handed to the log as they came; plain
 * records are hashed together, gathered per shard in the order of the request and encoded once.
 * Answers go out when every part is durable.
 */
#include "daemon/put_priv.h"
#include "proto/batch.h"
#include "proto/sequence.h"

#include <string.h>

/* Of a part, at verify_routing = sample: one in so many of its first records, from a moving start.
 */
#define SAMPLE_STEP 16u
#define SAMPLE_RECORDS_MAX 64u
#define HASH_KEYS_MAX 64u

/* Kinesis knows no puts before a stream is there. Errors: KS_NOT_FOUND. */
static enum ks_status stream_takes_puts(
    const struct ks_server *server, const struct ks_stream *stream, struct ks_error *err)
{
    if (stream->status == KS_STREAM_CREATING || stream->open_count == 0)
        return ks_stream_not_found(server, ks_view_of_text(stream->name), err);
    if (stream->status == KS_STREAM_DELETING)
        return ks_fail(err, KS_NOT_FOUND, 0,
            "Stream %s under account %s not found: it is deleted.%s", stream->name,
            server->config->aws_account_id,
            stream->purge_unix_ms > 0 ? " RestoreStream would bring it back." : "");
    return KS_OK;
}

/* ---- the routed form ---- */

static enum ks_status hashes_belong(
    const struct put_part *part, const ks_u128 *hashes, size_t count, struct ks_error *err)
{
    for (size_t i = 0; i < count; i++)
        if (hashes[i] < part->hash_first || hashes[i] > part->hash_last)
            return ks_fail(err, KS_INVALID, 0,
                "a record of the part for shard %u has a key of another shard: the client routes "
                "wrongly",
                part->shard_index);
    return KS_OK;
}

/* The records are validated: a walk cannot fail. */
static enum ks_status part_check_routing(
    struct ks_call *call, const struct put_part *part, struct ks_error *err)
{
    struct ks_view keys[HASH_KEYS_MAX];
    ks_u128 hashes[HASH_KEYS_MAX];
    struct ks_record_walk walk;
    struct ks_record_view record;
    size_t count = 0;
    uint32_t limit = part->append.record_count;
    uint32_t step = 1;
    uint32_t wanted = 0;
    if (call->server->live.puts_verify_routing == KS_VERIFY_ROUTING_SAMPLE) {
        limit = KS_MIN(limit, SAMPLE_RECORDS_MAX);
        step = SAMPLE_STEP;
        wanted =
            (uint32_t)(ks_clock_mono_ns(call->server->clock) >> 10) % KS_MIN(limit, SAMPLE_STEP);
    }
    enum ks_status st = KS_OK;
    ks_record_walk_init(&walk, part->append.records);
    for (uint32_t i = 0; i < limit && !st && ks_record_walk_next(&walk, &record) == KS_OK; i++) {
        if (i != wanted)
            continue;
        wanted += step;
        if (record.explicit_hash.bytes == KS_EXPLICIT_HASH_BYTES) {
            ks_u128 hash = ks_u128_load_be(record.explicit_hash.data);
            st = hashes_belong(part, &hash, 1, err);
            continue;
        }
        keys[count++] = record.key;
        if (count < HASH_KEYS_MAX)
            continue;
        st = ks_md5_many(call->loop->md5, keys, count, hashes);
        if (!st)
            st = hashes_belong(part, hashes, count, err);
        count = 0;
    }
    if (st || count == 0)
        return st;
    st = ks_md5_many(call->loop->md5, keys, count, hashes);
    return st ? st : hashes_belong(part, hashes, count, err);
}

/* All parts before the first append: a malformed one leaves nothing behind. */
static enum ks_status part_prepare(
    struct ks_put_work *work, const struct ks_put_part *from, struct ks_error *err)
{
    struct ks_call *call = work->call;
    const struct ks_stream *stream = work->stream;
    const struct ks_record_limits limits = {
        .record_bytes_max = stream->record_bytes_max, .count_max = KS_PUT_ROUTED_RECORDS_MAX};
    const struct ks_shard *shard = ks_stream_shard(stream, from->shard_index);
    if (!shard)
        return ks_fail(err, KS_NOT_FOUND, 0,
            "Shard %u in stream %s under account %s does not exist", from->shard_index,
            stream->name, call->server->config->aws_account_id);
    struct put_part *part = ks_put_work_add(work, shard);
    if (!part)
        return ks_fail(err, KS_NO_MEMORY, 0, "out of memory for this request");
    part->append.records = from->records;
    part->append.record_count = from->record_count;
    part->append.producer_id = from->producer_id;
    part->append.producer_sequence = from->producer_sequence;
    part->append.is_producer_first = from->is_first;
    part->append.is_producer_repeat = from->is_repeat;
    enum ks_status st = ks_records_validate(
        from->records, from->record_count, &limits, &part->append.body_crc, err);
    if (st || stream->open_count == 1 ||
        call->server->live.puts_verify_routing == KS_VERIFY_ROUTING_OFF)
        return st;
    return part_check_routing(call, part, err);
}

static void put_routed(
    struct ks_call *call, const struct ks_put_request *request, struct ks_stream *stream)
{
    struct ks_error error = KS_ERROR_INIT;
    struct ks_put_work *work = ks_put_work_make(call, stream, request->part_count);
    if (!work) {
        ks_call_fail_memory(call);
        return;
    }
    if (request->routing_epoch != stream->routing_epoch) {
        call->routing = ks_stream_ref(stream);
        ks_call_fail_text(
            call, KS_ROUTING_CHANGED, "the routing of stream %s has changed", stream->name);
        return;
    }
    uint64_t records = 0;
    for (uint32_t i = 0; i < request->part_count; i++) {
        enum ks_status st = part_prepare(work, &request->parts[i], &error);
        records += request->parts[i].record_count;
        if (!st && records > KS_PUT_ROUTED_RECORDS_MAX)
            st = ks_fail(&error, KS_TOO_LARGE, 0, "a put takes at most %u records",
                KS_PUT_ROUTED_RECORDS_MAX);
        if (st) {
            ks_call_fail(call, st, &error);
            return;
        }
    }
    ks_put_work_start(work);
}

/* ---- the plain form ---- */

/* hashes[i] of every entry; the keys are hashed together, a stream of one shard hashes nothing. */
static enum ks_status entries_hash(struct ks_call *call, const struct ks_stream *stream,
    const struct ks_put_entry *entries, uint32_t count, ks_u128 *hashes, struct ks_error *err)
{
    struct ks_view *keys = ks_arena_alloc(&call->arena, count * sizeof(keys[0]));
    ks_u128 *found = ks_arena_alloc(&call->arena, count * sizeof(found[0]));
    uint32_t key_count = 0;
    if (!keys || !found)
        return ks_fail(err, KS_NO_MEMORY, 0, "out of memory for this request");
    for (uint32_t i = 0; i < count; i++) {
        const struct ks_put_entry *entry = &entries[i];
        hashes[i] = 0;
        if (!entry->has_explicit_hash) {
            keys[key_count++] = entry->key;
        } else if (!ks_u128_from_text((const char *)entry->explicit_hash.data,
                       entry->explicit_hash.bytes, &hashes[i])) {
            return ks_fail(err, KS_INVALID, 0,
                "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. "
                "Specified value was %.*s",
                (int)KS_MIN(entry->explicit_hash.bytes, (size_t)64),
                (const char *)entry->explicit_hash.data);
        }
    }
    if (stream->open_count == 1 || key_count == 0)
        return KS_OK;
    enum ks_status st = ks_md5_many(call->loop->md5, keys, key_count, found);
    if (st)
        return ks_fail(err, st, 0, "cannot hash partition keys");
    key_count = 0;
    for (uint32_t i = 0; i < count; i++)
        if (!entries[i].has_explicit_hash)
            hashes[i] = found[key_count++];
    return KS_OK;
}

static enum ks_status entries_check_sizes(const struct ks_stream *stream,
    const struct ks_put_entry *entries, uint32_t count, struct ks_error *err)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < count; i++) {
        size_t bytes = entries[i].key.bytes + entries[i].data.bytes;
        total += bytes;
        if (bytes > stream->record_bytes_max)
            return ks_fail(err, KS_INVALID, 0,
                "Record %u has %zu bytes with its key; stream %s takes records of up to %u bytes.",
                i + 1, bytes, stream->name, stream->record_bytes_max);
    }
    if (total > KS_PUT_BYTES_MAX)
        return ks_fail(err, KS_INVALID, 0, "Records size exceeds 10 MB limit");
    return KS_OK;
}

static struct ks_record record_of(const struct ks_put_entry *entry, ks_u128 hash)
{
    struct ks_record record = {
        .key = entry->key, .data = entry->data, .has_explicit_hash = entry->has_explicit_hash};
    if (entry->has_explicit_hash)
        ks_u128_store_be(record.explicit_hash, hash);
    return record;
}

/* Which part each entry goes to; returns the number of parts, in the order in which shards first
 * occur. */
static uint32_t entries_gather(const struct ks_stream *stream, const ks_u128 *hashes,
    uint32_t count, uint16_t *part_of_shard, const struct ks_shard **shards, uint16_t *record_parts)
{
    uint32_t part_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct ks_shard *shard = ks_stream_route(stream, hashes[i]);
        uint16_t *part = &part_of_shard[shard - stream->shards];
        if (*part == 0) {
            shards[part_count++] = shard;
            *part = (uint16_t)part_count; /* numbers from 1: 0 is "none yet" */
        }
        record_parts[i] = (uint16_t)(*part - 1);
    }
    return part_count;
}

static bool parts_encode(struct ks_call *call, struct ks_put_work *work,
    const struct ks_put_entry *entries, const ks_u128 *hashes)
{
    size_t bytes[KS_PUT_RECORDS_MAX];
    uint8_t *next[KS_PUT_RECORDS_MAX];
    memset(bytes, 0, work->part_count * sizeof(bytes[0]));
    for (uint32_t i = 0; i < work->record_count; i++)
        bytes[work->record_parts[i]] += ks_record_encoded_bytes(
            entries[i].key.bytes, entries[i].data.bytes, entries[i].has_explicit_hash);
    for (uint32_t p = 0; p < work->part_count; p++) {
        next[p] = ks_arena_alloc(&call->arena, bytes[p]);
        if (!next[p])
            return false;
        work->parts[p]->append.records = ks_view_of(next[p], bytes[p]);
    }
    for (uint32_t i = 0; i < work->record_count; i++) {
        uint32_t p = work->record_parts[i];
        struct ks_append *append = &work->parts[p]->append;
        struct ks_record record = record_of(&entries[i], hashes[i]);
        append->body_crc = ks_body_crc_extend(append->body_crc, ks_record_encode(&record, next[p]));
        append->record_count++;
        next[p] +=
            ks_record_encoded_bytes(record.key.bytes, record.data.bytes, record.has_explicit_hash);
    }
    return true;
}

static void put_plain(struct ks_call *call, const struct ks_put_entry *entries, uint32_t count,
    struct ks_stream *stream, bool is_put_record)
{
    struct ks_error error = KS_ERROR_INIT;
    struct ks_arena *arena = &call->arena;
    ks_u128 *hashes = ks_arena_alloc(arena, count * sizeof(hashes[0]));
    uint16_t *record_parts = ks_arena_alloc(arena, count * sizeof(record_parts[0]));
    uint16_t *part_of_shard =
        ks_arena_zalloc(arena, stream->shard_count * sizeof(part_of_shard[0]));
    const struct ks_shard **shards = ks_arena_alloc(arena, count * sizeof(shards[0]));
    if (!hashes || !record_parts || !part_of_shard || !shards) {
        ks_call_fail_memory(call);
        return;
    }
    enum ks_status st = entries_check_sizes(stream, entries, count, &error);
    if (!st)
        st = entries_hash(call, stream, entries, count, hashes, &error);
    if (st) {
        ks_call_fail(call, st, &error);
        return;
    }
    uint32_t part_count =
        entries_gather(stream, hashes, count, part_of_shard, shards, record_parts);
    /* A reshard may send each record another way. */
    struct ks_put_work *work = ks_put_work_make(call, stream, count);
    bool is_made = work != NULL;
    for (uint32_t p = 0; is_made && p < part_count; p++)
        is_made = ks_put_work_add(work, shards[p]) != NULL;
    if (is_made) {
        work->record_count = count;
        work->record_parts = record_parts;
        work->is_put_record = is_put_record;
    }
    if (!is_made || !parts_encode(call, work, entries, hashes)) {
        ks_call_fail_memory(call);
        return;
    }
    ks_put_release_held(call->loop, stream); /* they came first */
    ks_put_work_start(work);
}

/* ---- the operations ---- */

static struct ks_stream_address address_of(const struct ks_put_stream *stream)
{
    return (struct ks_stream_address){stream->name, stream->arn, stream->id};
}

void ks_op_put_records(struct ks_call *call, struct ks_view message)
{
    /* Large, so taken apart on the loop's stack: nothing of it outlives this call. */
    struct ks_put_request request;
    struct ks_error error = KS_ERROR_INIT;
    enum ks_status st = ks_put_request_decode(message, &request, &error);
    if (st) {
        ks_call_fail(call, st, &error);
        return;
    }
    if (request.part_count == 0 && !ks_put_request_is_valid(&request)) {
        ks_call_explain_put(call, KS_OP_PUT_RECORDS, message);
        return;
    }
    struct ks_stream_address address = address_of(&request.stream);
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = NULL;
    st = ks_stream_resolve(call->server, &address, &stream, &error);
    if (!st)
        st = stream_takes_puts(call->server, stream, &error);
    if (st)
        ks_call_fail(call, st, &error);
    else if (request.part_count > 0)
        put_routed(call, &request, stream);
    else
        put_plain(call, request.entries, request.entry_count, stream, false);
}

/* A single writer per shard gives the order that SequenceNumberForOrdering asks for; it is only
 * checked. */
static enum ks_status check_ordering(
    struct ks_call *call, const struct ks_stream *stream, struct ks_view text, struct ks_error *err)
{
    struct ks_sequence_number number;
    if (!text.data)
        return KS_OK;
    if (ks_sequence_from_text(text, &number) == KS_OK &&
        number.arrival_unix_s <= ks_server_unix_ms(call->server) / 1000)
        return KS_OK;
    return ks_fail(err, KS_INVALID, 0,
        "ExclusiveMinimumSequenceNumber %.*s used in PutRecord on stream %s under account %s is "
        "invalid.",
        (int)KS_MIN(text.bytes, (size_t)60), (const char *)text.data, stream->name,
        call->server->config->aws_account_id);
}

void ks_op_put_record(struct ks_call *call, struct ks_view message)
{
    struct ks_put_record request;
    struct ks_error error = KS_ERROR_INIT;
    enum ks_status st = ks_put_record_decode(message, &request, &error);
    if (st) {
        ks_call_fail(call, st, &error);
        return;
    }
    if (!ks_put_record_is_valid(&request)) {
        ks_call_explain_put(call, KS_OP_PUT_RECORD, message);
        return;
    }
    struct ks_stream_address address = address_of(&request.stream);
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = NULL;
    st = ks_stream_resolve(call->server, &address, &stream, &error);
    if (!st)
        st = stream_takes_puts(call->server, stream, &error);
    if (!st)
        st = check_ordering(call, stream, request.sequence_number_for_ordering, &error);
    if (st)
        ks_call_fail(call, st, &error);
    else
        put_plain(call, &request.entry, 1, stream, true);
}
