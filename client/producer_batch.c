#include "base/alloc.h"
#include "client/producer_priv.h"
#include "proto/batch.h"
#include "proto/sequence.h"

#include <stdio.h>

#define ENTRIES_FIRST 64u

/* ---- routing ---- */

enum ks_status producer_hash(
    struct kstream_producer *p, struct ks_view key, ks_u128 *out_hash, struct ks_error *err)
{
    *out_hash = 0;
    if (p->routing.count == 1 && p->draining == 0)
        return KS_OK; /* one shard has all keys */
    enum ks_status st = ks_md5_many(p->md5, &key, 1, out_hash);
    return st ? ks_fail(err, st, 0, "cannot hash the partition key") : KS_OK;
}

struct producer_shard *producer_route(struct kstream_producer *p, ks_u128 hash)
{
    for (uint32_t i = 0; p->draining > 0 && i < p->shard_count; i++) {
        struct producer_shard *shard = p->shards[i];
        if (!shard->is_open && !ks_list_is_empty(&shard->batches) &&
            ks_hash_range_holds(&shard->range, hash))
            return shard;
    }
    uint32_t at = ks_hash_range_find(p->routing.ranges, p->routing.count, hash);
    return p->routing.shards[at];
}

static struct producer_shard *shard_find(struct kstream_producer *p, uint32_t index)
{
    for (uint32_t i = 0; i < p->shard_count; i++)
        if (p->shards[i]->index == index)
            return p->shards[i];
    return NULL;
}

static struct producer_shard *shard_add(struct kstream_producer *p, uint32_t index)
{
    struct producer_shard **shards =
        ks_realloc(p->shards, (p->shard_count + 1) * sizeof(struct producer_shard *));
    if (!shards)
        return NULL;
    p->shards = shards;
    struct producer_shard *shard = ks_zalloc(sizeof *shard);
    if (!shard)
        return NULL;
    shard->producer = p;
    shard->index = index;
    shard->producer_id = p->options.producer_id;
    shard->next_sequence = 1;
    ks_list_init(&shard->batches);
    shards[p->shard_count++] = shard;
    return shard;
}

static void routing_fini(struct producer_routing *routing)
{
    ks_free(routing->ranges);
    ks_free(routing->shards);
    *routing = (struct producer_routing){.count = 0};
}

static enum ks_status routing_build(struct kstream_producer *p,
    const Kstream__DescribeRoutingResponse *from, struct producer_routing *to, struct ks_error *err)
{
    if (from->n_shards == 0 || from->n_shards > KS_SHARDS_PER_ACCOUNT_MAX)
        return ks_fail(err, KS_PROTOCOL, 0, "stream '%s' has no open shard", from->stream_name);
    uint32_t count = (uint32_t)from->n_shards;
    to->ranges = ks_calloc(count, sizeof *to->ranges);
    to->shards = ks_calloc(count, sizeof *to->shards);
    if (!to->ranges || !to->shards)
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory for %u shards", count);
    for (uint32_t i = 0; i < count; i++) {
        const Kstream__RoutingShard *shard = from->shards[i];
        if (shard->first_hash_key.len != KS_EXPLICIT_HASH_BYTES ||
            shard->last_hash_key.len != KS_EXPLICIT_HASH_BYTES ||
            shard->shard_index > KS_SHARD_INDEX_MAX)
            return ks_fail(err, KS_PROTOCOL, 0, "the broker's routing is malformed");
        to->ranges[i].first = ks_u128_load_be(shard->first_hash_key.data);
        to->ranges[i].last = ks_u128_load_be(shard->last_hash_key.data);
    }
    if (!ks_hash_ranges_tile(to->ranges, count))
        return ks_fail(err, KS_PROTOCOL, 0, "the broker's routing leaves keys without a shard");
    for (uint32_t i = 0; i < count; i++) {
        uint32_t index = from->shards[i]->shard_index;
        struct producer_shard *shard = shard_find(p, index);
        to->shards[i] = shard ? shard : shard_add(p, index);
        if (!to->shards[i])
            return ks_fail(err, KS_NO_MEMORY, 0, "no memory for %u shards", count);
    }
    to->epoch = from->routing_epoch;
    to->count = count;
    return KS_OK;
}

enum ks_status producer_adopt_routing(struct kstream_producer *p,
    const Kstream__DescribeRoutingResponse *routing, struct ks_error *err)
{
    struct producer_routing next = {.count = 0};
    enum ks_status st = routing_build(p, routing, &next, err);
    if (st) {
        routing_fini(&next);
        return st;
    }
    routing_fini(&p->routing);
    p->routing = next;
    p->record_bytes_max = routing->record_bytes_max;
    p->is_ack_memory = routing->ack && strcmp(routing->ack, "memory") == 0;
    snprintf(p->stream_id, sizeof p->stream_id, "%s", routing->stream_id);
    for (uint32_t i = 0; i < p->shard_count; i++)
        p->shards[i]->is_open = false;
    for (uint32_t i = 0; i < next.count; i++) {
        next.shards[i]->is_open = true;
        next.shards[i]->range = next.ranges[i];
    }
    p->draining = 0;
    for (uint32_t i = 0; i < p->shard_count; i++)
        if (!p->shards[i]->is_open && !ks_list_is_empty(&p->shards[i]->batches))
            p->draining++;
    return KS_OK;
}

/* ---- batches ---- */

static struct producer_batch *batch_of(struct ks_list *node)
{
    return KS_CONTAINER_OF(node, struct producer_batch, node);
}

struct producer_batch *producer_shard_head(struct producer_shard *shard)
{
    return ks_list_is_empty(&shard->batches) ? NULL : batch_of(shard->batches.next);
}

struct producer_batch *producer_shard_open_batch(struct producer_shard *shard)
{
    if (ks_list_is_empty(&shard->batches))
        return NULL;
    struct producer_batch *last = batch_of(shard->batches.prev);
    return last->is_sealed ? NULL : last;
}

static void batch_free(struct producer_batch *batch)
{
    ks_buf_fini(&batch->records);
    ks_free(batch->entries);
    ks_free(batch);
}

static struct producer_batch *batch_get(struct kstream_producer *p)
{
    struct ks_list *node = ks_list_pop(&p->spare);
    if (node) {
        p->spare_count--;
        return batch_of(node);
    }
    struct producer_batch *batch = ks_zalloc(sizeof *batch);
    if (!batch)
        return NULL;
    batch->producer = p;
    ks_buf_init(&batch->records, KS_BATCH_RECORDS_BYTES_MAX);
    return batch;
}

/* Back to the spare ones, empty. */
static void batch_recycle(struct producer_batch *batch)
{
    struct kstream_producer *p = batch->producer;
    struct ks_buf records = batch->records;
    records.bytes = 0;
    *batch = (struct producer_batch){
        .producer = p, .records = records, .entries = batch->entries, .capacity = batch->capacity};
    if (p->spare_count >= PRODUCER_SPARE_BATCHES) {
        batch_free(batch);
        return;
    }
    ks_list_push(&p->spare, &batch->node);
    p->spare_count++;
}

size_t producer_record_cost(size_t key_bytes, size_t data_bytes)
{
    return ks_record_encoded_bytes(key_bytes, data_bytes, false) + sizeof(struct producer_entry);
}

static size_t batch_cost(const struct producer_batch *batch)
{
    return batch->records.bytes + batch->count * sizeof(struct producer_entry);
}

static bool batch_reserve(struct producer_batch *batch, size_t encoded_bytes)
{
    if (!ks_buf_reserve(&batch->records, encoded_bytes))
        return false;
    if (batch->count < batch->capacity)
        return true;
    uint32_t capacity = batch->capacity ? batch->capacity * 2 : ENTRIES_FIRST;
    struct producer_entry *entries = ks_realloc(batch->entries, capacity * sizeof *entries);
    if (!entries)
        return false;
    batch->entries = entries;
    batch->capacity = capacity;
    return true;
}

static bool batch_has_room(const struct producer_batch *batch, size_t encoded_bytes)
{
    const struct kstream_producer_options *options = &batch->producer->options;
    return batch->count < options->batch_records_max &&
           (batch->count == 0 || batch->records.bytes + encoded_bytes <= options->batch_bytes_max);
}

/* The open batch of the shard with room for so many bytes more; NULL: no memory. */
static struct producer_batch *shard_batch_for(struct producer_shard *shard, size_t encoded_bytes)
{
    struct producer_batch *batch = producer_shard_open_batch(shard);
    if (batch && batch_has_room(batch, encoded_bytes))
        return batch_reserve(batch, encoded_bytes) ? batch : NULL;
    struct producer_batch *fresh = batch_get(shard->producer);
    if (!fresh)
        return NULL;
    if (!batch_reserve(fresh, encoded_bytes)) {
        batch_recycle(fresh);
        return NULL;
    }
    if (batch)
        batch->is_sealed = true;
    fresh->shard = shard;
    fresh->opened_ns = client_now_ns();
    if (!shard->is_open && ks_list_is_empty(&shard->batches))
        shard->producer->draining++;
    ks_list_push(&shard->batches, &fresh->node);
    return fresh;
}

enum ks_status producer_shard_append(struct producer_shard *shard, const struct ks_view *key,
    const struct ks_view *data, const struct producer_entry *entry, struct ks_error *err)
{
    size_t encoded_bytes = ks_record_encoded_bytes(key->bytes, data->bytes, false);
    struct producer_batch *batch = shard_batch_for(shard, encoded_bytes);
    if (!batch)
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory for a record of %zu bytes", data->bytes);
    struct ks_record record = {.key = *key, .data = *data};
    KS_IGNORE(ks_record_encode(&record, batch->records.data + batch->records.bytes),
        "the checksum is in the record");
    batch->records.bytes += encoded_bytes;
    batch->entries[batch->count++] = *entry;
    batch->payload_bytes += key->bytes + data->bytes;
    shard->producer->memory_bytes += encoded_bytes + sizeof *entry;
    const struct kstream_producer_options *options = &shard->producer->options;
    if (batch->count == options->batch_records_max ||
        batch->records.bytes >= options->batch_bytes_max)
        batch->is_sealed = true;
    return KS_OK;
}

/* ---- the end of a batch ---- */

/* Takes the batch out of its shard; the caller still reads it and then recycles it. */
static void batch_unlink(struct producer_batch *batch)
{
    struct producer_shard *shard = batch->shard;
    struct kstream_producer *p = batch->producer;
    KS_ASSERT(!batch->is_in_flight);
    size_t cost = batch_cost(batch);
    KS_ASSERT(p->memory_bytes >= cost);
    p->memory_bytes -= cost;
    ks_list_remove(&batch->node);
    if (!shard->is_open && ks_list_is_empty(&shard->batches)) {
        KS_ASSERT(p->draining > 0);
        p->draining--;
    }
}

/* ack->ordinal: of the first record, 0 for a failure. */
static void batch_answer(struct producer_batch *batch, struct kstream_ack *ack)
{
    struct kstream_producer *p = batch->producer;
    uint64_t now_ns = client_now_ns();
    uint64_t first_ordinal = ack->ordinal;
    char shard_id[KSTREAM_SHARD_ID_BYTES];
    ks_shard_id_to_text(batch->shard->index, shard_id);
    ack->shard_index = batch->shard->index;
    ack->shard_id = shard_id;
    p->is_in_callback = true;
    for (uint32_t i = 0; i < batch->count; i++) {
        const struct producer_entry *entry = &batch->entries[i];
        ack->latency_ns = now_ns - entry->put_ns;
        ack->ordinal = first_ordinal > 0 ? first_ordinal + i : 0;
        if (first_ordinal > 0)
            client_histogram_add(&p->latency, ack->latency_ns, 1);
        if (entry->on_ack)
            entry->on_ack(ack, entry->arg);
    }
    p->is_in_callback = false;
    p->answered += batch->count;
}

void producer_batch_succeed(struct producer_batch *batch, const Kstream__ShardPutResult *result)
{
    struct kstream_producer *p = batch->producer;
    batch_unlink(batch);
    struct kstream_ack ack = {.status = KSTREAM_OK,
        .was_repeated = result->has_is_duplicate && result->is_duplicate,
        .ordinal = result->first_sequence,
        .arrival_unix_ms = result->arrival_unix_ms,
        .shard_created_unix_s = result->created_unix_s,
        .text = ""};
    p->stats.records_durable += batch->count;
    p->stats.bytes_durable += batch->payload_bytes;
    if (ack.was_repeated)
        p->stats.records_repeated += batch->count;
    batch_answer(batch, &ack);
    batch_recycle(batch);
}

void producer_batch_fail(struct producer_batch *batch, enum ks_status status, const char *text)
{
    struct kstream_producer *p = batch->producer;
    batch_unlink(batch);
    struct kstream_ack ack = {.status = kstream_status_of(status),
        .outcome_unknown = batch->is_maybe_stored,
        .text = text};
    if (p->failed_since_flush == 0)
        KS_IGNORE(ks_fail(&p->first_failure, status, 0, "%s", text), "only fills it");
    p->failed_since_flush += batch->count;
    p->stats.records_failed += batch->count;
    batch_answer(batch, &ack);
    batch_recycle(batch);
}

void producer_fail_all(struct kstream_producer *p, enum ks_status status, const char *text)
{
    for (uint32_t i = 0; i < p->shard_count; i++) {
        struct producer_shard *shard = p->shards[i];
        if (ks_list_is_empty(&shard->batches))
            continue;
        for (struct producer_batch *batch; (batch = producer_shard_head(shard));)
            producer_batch_fail(batch, status, text);
        producer_shard_new_identity(shard);
    }
}

/* ---- identity and re-routing ---- */

void producer_shard_new_identity(struct producer_shard *shard)
{
    struct kstream_producer *p = shard->producer;
    do {
        shard->producer_id = ks_prng_u64(&p->jitter);
    } while (shard->producer_id == 0);
    shard->next_sequence = 1;
    KS_LIST_FOR_EACH(node, &shard->batches)
    {
        struct producer_batch *batch = batch_of(node);
        if (!batch->is_maybe_stored && !batch->is_in_flight)
            batch->producer_id = 0;
    }
}

/* Records of one batch, in order, to the shards of today. */
static void batch_reroute(struct producer_batch *batch)
{
    struct kstream_producer *p = batch->producer;
    struct ks_record_walk walk;
    struct ks_record_view record;
    ks_record_walk_init(&walk, ks_view_of(batch->records.data, batch->records.bytes));
    for (uint32_t i = 0; i < batch->count; i++) {
        ks_u128 hash = 0;
        enum ks_status st = ks_record_walk_next(&walk, &record);
        KS_ASSERT(st == KS_OK); /* it was encoded here */
        st = producer_hash(p, record.key, &hash, NULL);
        if (st == KS_OK) {
            uint32_t at = ks_hash_range_find(p->routing.ranges, p->routing.count, hash);
            st = producer_shard_append(
                p->routing.shards[at], &record.key, &record.data, &batch->entries[i], NULL);
        }
        if (st == KS_OK)
            continue;
        /* Without memory the rest of the batch fails, so that no record overtakes an earlier one.
         */
        memmove(batch->entries, batch->entries + i, (batch->count - i) * sizeof *batch->entries);
        batch->count -= i;
        struct kstream_ack ack = {.status = kstream_status_of(st), .text = "no memory to re-route"};
        if (p->failed_since_flush == 0)
            KS_IGNORE(ks_fail(&p->first_failure, st, 0, "%s", ack.text), "only fills it");
        p->failed_since_flush += batch->count;
        p->stats.records_failed += batch->count;
        batch_answer(batch, &ack);
        return;
    }
}

void producer_shard_reroute(struct producer_shard *shard)
{
    KS_ASSERT(!shard->is_open && shard->in_flight == 0);
    /* Out of the list first: from here on new records of these keys go to the new shards, behind
     * those moved now. */
    struct ks_list moved;
    ks_list_init(&moved);
    for (struct producer_batch *batch; (batch = producer_shard_head(shard));) {
        batch_unlink(batch);
        ks_list_push(&moved, &batch->node);
    }
    for (struct ks_list *node; (node = ks_list_pop(&moved));) {
        struct producer_batch *batch = batch_of(node);
        batch_reroute(batch);
        batch_recycle(batch);
    }
}

void producer_free_shards(struct kstream_producer *p)
{
    for (uint32_t i = 0; i < p->shard_count; i++)
        ks_free(p->shards[i]); /* their batches have been answered */
    ks_free(p->shards);
    routing_fini(&p->routing);
    for (struct ks_list *node; (node = ks_list_pop(&p->spare));)
        batch_free(batch_of(node));
}
