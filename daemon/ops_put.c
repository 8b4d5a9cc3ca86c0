/*
 * PutRecord and PutRecords. Routed parts are validated and handed to the log as they came; plain
 * records are hashed together, gathered per shard in the order of the request and encoded once.
 * Answers go out when every part is durable.
 */
#include "daemon/ops.h"
#include "proto/batch.h"
#include "proto/sequence.h"

#include <string.h>

/* Of a part, at verify_routing = sample: one in so many of its first records, from a moving start.
 */
#define SAMPLE_STEP 16u
#define SAMPLE_RECORDS_MAX 64u
#define HASH_KEYS_MAX 64u

struct put_part {
    struct ks_append append;
    struct ks_put_work *work;
    const struct ks_shard *shard; /* of work->stream */
    enum ks_status status;
    const char *error_text; /* in the arena; NULL: the status's own */
    uint64_t expected_producer_sequence;
};

struct ks_put_work {
    struct ks_call *call;
    struct ks_stream *stream; /* referenced until done */
    struct put_part *parts;
    uint32_t part_count;
    uint32_t pending;      /* appends under way, and one while they are being started */
    uint32_t record_count; /* plain form */
    uint16_t *record_parts;
    bool is_put_record;
};

/* ---- answers ---- */

void ks_put_work_response(struct ks_call *call, struct ks_put_response *out_response)
{
    const struct ks_put_work *work = call->put;
    out_response->failed_record_count = 0;
    out_response->part_count = work->part_count;
    out_response->record_count = work->record_count;
    for (uint32_t i = 0; i < work->part_count; i++) {
        const struct put_part *part = &work->parts[i];
        struct ks_put_result *result = &out_response->parts[i];
        const char *text = part->error_text ? part->error_text : ks_status_info(part->status)->text;
        bool is_stored = part->status == KS_OK;
        *result =
            (struct ks_put_result){.first_sequence = is_stored ? part->append.first_sequence : 0,
                .arrival_unix_ms = is_stored ? part->append.arrival_unix_ms : 0,
                .created_unix_s = part->shard ? part->shard->created_s : 0,
                .expected_producer_sequence = part->expected_producer_sequence,
                .shard_index = part->shard ? part->shard->index : 0,
                .record_count = part->append.record_count,
                .is_duplicate = is_stored && part->append.is_duplicate,
                .status = part->status,
                .error_text = is_stored ? ks_view_of(NULL, 0) : ks_view_of_text(text)};
    }
    if (work->record_count > 0)
        memcpy(out_response->record_parts, work->record_parts,
            work->record_count * sizeof(work->record_parts[0]));
}

static void put_record_finish(struct ks_call *call, const struct put_part *part)
{
    if (part->status) {
        ks_call_fail_text(call, part->status, "%s",
            part->error_text ? part->error_text : ks_status_info(part->status)->text);
        return;
    }
    Kstream__PutRecordResponse *response = ks_arena_alloc(&call->arena, sizeof(*response));
    if (!response) {
        /* Stored all the same: the client must not take this for "nothing happened". */
        ks_call_fail_text(
            call, KS_INTERNAL, "the record is stored, but its answer found no memory");
        return;
    }
    kstream__put_record_response__init(response);
    response->shard_id = ks_shard_id_in(&call->arena, part->shard->index);
    response->sequence_number = ks_sequence_in(&call->arena, part->shard,
        part->append.first_sequence, part->append.arrival_unix_ms / 1000);
    response->sequence = part->append.first_sequence;
    response->arrival_unix_ms = part->append.arrival_unix_ms;
    if (!response->shard_id || !response->sequence_number)
        ks_call_fail_text(
            call, KS_INTERNAL, "the record is stored, but its answer found no memory");
    else
        ks_call_finish(call, &response->base);
}

static void put_ended(struct ks_put_work *work)
{
    KS_ASSERT(work->pending > 0);
    if (--work->pending > 0)
        return;
    struct ks_call *call = work->call;
    struct ks_stream *stream = work->stream;
    if (work->is_put_record)
        put_record_finish(call, &work->parts[0]);
    else
        ks_call_finish(call, NULL);
    ks_stream_unref(stream);
}

static void put_delivered(struct ks_mail *mail)
{
    struct ks_append *append = KS_CONTAINER_OF(mail, struct ks_append, mail);
    struct put_part *part = KS_CONTAINER_OF(append, struct put_part, append);
    part->status = append->status;
    put_ended(part->work);
}

/* ---- appending ---- */

static void part_append(struct put_part *part)
{
    struct ks_put_work *work = part->work;
    struct ks_call *call = work->call;
    struct ks_error error = KS_ERROR_INIT;
    part->append.mail.deliver = put_delivered;
    part->append.home = &call->loop->mailbox;
    part->append.routing_epoch = work->stream->routing_epoch;
    part->append.ack = work->stream->ack;
    work->pending++;
    part->status = ks_log_append(part->shard->log, &part->append, &error);
    if (part->status == KS_OK)
        return;
    work->pending--;
    part->error_text = ks_arena_strdup(&call->arena, error.text);
    struct ks_producer_state state;
    if (part->status == KS_PRODUCER_GAP &&
        ks_log_producer_state(part->shard->log, part->append.producer_id, &state, NULL) == KS_OK)
        part->expected_producer_sequence = state.sequence + 1;
}

static struct ks_put_work *work_make(
    struct ks_call *call, struct ks_stream *stream, uint32_t part_count)
{
    struct ks_put_work *work = ks_arena_zalloc(&call->arena, sizeof(*work));
    struct put_part *parts = ks_arena_zalloc(&call->arena, part_count * sizeof(parts[0]));
    if (!work || !parts)
        return NULL;
    work->call = call;
    work->stream = stream;
    call->stream_number = stream->number;
    work->parts = parts;
    work->part_count = part_count;
    work->pending = 1;
    call->put = work;
    for (uint32_t i = 0; i < part_count; i++)
        parts[i].work = work;
    return work;
}

/* From here on the stream's reference belongs to the work. */
static void work_start(struct ks_put_work *work)
{
    ks_stream_ref(work->stream);
    for (uint32_t i = 0; i < work->part_count; i++)
        part_append(&work->parts[i]);
    put_ended(work);
}

/* Kinesis knows no puts before a stream is there. Errors: KS_NOT_FOUND. */
static enum ks_status stream_takes_puts(
    const struct ks_server *server, const struct ks_stream *stream, struct ks_error *err)
{
    if (stream->status == KS_STREAM_CREATING || stream->open_count == 0)
        return ks_stream_not_found(server, ks_view_of_text(stream->name), err);
    return KS_OK;
}

/* ---- the routed form ---- */

static enum ks_status hashes_belong(
    const struct put_part *part, const ks_u128 *hashes, size_t count, struct ks_error *err)
{
    for (size_t i = 0; i < count; i++)
        if (hashes[i] < part->shard->hash_first || hashes[i] > part->shard->hash_last)
            return ks_fail(err, KS_INVALID, 0,
                "a record of the part for shard %u has a key of another shard: the client routes "
                "wrongly",
                part->shard->index);
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
static enum ks_status part_prepare(struct ks_call *call, const struct ks_put_part *from,
    const struct ks_stream *stream, struct put_part *part, struct ks_error *err)
{
    const struct ks_record_limits limits = {
        .record_bytes_max = stream->record_bytes_max, .count_max = KS_PUT_ROUTED_RECORDS_MAX};
    part->shard = ks_stream_shard(stream, from->shard_index);
    if (!part->shard)
        return ks_fail(err, KS_NOT_FOUND, 0,
            "Shard %u in stream %s under account %s does not exist", from->shard_index,
            stream->name, call->server->config->aws_account_id);
    part->append.records = from->records;
    part->append.record_count = from->record_count;
    part->append.producer_id = from->producer_id;
    part->append.producer_sequence = from->producer_sequence;
    part->append.is_producer_first = from->is_first;
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
    struct ks_put_work *work = work_make(call, stream, request->part_count);
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
        enum ks_status st = part_prepare(call, &request->parts[i], stream, &work->parts[i], &error);
        records += request->parts[i].record_count;
        if (!st && records > KS_PUT_ROUTED_RECORDS_MAX)
            st = ks_fail(&error, KS_TOO_LARGE, 0, "a put takes at most %u records",
                KS_PUT_ROUTED_RECORDS_MAX);
        if (st) {
            ks_call_fail(call, st, &error);
            return;
        }
    }
    work_start(work);
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
        work->parts[p].append.records = ks_view_of(next[p], bytes[p]);
    }
    for (uint32_t i = 0; i < work->record_count; i++) {
        uint32_t p = work->record_parts[i];
        struct ks_append *append = &work->parts[p].append;
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
    struct ks_put_work *work = work_make(call, stream, part_count);
    if (work) {
        work->record_count = count;
        work->record_parts = record_parts;
        work->is_put_record = is_put_record;
        for (uint32_t p = 0; p < part_count; p++)
            work->parts[p].shard = shards[p];
    }
    if (!work || !parts_encode(call, work, entries, hashes))
        ks_call_fail_memory(call);
    else
        work_start(work);
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
