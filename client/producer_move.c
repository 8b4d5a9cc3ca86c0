/*
 * After a split or a merge: what waits in closed shards goes to the shards of today.
 *
 * Nothing of a closed shard moves before the broker has said of each batch that it may have whether
 * it has it. Shards that have a child in common move together, and until then nothing is sent to
 * that child: its records are sorted by the time of their puts, so that what is stored of a
 * producer's keys in each shard is at any time the beginning of what was put. A producer that is
 * resumed relies on it.
 */
#include "base/alloc.h"
#include "client/producer_priv.h"
#include "proto/batch.h"

/* Shards whose records mix, as a range of keys: closed ones that drain, and their children. */
struct move {
    struct kstream_producer *producer;
    struct ks_hash_range range;
    uint32_t first; /* in the routing */
    uint32_t last;
    struct move_source *sources;
    uint32_t source_count;
};

/* The records of one shard, in order. */
struct move_source {
    struct ks_list batches;
    struct producer_batch *batch; /* the first of them; NULL: no more */
    uint32_t at;                  /* of the record in it */
    struct ks_record_walk walk;
    struct ks_record_view record;
};

static bool ranges_overlap(const struct ks_hash_range *a, const struct ks_hash_range *b)
{
    return a->first <= b->last && b->first <= a->last;
}

bool producer_shard_is_held(const struct producer_shard *shard)
{
    if (!shard->is_open)
        return false;
    KS_LIST_FOR_EACH(node, &shard->producer->draining)
    {
        const struct producer_shard *other =
            KS_CONTAINER_OF(node, struct producer_shard, drain_node);
        if (ranges_overlap(&other->range, &shard->range))
            return true;
    }
    return false;
}

/* Grows the range until every shard that touches it lies within it. False: one of them has open
 * questions. */
static bool move_find(struct move *move)
{
    struct kstream_producer *p = move->producer;
    struct ks_hash_range before;
    do {
        before = move->range;
        move->first = ks_hash_range_find(p->routing.ranges, p->routing.count, move->range.first);
        move->last = ks_hash_range_find(p->routing.ranges, p->routing.count, move->range.last);
        move->range.first = p->routing.ranges[move->first].first;
        move->range.last = p->routing.ranges[move->last].last;
        KS_LIST_FOR_EACH(node, &p->draining)
        {
            const struct producer_shard *shard =
                KS_CONTAINER_OF(node, struct producer_shard, drain_node);
            if (!ranges_overlap(&shard->range, &move->range))
                continue;
            if (shard->place != PRODUCER_MOVES)
                return false;
            move->range.first = KS_MIN(move->range.first, shard->range.first);
            move->range.last = KS_MAX(move->range.last, shard->range.last);
        }
    } while (before.first != move->range.first || before.last != move->range.last);
    return true;
}

static void source_next(struct move_source *source)
{
    if (source->batch && ++source->at < source->batch->count) {
        enum ks_status st = ks_record_walk_next(&source->walk, &source->record);
        KS_ASSERT(st == KS_OK); /* it was encoded here */
        return;
    }
    if (source->batch)
        producer_batch_recycle(source->batch);
    struct ks_list *node = ks_list_pop(&source->batches);
    source->batch = node ? KS_CONTAINER_OF(node, struct producer_batch, node) : NULL;
    if (!source->batch)
        return;
    source->at = 0;
    ks_record_walk_init(
        &source->walk, ks_view_of(source->batch->records.data, source->batch->records.bytes));
    enum ks_status st = ks_record_walk_next(&source->walk, &source->record);
    KS_ASSERT(st == KS_OK); /* no batch is empty */
}

/* Takes all batches out of the shard. */
static void source_begin(struct move_source *source, struct producer_shard *shard)
{
    ks_list_init(&source->batches);
    for (struct producer_batch *batch; (batch = producer_shard_head(shard));) {
        KS_ASSERT(!batch->is_maybe_stored);
        producer_batch_unlink(batch);
        ks_list_push(&source->batches, &batch->node);
    }
    source->batch = NULL;
    source_next(source);
}

static uint32_t move_count_shards(const struct move *move)
{
    uint32_t count = move->last - move->first + 1;
    KS_LIST_FOR_EACH(node, &move->producer->draining)
    count++;
    return count;
}

/* False: no memory, nothing has changed. */
static bool move_take(struct move *move)
{
    struct kstream_producer *p = move->producer;
    move->sources = ks_calloc(move_count_shards(move), sizeof *move->sources);
    if (!move->sources)
        return false;
    KS_LIST_FOR_EACH_SAFE(node, &p->draining)
    {
        struct producer_shard *shard = KS_CONTAINER_OF(node, struct producer_shard, drain_node);
        if (ranges_overlap(&shard->range, &move->range))
            source_begin(&move->sources[move->source_count++], shard);
    }
    for (uint32_t i = move->first; i <= move->last; i++)
        source_begin(&move->sources[move->source_count++], p->routing.shards[i]);
    return true;
}

/* The record that was put first; NULL: none is left. */
static struct move_source *move_oldest(const struct move *move)
{
    struct move_source *oldest = NULL;
    for (uint32_t i = 0; i < move->source_count; i++) {
        struct move_source *source = &move->sources[i];
        if (source->batch && (!oldest || source->batch->entries[source->at].put_ns <
                                             oldest->batch->entries[oldest->at].put_ns))
            oldest = source;
    }
    return oldest;
}

static enum ks_status move_record(struct move *move, const struct move_source *source)
{
    struct kstream_producer *p = move->producer;
    const struct ks_record_view *record = &source->record;
    ks_u128 hash = 0;
    enum ks_status st = KS_OK;
    if (record->explicit_hash.bytes > 0)
        hash = ks_u128_load_be(record->explicit_hash.data);
    else
        st = ks_md5_many(p->md5, &record->key, 1, &hash);
    if (st)
        return st;
    struct producer_record moved = {.encoded = record->stored,
        .encoded_bytes = record->stored.bytes,
        .payload_bytes = record->key.bytes + record->data.bytes,
        .entry = source->batch->entries[source->at]};
    uint32_t at = ks_hash_range_find(p->routing.ranges, p->routing.count, hash);
    return producer_shard_append(p->routing.shards[at], &moved);
}

/* In the order of the puts. Without memory the rest fails, so that no record overtakes an earlier
 * one. */
static void move_run(struct move *move)
{
    struct kstream_producer *p = move->producer;
    enum ks_status st = KS_OK;
    for (struct move_source *source; (source = move_oldest(move)); source_next(source)) {
        st = st ? st : move_record(move, source);
        if (st == KS_OK)
            continue;
        if (p->options.resume)
            producer_die(p, st, "no memory to move records to the children of a shard");
        producer_taken_fail(
            p, &source->batch->entries[source->at], source->record.stored.bytes, st);
    }
}

void producer_move(struct kstream_producer *p)
{
    KS_LIST_FOR_EACH(node, &p->moving)
    {
        struct producer_shard *shard = KS_CONTAINER_OF(node, struct producer_shard, node);
        struct move move = {.producer = p, .range = shard->range};
        if (!move_find(&move))
            continue;
        p->is_short = !move_take(&move);
        if (p->is_short)
            return;
        move_run(&move);
        ks_free(move.sources);
        p->wants_turn = true; /* the list has changed: another group may be ready as well */
        return;
    }
}
