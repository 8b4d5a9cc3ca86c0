#include "base/alloc.h"
#include "client/producer_priv.h"
#include "proto/batch.h"

#define ENTRIES_FIRST 16u
#define RECORDS_BYTES_FIRST 1024u

/* ---- finding batches ---- */

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

struct producer_batch *producer_shard_next(struct producer_shard *shard)
{
    KS_LIST_FOR_EACH(node, &shard->batches)
    {
        struct producer_batch *batch = batch_of(node);
        /* A closed shard is only asked about what it may have; the rest waits for its children. */
        if (!batch->is_in_flight && (shard->is_open || batch->is_maybe_stored))
            return batch;
    }
    return NULL;
}

/* ---- making batches ---- */

static size_t batch_allocated(const struct producer_batch *batch)
{
    return sizeof *batch + batch->records.capacity +
           batch->capacity * sizeof(struct producer_entry);
}

static void batch_free(struct producer_batch *batch)
{
    ks_buf_fini(&batch->records);
    ks_free(batch->entries);
    ks_free(batch);
}

static struct producer_batch *batch_get(struct kstream_producer *p)
{
    struct ks_list *node = ks_list_pop(&p->spare_batches);
    if (node) {
        struct producer_batch *spare = batch_of(node);
        p->spare_bytes -= batch_allocated(spare);
        return spare;
    }
    struct producer_batch *batch = ks_zalloc(sizeof *batch);
    if (!batch)
        return NULL;
    batch->producer = p;
    ks_buf_init(&batch->records, KS_BATCH_RECORDS_BYTES_MAX);
    return batch;
}

/* Back to the spare ones, empty: the one used last is used next, while the caches know it. */
void producer_batch_recycle(struct producer_batch *batch)
{
    struct kstream_producer *p = batch->producer;
    struct ks_buf records = batch->records;
    records.bytes = 0;
    *batch = (struct producer_batch){
        .producer = p, .records = records, .entries = batch->entries, .capacity = batch->capacity};
    size_t allocated = batch_allocated(batch);
    if (p->spare_bytes + allocated > p->options.memory_bytes_max / PRODUCER_SPARE_PART) {
        batch_free(batch);
        return;
    }
    p->spare_bytes += allocated;
    ks_list_push(p->spare_batches.next, &batch->node);
}

void producer_free_spare(struct kstream_producer *p)
{
    for (struct ks_list *node; (node = ks_list_pop(&p->spare_batches));)
        batch_free(batch_of(node));
}

size_t producer_record_cost(size_t encoded_bytes)
{
    return encoded_bytes + sizeof(struct producer_entry);
}

static size_t batch_cost(const struct producer_batch *batch)
{
    return batch->records.bytes + batch->count * sizeof(struct producer_entry);
}

static bool batch_reserve(struct producer_batch *batch, size_t encoded_bytes)
{
    size_t more =
        batch->records.capacity > 0 ? encoded_bytes : KS_MAX(encoded_bytes, RECORDS_BYTES_FIRST);
    if (!ks_buf_reserve(&batch->records, more))
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

static void batch_seal(struct producer_batch *batch, uint64_t now_ns)
{
    batch->is_sealed = true;
    batch->producer->has_sealed = true;
    if (batch->shard->place != PRODUCER_READY)
        producer_place_shard(batch->shard, now_ns);
}

/* The open batch of the shard with room for so many bytes more; NULL: no memory. */
static struct producer_batch *shard_batch_for(
    struct producer_shard *shard, size_t encoded_bytes, uint64_t now_ns)
{
    struct producer_batch *batch = producer_shard_open_batch(shard);
    if (batch && batch_has_room(batch, encoded_bytes))
        return batch_reserve(batch, encoded_bytes) ? batch : NULL;
    struct producer_batch *fresh = batch_get(shard->producer);
    if (!fresh)
        return NULL;
    if (!batch_reserve(fresh, encoded_bytes)) {
        producer_batch_recycle(fresh);
        return NULL;
    }
    if (batch)
        batch_seal(batch, now_ns);
    fresh->shard = shard;
    fresh->opened_ns = now_ns;
    ks_list_push(&shard->batches, &fresh->node);
    if (shard->place == PRODUCER_IDLE)
        producer_place_shard(shard, now_ns);
    return fresh;
}

enum ks_status producer_shard_append(
    struct producer_shard *shard, const struct producer_record *record)
{
    size_t encoded_bytes = record->encoded_bytes;
    uint64_t now_ns = record->entry.put_ns;
    struct producer_batch *batch = shard_batch_for(shard, encoded_bytes, now_ns);
    if (!batch)
        return KS_NO_MEMORY;
    uint8_t *to = batch->records.data + batch->records.bytes;
    if (record->encoded.bytes > 0)
        memcpy(to, record->encoded.data, encoded_bytes);
    else
        KS_IGNORE(ks_record_encode(record->record, to), "the checksum is in the record");
    batch->records.bytes += encoded_bytes;
    batch->entries[batch->count++] = record->entry;
    batch->payload_bytes += record->payload_bytes;
    const struct kstream_producer_options *options = &shard->producer->options;
    if (batch->count == options->batch_records_max ||
        batch->records.bytes >= options->batch_bytes_max)
        batch_seal(batch, now_ns);
    return KS_OK;
}

/* ---- the end of a batch ---- */

void producer_batch_unlink(struct producer_batch *batch)
{
    struct producer_shard *shard = batch->shard;
    KS_ASSERT(!batch->is_in_flight);
    ks_list_remove(&batch->node);
    if (ks_list_is_empty(&shard->batches) && ks_list_is_linked(&shard->drain_node)) {
        ks_list_remove(&shard->drain_node);
        shard->producer->has_drained = true;
    }
}

static void producer_release(struct kstream_producer *p, size_t cost)
{
    KS_ASSERT(p->memory_bytes >= cost);
    p->memory_bytes -= cost;
}

/* Tells the caller of one record. */
static void entry_answer(
    struct kstream_producer *p, const struct producer_entry *entry, const struct kstream_ack *ack)
{
    p->answered++;
    if (entry->on_ack)
        entry->on_ack(ack, entry->arg);
}

/* ack->ordinal: of the first record, 0 for a failure. */
static void batch_answer(struct producer_batch *batch, struct kstream_ack *ack)
{
    struct kstream_producer *p = batch->producer;
    uint64_t now_ns = client_now_ns();
    uint64_t first_ordinal = ack->ordinal;
    ack->shard_index = batch->shard->index;
    ack->shard_id = batch->shard->id;
    bool was_in_callback = p->is_in_callback;
    p->is_in_callback = true;
    for (uint32_t i = 0; i < batch->count; i++) {
        const struct producer_entry *entry = &batch->entries[i];
        ack->latency_ns = now_ns - entry->put_ns;
        ack->ordinal = first_ordinal > 0 ? first_ordinal + i : 0;
        if (first_ordinal > 0)
            client_histogram_add(&p->latency, ack->latency_ns, 1);
        entry_answer(p, entry, ack);
    }
    p->is_in_callback = was_in_callback;
}

void producer_batch_succeed(struct producer_batch *batch, const struct ks_put_result *result)
{
    struct kstream_producer *p = batch->producer;
    producer_batch_unlink(batch);
    producer_release(p, batch_cost(batch));
    struct kstream_ack ack = {.status = KSTREAM_OK,
        .was_repeated = result->is_duplicate,
        .ordinal = result->first_sequence,
        .arrival_unix_ms = result->arrival_unix_ms,
        .shard_created_unix_s = result->created_unix_s,
        .text = ""};
    p->stats.records_durable += batch->count;
    p->stats.bytes_durable += batch->payload_bytes;
    if (ack.was_repeated)
        p->stats.records_repeated += batch->count;
    batch_answer(batch, &ack);
    producer_batch_recycle(batch);
}

static void note_failures(
    struct kstream_producer *p, uint64_t count, enum ks_status status, const char *text)
{
    if (p->failed_since_flush == 0)
        KS_IGNORE(ks_fail(&p->first_failure, status, 0, "%s", text), "only fills it");
    p->failed_since_flush += count;
    p->stats.records_failed += count;
}

void producer_batch_fail(struct producer_batch *batch, enum ks_status status, const char *text)
{
    struct kstream_producer *p = batch->producer;
    producer_batch_unlink(batch);
    producer_release(p, batch_cost(batch));
    struct kstream_ack ack = {.status = kstream_status_of(status),
        .outcome_unknown = batch->is_maybe_stored,
        .text = text};
    note_failures(p, batch->count, status, text);
    batch_answer(batch, &ack);
    producer_batch_recycle(batch);
}

static void producer_record_fail(
    struct kstream_producer *p, const struct producer_entry *entry, enum ks_status status)
{
    struct kstream_ack ack = {.status = kstream_status_of(status),
        .shard_id = "",
        .latency_ns = client_now_ns() - entry->put_ns,
        .text = ks_status_info(status)->text};
    note_failures(p, 1, status, ack.text);
    bool was_in_callback = p->is_in_callback;
    p->is_in_callback = true;
    entry_answer(p, entry, &ack);
    p->is_in_callback = was_in_callback;
}

void producer_taken_fail(struct kstream_producer *p, const struct producer_entry *entry,
    size_t encoded_bytes, enum ks_status status)
{
    producer_release(p, producer_record_cost(encoded_bytes));
    producer_record_fail(p, entry, status);
}

void producer_fail_all(struct kstream_producer *p, enum ks_status status, const char *text)
{
    uint64_t now_ns = client_now_ns();
    /* What callbacks put meanwhile is not meant. */
    for (uint32_t i = 0; i < p->shard_count; i++) {
        struct producer_shard *shard = p->shards[i];
        if (ks_list_is_empty(&shard->batches))
            continue;
        struct ks_list failed;
        ks_list_init(&failed);
        ks_list_splice(&failed, &shard->batches);
        producer_shard_new_identity(shard);
        while (!ks_list_is_empty(&failed))
            producer_batch_fail(batch_of(failed.next), status, text);
        producer_place_shard(shard, now_ns);
    }
}

void producer_forget_all(struct kstream_producer *p)
{
    ks_list_splice(&p->spare_requests, &p->requests);
    for (uint32_t i = 0; i < p->shard_count; i++)
        for (struct ks_list *node; (node = ks_list_pop(&p->shards[i]->batches));)
            batch_free(batch_of(node));
}

/* ---- identity ---- */

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
