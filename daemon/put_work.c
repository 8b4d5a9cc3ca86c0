#include "daemon/put_priv.h"
#include "proto/batch.h"

#include <string.h>

/* A reshard takes milliseconds; when it has to wait for room, its puts are told to come again. */
#define HELD_MS_MAX 5000u
/* Of one loop; a part of what all requests may take in memory. */
#define HELD_BYTES_MAX (32u << 20)
#define INPUT_SHARE 8u

static void work_go_on(struct ks_put_work *work);

/* ---- making ---- */

struct ks_put_work *ks_put_work_make(
    struct ks_call *call, struct ks_stream *stream, uint32_t parts_max)
{
    struct ks_put_work *work = ks_arena_zalloc(&call->arena, sizeof(*work));
    struct put_part **parts = ks_arena_zalloc(&call->arena, parts_max * sizeof(struct put_part *));
    if (!work || !parts)
        return NULL;
    work->call = call;
    work->stream = stream;
    call->stream_number = stream->number;
    work->parts = parts;
    work->parts_max = parts_max;
    work->pending = 1;
    call->put = work;
    return work;
}

static void part_route(struct put_part *part, const struct ks_shard *shard)
{
    part->log = shard->log;
    part->shard_index = shard->index;
    part->created_s = shard->created_s;
    part->hash_first = shard->hash_first;
    part->hash_last = shard->hash_last;
    part->was_open = shard->is_open;
}

struct put_part *ks_put_work_add(struct ks_put_work *work, const struct ks_shard *shard)
{
    KS_ASSERT(work->part_count < work->parts_max);
    struct put_part *part = ks_arena_zalloc(&work->call->arena, sizeof(*part));
    if (!part)
        return NULL;
    part->work = work;
    part_route(part, shard);
    work->parts[work->part_count++] = part;
    return part;
}

/* ---- answers ---- */

void ks_put_work_response(struct ks_call *call, struct ks_put_response *out_response)
{
    const struct ks_put_work *work = call->put;
    out_response->failed_record_count = 0;
    out_response->part_count = work->part_count;
    out_response->record_count = work->record_count;
    for (uint32_t i = 0; i < work->part_count; i++) {
        const struct put_part *part = work->parts[i];
        struct ks_put_result *result = &out_response->parts[i];
        const char *text = part->error_text ? part->error_text : ks_status_info(part->status)->text;
        bool is_stored = part->status == KS_OK;
        *result =
            (struct ks_put_result){.first_sequence = is_stored ? part->append.first_sequence : 0,
                .arrival_unix_ms = is_stored ? part->append.arrival_unix_ms : 0,
                .created_unix_s = part->created_s,
                .expected_producer_sequence = part->expected_producer_sequence,
                .retry_after_ms = part->has_refusal ? part->refusal.retry_after_ms : 0,
                .shard_index = part->shard_index,
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
        call->has_refusal = part->has_refusal;
        call->refusal = part->refusal;
        ks_call_fail_text(call, part->status, "%s",
            part->error_text ? part->error_text : ks_status_info(part->status)->text);
        return;
    }
    const struct ks_shard shard = {.index = part->shard_index, .created_s = part->created_s};
    Kstream__PutRecordResponse *response = ks_arena_alloc(&call->arena, sizeof(*response));
    if (!response) {
        /* Stored all the same: the client must not take this for "nothing happened". */
        ks_call_fail_text(
            call, KS_INTERNAL, "the record is stored, but its answer found no memory");
        return;
    }
    kstream__put_record_response__init(response);
    response->shard_id = ks_shard_id_in(&call->arena, part->shard_index);
    response->sequence_number = ks_sequence_in(
        &call->arena, &shard, part->append.first_sequence, part->append.arrival_unix_ms / 1000);
    response->sequence = part->append.first_sequence;
    response->arrival_unix_ms = part->append.arrival_unix_ms;
    if (!response->shard_id || !response->sequence_number)
        ks_call_fail_text(
            call, KS_INTERNAL, "the record is stored, but its answer found no memory");
    else
        ks_call_finish(call, &response->base);
}

/* A routed put of which nothing was stored, for its routing is old: the client gets the new one. */
static bool is_all_misrouted(const struct ks_put_work *work)
{
    for (uint32_t i = 0; i < work->part_count; i++)
        if (work->parts[i]->status != KS_ROUTING_CHANGED)
            return false;
    return true;
}

static struct ks_limit_use part_use(const struct put_part *part)
{
    return (struct ks_limit_use){.stream = part->work->stream,
        .shard_index = part->shard_index,
        .client = part->work->call->client,
        .records = part->append.record_count,
        .bytes = part->append.records.bytes};
}

/* What the parts of a put have come to. */
struct put_sums {
    uint64_t records;
    uint64_t stored_records;
    uint64_t stored_bytes;
    uint64_t throttled_records;
    bool is_new; /* something was stored by this very request */
};

static void sums_add(struct put_sums *sums, const struct put_part *part)
{
    const struct ks_append *append = &part->append;
    sums->records += append->record_count;
    if (part->status == KS_OK) {
        sums->stored_records += append->record_count;
        sums->stored_bytes += append->is_duplicate ? 0 : append->records.bytes;
        sums->is_new = sums->is_new || !append->is_duplicate;
    } else if (part->status == KS_THROTTLED || part->status == KS_STORAGE_FULL) {
        sums->throttled_records += append->record_count;
    }
}

static void minutes_of_put_records(
    struct ks_minute_half *half, const struct put_sums *sums, uint64_t latency_us)
{
    ks_minutes_add(half, KS_FIGURE_PUT_RECORDS_BYTES, sums->stored_bytes);
    ks_minutes_add(half, KS_FIGURE_PUT_RECORDS_LATENCY, latency_us);
    ks_minutes_add(half, KS_FIGURE_PUT_RECORDS_RECORDS, sums->stored_records);
    ks_minutes_add(half, KS_FIGURE_PUT_RECORDS_SUCCESS, sums->stored_records > 0);
    ks_minutes_add(half, KS_FIGURE_PUT_RECORDS_TOTAL, sums->records);
    ks_minutes_add(half, KS_FIGURE_PUT_RECORDS_SUCCESSFUL, sums->stored_records);
    ks_minutes_add(half, KS_FIGURE_PUT_RECORDS_FAILED,
        sums->records - sums->stored_records - sums->throttled_records);
    ks_minutes_add(half, KS_FIGURE_PUT_RECORDS_THROTTLED, sums->throttled_records);
}

/* Of a shard with enhanced monitoring. */
static void minutes_of_part(const struct ks_put_work *work, const struct put_part *part)
{
    uint32_t metrics = work->stream->shard_metrics;
    struct put_sums sums = {.records = 0};
    struct ks_minute_half *half =
        ks_minutes_half(work->call->loop->minutes, work->stream->number, part->shard_index);
    if (!half)
        return;
    sums_add(&sums, part);
    if (sums.is_new && metrics & 1u << KS_SHARD_INCOMING_BYTES)
        ks_minutes_add(half, KS_FIGURE_INCOMING_BYTES, sums.stored_bytes);
    if (sums.is_new && metrics & 1u << KS_SHARD_INCOMING_RECORDS)
        ks_minutes_add(half, KS_FIGURE_INCOMING_RECORDS, sums.stored_records);
    if (metrics & 1u << KS_SHARD_WRITE_THROTTLED)
        ks_minutes_add(half, KS_FIGURE_WRITE_EXCEEDED, sums.throttled_records);
}

static void put_count_minutes(const struct ks_put_work *work)
{
    const struct ks_call *call = work->call;
    struct put_sums sums = {.records = 0};
    uint64_t latency_us = (ks_clock_mono_ns(&ks_clock_system) - call->begun_mono_ns) / 1000;
    struct ks_minute_half *half =
        ks_minutes_half(call->loop->minutes, work->stream->number, KS_MINUTES_WHOLE_STREAM);
    for (uint32_t i = 0; i < work->part_count; i++) {
        sums_add(&sums, work->parts[i]);
        if (work->stream->shard_metrics)
            minutes_of_part(work, work->parts[i]);
    }
    if (!half)
        return;
    if (sums.is_new) {
        ks_minutes_add(half, KS_FIGURE_INCOMING_BYTES, sums.stored_bytes);
        ks_minutes_add(half, KS_FIGURE_INCOMING_RECORDS, sums.stored_records);
    }
    ks_minutes_add(half, KS_FIGURE_WRITE_EXCEEDED, sums.throttled_records);
    if (!work->is_put_record) {
        minutes_of_put_records(half, &sums, latency_us);
        return;
    }
    ks_minutes_add(half, KS_FIGURE_PUT_RECORD_BYTES, sums.stored_bytes);
    ks_minutes_add(half, KS_FIGURE_PUT_RECORD_LATENCY, latency_us);
    ks_minutes_add(half, KS_FIGURE_PUT_RECORD_SUCCESS, sums.stored_records > 0);
}

static void put_count(const struct ks_put_work *work)
{
    struct ks_loop_meter *meter = work->call->loop->meter;
    struct ks_stream_cell *cell = ks_meter_cell(meter, work->stream->number);
    uint64_t durable_ns = 0;
    for (uint32_t i = 0; i < work->part_count; i++) {
        const struct put_part *part = work->parts[i];
        const struct ks_append *append = &part->append;
        durable_ns = ks_max_u64(durable_ns, append->durable_mono_ns);
        if (part->status == KS_THROTTLED || part->status == KS_STORAGE_FULL)
            ks_meter_add(&cell->values[KS_STREAM_REFUSED + append->refusal], append->record_count);
        if (part->status || append->is_duplicate) {
            const struct ks_limit_use use = part_use(part);
            if (part->is_admitted)
                ks_limits_give_back_put(work->call->server->limits, &use);
            continue;
        }
        ks_meter_add(&cell->values[KS_STREAM_IN_RECORDS], append->record_count);
        ks_meter_add(&cell->values[KS_STREAM_IN_BYTES], append->records.bytes);
    }
    if (durable_ns > 0)
        ks_latency_add(
            &meter->put_answer, durable_ns, ks_clock_mono_ns(work->call->server->clock), 1);
}

static void put_ended(struct ks_put_work *work)
{
    KS_ASSERT(work->pending > 0);
    if (--work->pending > 0)
        return;
    struct ks_call *call = work->call;
    struct ks_stream *stream = work->stream;
    put_count(work);
    if (work->is_put_record || !is_all_misrouted(work)) /* else the client asks again */
        put_count_minutes(work);
    if (work->is_put_record) {
        put_record_finish(call, work->parts[0]);
    } else if (is_all_misrouted(work)) {
        call->routing = ks_stream_ref(stream);
        ks_call_fail_text(
            call, KS_ROUTING_CHANGED, "the routing of stream %s has changed", stream->name);
    } else {
        ks_call_finish(call, NULL);
    }
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

static void part_fail(struct put_part *part, enum ks_status status, const char *text)
{
    part->is_refused = false;
    part->status = status;
    part->error_text = text;
}

/* Whether the limits of the stream allow it now. */
static bool part_is_admitted(struct put_part *part)
{
    struct ks_call *call = part->work->call;
    const struct ks_limit_use use = part_use(part);
    if (part->is_admitted || !ks_stream_has_put_limits(part->work->stream))
        return true;
    part->is_admitted = ks_limits_take_put(call->server->limits, &use, &part->refusal);
    if (part->is_admitted)
        return true;
    part->has_refusal = true;
    part->append.refusal = KS_REFUSED_LIMIT;
    part_fail(part, KS_THROTTLED, ks_refusal_text(call, &use, &part->refusal));
    return false;
}

/* While the records are there: of a routed put they are the request's own. */
static void part_sample(const struct put_part *part)
{
    struct ks_loop *loop = part->work->call->loop;
    const struct ks_heat_put put = {.stream_number = part->work->stream->number,
        .shard_index = part->shard_index,
        .record_count = part->append.record_count,
        .records = part->append.records};
    ks_heat_put(loop->heat, loop->md5, &put, ks_clock_mono_ns(&ks_clock_system) / 1000000);
}

static void part_append(struct put_part *part)
{
    struct ks_put_work *work = part->work;
    struct ks_call *call = work->call;
    struct ks_error error = KS_ERROR_INIT;
    if (!part_is_admitted(part))
        return;
    part->append.mail.deliver = put_delivered;
    part->append.home = &call->loop->mailbox;
    part->append.routing_epoch = work->stream->routing_epoch;
    part->append.ack = work->stream->ack;
    work->pending++;
    part->status = ks_log_append(part->log, &part->append, &error);
    if (part->status == KS_OK) {
        part_sample(part);
        return;
    }
    work->pending--;
    part->is_refused = part->status == KS_WOULD_BLOCK || part->status == KS_ROUTING_CHANGED ||
                       (part->status == KS_SHARD_CLOSED && part->was_open);
    part->error_text = ks_arena_strdup(&call->arena, error.text);
    struct ks_producer_state state;
    if (part->status == KS_PRODUCER_GAP &&
        ks_log_producer_state(part->log, part->append.producer_id, &state, NULL) == KS_OK)
        part->expected_producer_sequence = state.sequence + 1;
}

void ks_put_work_start(struct ks_put_work *work)
{
    ks_stream_ref(work->stream);
    for (uint32_t i = 0; i < work->part_count; i++)
        part_append(work->parts[i]);
    work_go_on(work);
}

/* ---- routing again ---- */

static enum ks_status record_hash(
    struct ks_call *call, const struct ks_record_view *record, ks_u128 *out_hash)
{
    if (record->explicit_hash.bytes == KS_EXPLICIT_HASH_BYTES) {
        *out_hash = ks_u128_load_be(record->explicit_hash.data);
        return KS_OK;
    }
    return ks_md5_many(call->loop->md5, &record->key, 1, out_hash);
}

/* An old part whose records are being distributed. */
struct split {
    struct ks_put_work *work;
    uint32_t place;     /* of the old one, which the first child takes */
    uint32_t first_new; /* the other children's parts are from here on */
    size_t bytes;       /* of all its records */
};

/* The part that goes to shard; made if it is not there yet. NULL: no memory. */
static struct put_part *split_towards(
    const struct split *split, const struct ks_shard *shard, uint32_t *out_place)
{
    struct ks_put_work *work = split->work;
    *out_place = split->place;
    if (work->parts[split->place]->log == shard->log)
        return work->parts[split->place];
    for (uint32_t i = split->first_new; i < work->part_count; i++) {
        *out_place = i;
        if (work->parts[i]->log == shard->log)
            return work->parts[i];
    }
    *out_place = work->part_count;
    struct put_part *part = ks_put_work_add(work, shard);
    /* As large as all of it can be: it is short-lived. */
    uint8_t *records = part ? ks_arena_alloc(&work->call->arena, split->bytes) : NULL;
    if (!records)
        return NULL;
    part->append.records = ks_view_of(records, 0);
    part->is_admitted = work->parts[split->place]->is_admitted;
    return part;
}

static void part_take_record(struct put_part *part, const struct ks_record_view *record)
{
    uint8_t *to = (uint8_t *)(uintptr_t)part->append.records.data + part->append.records.bytes;
    memmove(to, record->stored.data, record->stored.bytes);
    part->append.records.bytes += record->stored.bytes;
    part->append.body_crc = ks_body_crc_extend(part->append.body_crc, record->crc);
    part->append.record_count++;
}

/*
 * Distributes the records of the part at place over the shards of work->stream. The first child
 * takes the part itself and compacts its records in their place: a record moves forward only.
 */
static enum ks_status part_split(struct ks_put_work *work, uint32_t place)
{
    struct put_part *old = work->parts[place];
    const struct ks_view records = old->append.records;
    uint32_t left = old->append.record_count;
    const struct split split = {
        .work = work, .place = place, .first_new = work->part_count, .bytes = records.bytes};
    uint32_t at = 0; /* in record_parts */
    bool is_begun = false;
    struct ks_record_walk walk;
    struct ks_record_view record;
    ks_record_walk_init(&walk, records);
    while (ks_record_walk_next(&walk, &record) == KS_OK) {
        ks_u128 hash = 0;
        enum ks_status st = record_hash(work->call, &record, &hash);
        const struct ks_shard *shard = ks_stream_route(work->stream, hash);
        if (!is_begun) {
            part_route(old, shard);
            old->append.records.bytes = 0;
            old->append.record_count = 0;
            old->append.body_crc = 0;
            is_begun = true;
        }
        uint32_t to_place = place;
        struct put_part *to = st ? NULL : split_towards(&split, shard, &to_place);
        if (!to) {
            old->append.record_count += left; /* the answer counts them */
            return st ? st : KS_NO_MEMORY;
        }
        part_take_record(to, &record);
        left--;
        while (work->record_parts[at] != place)
            at++;
        work->record_parts[at++] = (uint16_t)to_place;
    }
    return KS_OK;
}

/* A plain put: its refused records go to the shards of the new routing. */
static void work_reroute_plain(struct ks_put_work *work)
{
    uint32_t count = work->part_count;
    for (uint32_t i = 0; i < count; i++) {
        struct put_part *part = work->parts[i];
        if (!part->is_refused)
            continue;
        part->is_refused = false;
        uint32_t first_new = work->part_count;
        enum ks_status st = part_split(work, i);
        /* What could not be distributed is not stored at all: its records are told so. */
        if (st) {
            part_fail(part, st, NULL);
            for (uint32_t k = first_new; k < work->part_count; k++)
                part_fail(work->parts[k], st, NULL);
            continue;
        }
        part_append(part);
        for (uint32_t k = first_new; k < work->part_count; k++)
            part_append(work->parts[k]);
    }
}

static void work_reroute(struct ks_put_work *work, struct ks_stream *take_stream)
{
    ks_stream_unref(work->stream);
    work->stream = take_stream;
    if (work->record_count > 0) {
        work_reroute_plain(work);
        return;
    }
    for (uint32_t i = 0; i < work->part_count; i++)
        if (work->parts[i]->is_refused)
            part_fail(work->parts[i], KS_ROUTING_CHANGED, NULL);
}

/* ---- waiting for a new routing ---- */

static struct put_part *work_refused_part(const struct ks_put_work *work)
{
    for (uint32_t i = 0; i < work->part_count; i++)
        if (work->parts[i]->is_refused)
            return work->parts[i];
    return NULL;
}

static void work_fail_refused(struct ks_put_work *work, enum ks_status status, const char *text)
{
    for (struct put_part *part; (part = work_refused_part(work));)
        part_fail(part, status, text);
}

static uint64_t now_mono_ms(const struct ks_put_work *work)
{
    return ks_clock_mono_ns(work->call->server->clock) / 1000000;
}

static void work_leave_held(struct ks_put_work *work)
{
    ks_park_cancel(&work->call->park);
    ks_list_remove(&work->held_link);
    work->call->loop->held_put_bytes -= work->held_bytes;
}

/*
 * All held puts of the stream that the routing of epoch lets go on, in the order in which they
 * came: one may wait for several shards, so the order in which these end says nothing.
 */
static void release_held(struct ks_loop *loop, uint64_t stream_number, uint64_t epoch)
{
    struct ks_list released; /* taken out first: who is held again waits behind the others */
    ks_list_init(&released);
    KS_LIST_FOR_EACH_SAFE(node, &loop->held_puts)
    {
        struct ks_put_work *work = KS_CONTAINER_OF(node, struct ks_put_work, held_link);
        if (work->stream->number != stream_number || work->stream->routing_epoch == epoch)
            continue;
        work_leave_held(work);
        ks_list_push(&released, &work->held_link);
    }
    struct ks_list *node;
    while ((node = ks_list_pop(&released)))
        work_go_on(KS_CONTAINER_OF(node, struct ks_put_work, held_link));
}

void ks_put_release_held(struct ks_loop *loop, const struct ks_stream *stream)
{
    if (!ks_list_is_empty(&loop->held_puts))
        release_held(loop, stream->number, stream->routing_epoch);
}

/* Until the log of a refused part has news. False: it cannot wait (any longer). */
static bool work_park(struct ks_put_work *work)
{
    uint64_t now_ms = now_mono_ms(work);
    return now_ms < work->held_until_mono_ms &&
           ks_park_begin(&work->call->loop->parking, &work->call->park,
               work_refused_part(work)->log, work->held_until_mono_ms - now_ms) == KS_OK;
}

/* An end was shown: looked for after parking, so that none is missed. */
static bool work_has_news(const struct ks_put_work *work)
{
    struct ks_log_bounds bounds;
    ks_log_bounds(work_refused_part(work)->log, &bounds);
    return bounds.is_closed || bounds.is_deleted;
}

/* The routing of the stream as it is now; 0: the stream is gone. */
static uint64_t epoch_now(const struct ks_put_work *work)
{
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = NULL;
    bool is_gone =
        ks_registry_find_number(work->call->server->engine, work->stream->number, &stream);
    return is_gone ? 0 : stream->routing_epoch;
}

static void held_resume(struct ks_park *park, enum ks_park_end why)
{
    struct ks_call *call = KS_CONTAINER_OF(park, struct ks_call, park);
    struct ks_put_work *work = call->put;
    uint64_t epoch = epoch_now(work);
    if (why != KS_PARK_STOP && epoch != work->stream->routing_epoch) {
        release_held(call->loop, work->stream->number, epoch);
        return;
    }
    /* The last appends before the end: it keeps its place. */
    if (why == KS_PARK_NEWS && work_park(work) && !work_has_news(work))
        return;
    work_leave_held(work);
    if (why == KS_PARK_STOP)
        work_fail_refused(work, KS_STOPPING, NULL);
    work_go_on(work);
}

/* False: there is no room, or no time left; the producer is told to come again. */
static bool work_hold(struct ks_put_work *work)
{
    struct ks_loop *loop = work->call->loop;
    uint64_t bytes_max =
        ks_min_u64(HELD_BYTES_MAX, work->call->server->live.limits_input / INPUT_SHARE);
    uint64_t bytes = sizeof(*work);
    for (uint32_t i = 0; i < work->part_count; i++)
        bytes += sizeof(struct put_part) +
                 (work->parts[i]->is_refused ? work->parts[i]->append.records.bytes : 0);
    if (work->held_until_mono_ms == 0)
        work->held_until_mono_ms = now_mono_ms(work) + HELD_MS_MAX;
    work->call->park.resume = held_resume;
    if (loop->is_stopping || loop->held_put_bytes + bytes > bytes_max || !work_park(work))
        return false;
    work->held_bytes = bytes;
    loop->held_put_bytes += bytes;
    ks_list_push(&loop->held_puts, &work->held_link);
    return true;
}

/* After appends: done, held, or routed again, as often as the routing changes. */
static void work_go_on(struct ks_put_work *work)
{
    struct ks_call *call = work->call;
    while (work_refused_part(work)) {
        struct ks_stream *stream = NULL;
        if (ks_registry_find_number(call->server->engine, work->stream->number, &stream)) {
            work_fail_refused(work, KS_NOT_FOUND, NULL);
        } else if (stream->routing_epoch != work->stream->routing_epoch) {
            /* Those that are still held came before this one: one whose turn comes later is not
             * among them (release_held). */
            release_held(call->loop, stream->number, stream->routing_epoch);
            work_reroute(work, stream);
        } else {
            ks_stream_unref(stream);
            if (!work_hold(work)) {
                work_fail_refused(
                    work, KS_THROTTLED, "the shard is being split or merged, try again");
            } else if (!work_has_news(work)) {
                return;
            } else {
                work_leave_held(work);
            }
        }
    }
    put_ended(work);
}
