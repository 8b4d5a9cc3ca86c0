#include "base/alloc.h"
#include "client/producer_priv.h"
#include "proto/sequence.h"

#include <stdio.h>

/* ---- shards ---- */

/* Where a shard of that index is, or belongs. */
static uint32_t shard_position(const struct kstream_producer *p, uint32_t index)
{
    uint32_t low = 0;
    uint32_t high = p->shard_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (p->shards[middle]->index < index)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct producer_shard *producer_find_shard(struct kstream_producer *p, uint32_t index)
{
    uint32_t at = shard_position(p, index);
    return at < p->shard_count && p->shards[at]->index == index ? p->shards[at] : NULL;
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
    ks_shard_id_to_text(index, shard->id);
    shard->producer_id = p->options.producer_id;
    shard->next_sequence = 1;
    ks_list_init(&shard->batches);
    uint32_t at = shard_position(p, index);
    memmove(&shards[at + 1], &shards[at], (p->shard_count - at) * sizeof(struct producer_shard *));
    shards[at] = shard;
    p->shard_count++;
    return shard;
}

struct producer_shard *producer_route(struct kstream_producer *p, ks_u128 hash)
{
    KS_LIST_FOR_EACH(node, &p->draining)
    {
        struct producer_shard *shard = KS_CONTAINER_OF(node, struct producer_shard, drain_node);
        if (ks_hash_range_holds(&shard->range, hash))
            return shard;
    }
    uint32_t at = ks_hash_range_find(p->routing.ranges, p->routing.count, hash);
    return p->routing.shards[at];
}

/* ---- where a shard waits ---- */

static bool shard_has_open_questions(const struct producer_shard *shard)
{
    KS_LIST_FOR_EACH(node, &shard->batches)
    if (KS_CONTAINER_OF(node, struct producer_batch, node)->is_maybe_stored)
        return true;
    return false;
}

static bool batch_is_due(const struct producer_batch *batch, uint64_t now_ns)
{
    const struct kstream_producer *p = batch->producer;
    return batch->is_sealed || p->is_flushing ||
           now_ns >= batch->opened_ns + (uint64_t)p->options.linger_ms * 1000000u;
}

static enum producer_place shard_decide(struct producer_shard *shard, uint64_t now_ns)
{
    const struct kstream_producer *p = shard->producer;
    if (ks_list_is_empty(&shard->batches))
        return PRODUCER_IDLE;
    if (!shard->is_open && shard->in_flight == 0 && !shard_has_open_questions(shard))
        return PRODUCER_MOVES;
    if (shard->in_flight >= p->options.in_flight_max ||
        (shard->must_settle && shard->in_flight > 0))
        return PRODUCER_IDLE;
    const struct producer_batch *batch = producer_shard_next(shard);
    if (!batch || producer_shard_is_held(shard))
        return PRODUCER_IDLE;
    /* Two identities in flight at once could overtake each other. */
    uint64_t producer_id = batch->producer_id ? batch->producer_id : shard->producer_id;
    if (shard->in_flight > 0 && shard->in_flight_producer_id != producer_id)
        return PRODUCER_IDLE;
    if (now_ns < shard->not_before_ns)
        return PRODUCER_PAUSES;
    return batch_is_due(batch, now_ns) ? PRODUCER_READY : PRODUCER_LINGERS;
}

/* Behind the shards whose batch is older: only the first of them can be due. */
static void shard_linger(struct producer_shard *shard)
{
    struct ks_list *head = &shard->producer->lingering;
    uint64_t opened_ns = producer_shard_open_batch(shard)->opened_ns;
    struct ks_list *at = head->prev;
    while (at != head) {
        struct producer_shard *other = KS_CONTAINER_OF(at, struct producer_shard, node);
        if (producer_shard_open_batch(other)->opened_ns <= opened_ns)
            break;
        at = at->prev;
    }
    ks_list_push(at->next, &shard->node);
}

void producer_place_shard(struct producer_shard *shard, uint64_t now_ns)
{
    struct kstream_producer *p = shard->producer;
    if (shard->in_flight == 0)
        shard->must_settle = false;
    if (ks_list_is_linked(&shard->node))
        ks_list_remove(&shard->node);
    shard->place = shard_decide(shard, now_ns);
    switch (shard->place) {
    case PRODUCER_IDLE:
        return;
    case PRODUCER_LINGERS:
        shard_linger(shard);
        return;
    case PRODUCER_READY:
        ks_list_push(&p->ready, &shard->node);
        return;
    case PRODUCER_PAUSES:
        ks_list_push(&p->paused, &shard->node);
        return;
    case PRODUCER_MOVES:
        ks_list_push(&p->moving, &shard->node);
        return;
    }
}

void producer_place_all(struct kstream_producer *p)
{
    uint64_t now_ns = client_now_ns();
    p->has_drained = false;
    for (uint32_t i = 0; i < p->shard_count; i++)
        producer_place_shard(p->shards[i], now_ns);
}

/* ---- adopting ---- */

static void routing_fini(struct producer_routing *routing)
{
    ks_free(routing->ranges);
    ks_free(routing->shards);
    *routing = (struct producer_routing){.count = 0};
}

static enum ks_status range_read(const ProtobufCBinaryData *first, const ProtobufCBinaryData *last,
    struct ks_hash_range *range, struct ks_error *err)
{
    if (first->len != KS_EXPLICIT_HASH_BYTES || last->len != KS_EXPLICIT_HASH_BYTES)
        return ks_fail(err, KS_PROTOCOL, 0, "the broker's routing is malformed");
    range->first = ks_u128_load_be(first->data);
    range->last = ks_u128_load_be(last->data);
    return KS_OK;
}

static enum ks_status routing_build(struct kstream_producer *p,
    const Kstream__DescribeRoutingResponse *from, struct producer_routing *to, struct ks_error *err)
{
    if (from->n_shards == 0 || from->n_shards > KS_SHARDS_PER_ACCOUNT_MAX)
        return ks_fail(err, KS_PROTOCOL, 0, "stream '%s' has no open shard", from->stream_name);
    if (strlen(from->stream_id) > KS_STREAM_ID_BYTES)
        return ks_fail(err, KS_PROTOCOL, 0, "the broker's routing is malformed");
    uint32_t count = (uint32_t)from->n_shards;
    to->ranges = ks_calloc(count, sizeof *to->ranges);
    to->shards = ks_calloc(count, sizeof(struct producer_shard *));
    if (!to->ranges || !to->shards)
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory for %u shards", count);
    for (uint32_t i = 0; i < count; i++) {
        const Kstream__RoutingShard *shard = from->shards[i];
        enum ks_status st =
            range_read(&shard->first_hash_key, &shard->last_hash_key, &to->ranges[i], err);
        if (st == KS_OK && shard->shard_index > KS_SHARD_INDEX_MAX)
            st = ks_fail(err, KS_PROTOCOL, 0, "the broker's routing is malformed");
        if (st)
            return st;
    }
    if (!ks_hash_ranges_tile(to->ranges, count))
        return ks_fail(err, KS_PROTOCOL, 0, "the broker's routing leaves keys without a shard");
    for (uint32_t i = 0; i < count; i++) {
        uint32_t index = from->shards[i]->shard_index;
        struct producer_shard *shard = producer_find_shard(p, index);
        to->shards[i] = shard ? shard : shard_add(p, index);
        if (!to->shards[i])
            return ks_fail(err, KS_NO_MEMORY, 0, "no memory for %u shards", count);
    }
    to->epoch = from->routing_epoch;
    to->count = count;
    return KS_OK;
}

/* Open or closed as the routing says; a closed shard with batches drains, the oldest first. */
static void shards_reopen(struct kstream_producer *p)
{
    for (uint32_t i = 0; i < p->shard_count; i++)
        p->shards[i]->is_open = false;
    for (uint32_t i = 0; i < p->routing.count; i++) {
        p->routing.shards[i]->is_open = true;
        p->routing.shards[i]->range = p->routing.ranges[i];
    }
    for (uint32_t i = 0; i < p->shard_count; i++) {
        struct producer_shard *shard = p->shards[i];
        if (!shard->is_open && !ks_list_is_empty(&shard->batches) &&
            !ks_list_is_linked(&shard->drain_node))
            ks_list_push(&p->draining, &shard->drain_node);
    }
    producer_place_all(p);
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
    if (p->routing.count > 0 && next.epoch != p->routing.epoch)
        client_log(p->client, KSTREAM_LOG_INFO,
            "producer.routing stream=%s epoch=%llu open_shards=%u", routing->stream_name,
            (unsigned long long)next.epoch, next.count);
    routing_fini(&p->routing);
    p->routing = next;
    p->record_bytes_max = routing->record_bytes_max;
    p->is_ack_memory = routing->ack && strcmp(routing->ack, "memory") == 0;
    snprintf(p->stream_id, sizeof p->stream_id, "%s", routing->stream_id);
    shards_reopen(p);
    return KS_OK;
}

/* ---- taking up an old id ---- */

static enum ks_status resumed_read(
    const Kstream__ProducerShard *from, struct kstream_resumed_shard *to, struct ks_error *err)
{
    struct ks_hash_range range;
    if (from->shard_index > KS_SHARD_INDEX_MAX || from->record_count == 0 ||
        from->first_sequence == 0 || from->first_sequence > KS_SEQUENCE_MAX - from->record_count ||
        from->created_unix_s > KS_SEQUENCE_SECONDS_MAX || from->last_producer_sequence == 0 ||
        range_read(&from->first_hash_key, &from->last_hash_key, &range, err))
        return ks_fail(err, KS_PROTOCOL, 0, "the broker's account of the producer is malformed");
    *to = (struct kstream_resumed_shard){.shard_index = from->shard_index,
        .is_closed = from->is_closed,
        .batches = from->last_producer_sequence,
        .last_ordinal = from->first_sequence + from->record_count - 1,
        .last_batch_records = from->record_count};
    memcpy(to->first_hash_key, from->first_hash_key.data, sizeof to->first_hash_key);
    memcpy(to->last_hash_key, from->last_hash_key.data, sizeof to->last_hash_key);
    ks_shard_id_to_text(from->shard_index, to->shard_id);
    struct ks_sequence_number number = {.created_unix_s = from->created_unix_s,
        .ordinal = to->last_ordinal,
        .shard_index = from->shard_index};
    ks_sequence_to_text(&number, to->last_sequence_number);
    return KS_OK;
}

enum ks_status producer_adopt_resume(
    struct kstream_producer *p, const Kstream__ResumeProducerResponse *known, struct ks_error *err)
{
    size_t count = known->n_shards;
    KS_AUTO_FREE struct kstream_resumed_shard *list =
        count > 0 ? ks_calloc(count, sizeof *list) : NULL;
    if (count > 0 && !list)
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory for %zu shards", count);
    for (size_t i = 0; i < count; i++) {
        /* What may yet be lost with the broker must not count as stored. */
        if (known->shards[i]->is_pending)
            return ks_fail(err, KS_WOULD_BLOCK, 0, "the last batch is not durable yet");
        enum ks_status st = resumed_read(known->shards[i], &list[i], err);
        if (st)
            return st;
    }
    for (size_t i = 0; i < count; i++) {
        struct producer_shard *shard = producer_find_shard(p, list[i].shard_index);
        if (shard)
            shard->next_sequence = list[i].batches + 1;
    }
    p->resumed = KS_TAKE(list);
    p->resumed_count = count;
    p->has_resumed = true;
    return KS_OK;
}

void producer_free_shards(struct kstream_producer *p)
{
    for (uint32_t i = 0; i < p->shard_count; i++)
        ks_free(p->shards[i]); /* their batches have been answered */
    ks_free(p->shards);
    routing_fini(&p->routing);
}
