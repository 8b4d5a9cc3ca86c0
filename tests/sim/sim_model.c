#include "tests/sim/sim_model.h"

#include "base/alloc.h"
#include "proto/batch.h"

#include <stdio.h>

void sim_log_init(
    struct sim_log *log, uint64_t incarnation, uint32_t shard_index, struct ks_prng *prng)
{
    *log = (struct sim_log){
        .incarnation = incarnation, .shard_index = shard_index, .next_sequence = 1};
    for (size_t i = 0; i < SIM_PRODUCERS; i++)
        log->producers[i] = (struct sim_producer){
            .id = ks_prng_u64(prng) | 1, .next_sequence = 1 + ks_prng_below(prng, 5)};
}

void sim_log_fini(struct sim_log *log)
{
    ks_free(log->batches);
    log->batches = NULL;
    log->batch_count = 0;
    log->batch_capacity = 0;
}

struct sim_batch *sim_log_add(struct sim_log *log, const struct sim_batch *batch)
{
    if (log->batch_count == log->batch_capacity) {
        log->batch_capacity = log->batch_capacity ? 2 * log->batch_capacity : 64;
        log->batches = ks_realloc(log->batches, log->batch_capacity * sizeof *log->batches);
        KS_ASSERT(log->batches);
    }
    struct sim_batch *added = &log->batches[log->batch_count++];
    *added = *batch;
    added->first_sequence = log->next_sequence;
    log->next_sequence += batch->record_count;
    return added;
}

void sim_log_add_unused(struct sim_log *log, uint64_t ordinals)
{
    sim_log_add(log, &(struct sim_batch){.record_count = (uint32_t)ordinals, .state = SIM_FOUND});
}

struct sim_batch *sim_log_find(struct sim_log *log, uint64_t sequence)
{
    size_t low = 0;
    size_t high = log->batch_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        struct sim_batch *batch = &log->batches[middle];
        if (sequence < batch->first_sequence)
            high = middle;
        else if (sequence >= batch->first_sequence + batch->record_count)
            low = middle + 1;
        else
            return batch;
    }
    return NULL;
}

uint64_t sim_log_required(const struct sim_log *log)
{
    uint64_t required = log->seen_sequence;
    for (size_t i = log->batch_count; i-- > 0;) {
        const struct sim_batch *batch = &log->batches[i];
        if (batch->state != SIM_PENDING && batch->state != SIM_WEAK)
            return ks_max_u64(required, batch->first_sequence + batch->record_count - 1);
    }
    return required;
}

/* A batch without an answer: its producer sends it again, whether or not it is in the log. */
static void sim_log_retry(struct sim_log *log, const struct sim_batch *batch)
{
    for (size_t i = 0; i < SIM_PRODUCERS; i++) {
        struct sim_producer *producer = &log->producers[i];
        if (producer->id != batch->producer_id || producer->retry_count == SIM_RETRIES_MAX)
            continue;
        producer->retries[producer->retry_count++] = *batch;
    }
}

void sim_log_settle(struct sim_log *log)
{
    for (size_t i = 0; i < log->batch_count; i++)
        if (log->batches[i].state == SIM_WEAK)
            log->batches[i].state = SIM_ACKED;
}

void sim_producer_renew(struct sim_producer *producer, uint64_t id)
{
    *producer =
        (struct sim_producer){.id = id, .next_sequence = 1, .in_flight = producer->in_flight};
}

/* One answered from memory is not sent again: its producer leaves a gap behind it. */
static void sim_log_lose_weak(struct sim_log *log, const struct sim_batch *batch)
{
    for (size_t i = 0; i < SIM_PRODUCERS; i++)
        log->producers[i].has_lost |= log->producers[i].id == batch->producer_id;
}

bool sim_log_cut(struct sim_log *log, uint64_t last_sequence, uint64_t *out_weak_lost)
{
    size_t kept = 0;
    while (kept < log->batch_count &&
           log->batches[kept].first_sequence + log->batches[kept].record_count - 1 <= last_sequence)
        kept++;
    uint64_t end =
        kept ? log->batches[kept - 1].first_sequence + log->batches[kept - 1].record_count - 1 : 0;
    if (end != last_sequence)
        return false;
    /* The retries of an earlier crash that were not sent since come after what is sent now. */
    struct sim_producer old[SIM_PRODUCERS];
    memcpy(old, log->producers, sizeof old);
    for (size_t i = 0; i < SIM_PRODUCERS; i++) {
        log->producers[i].retry_count = 0;
        log->producers[i].in_flight = 0;
    }
    for (size_t i = 0; i < log->batch_count; i++) {
        struct sim_batch *batch = &log->batches[i];
        if (batch->state == SIM_WEAK && i >= kept) {
            sim_log_lose_weak(log, batch);
            *out_weak_lost += 1;
        }
        if (batch->state == SIM_PENDING)
            sim_log_retry(log, batch);
        if (batch->state == SIM_PENDING || batch->state == SIM_WEAK)
            batch->state = SIM_FOUND;
    }
    for (size_t i = 0; i < SIM_PRODUCERS; i++)
        for (uint32_t j = 0; j < old[i].retry_count; j++)
            sim_log_retry(log, &old[i].retries[j]);
    log->batch_count = kept;
    log->next_sequence = last_sequence + 1;
    log->arrival_sequence = 0; /* ordinals that were lost are given out again */
    return true;
}

/* The bytes of one record, from the batch's uid and its place in it. */
static size_t sim_record_bytes(uint64_t uid, uint32_t index, uint32_t data_bytes_max, char *key,
    size_t *out_key_bytes, uint8_t *data)
{
    struct ks_prng prng;
    ks_prng_seed(&prng, uid * 1000003u + index);
    *out_key_bytes =
        (size_t)snprintf(key, 32, "k%llu", (unsigned long long)ks_prng_below(&prng, 9999));
    size_t data_bytes = (size_t)ks_prng_below(&prng, data_bytes_max + 1);
    for (size_t i = 0; i < data_bytes; i += 8) {
        uint64_t word = ks_prng_u64(&prng);
        memcpy(data + i, &word, 8);
    }
    return data_bytes;
}

#define SIM_DATA_BYTES_MAX 8192

uint32_t sim_make_records(
    uint64_t uid, uint32_t record_count, uint32_t data_bytes_max, struct ks_buf *to)
{
    static uint8_t data[SIM_DATA_BYTES_MAX + 8];
    KS_ASSERT(data_bytes_max <= SIM_DATA_BYTES_MAX);
    uint32_t body_crc = 0;
    for (uint32_t i = 0; i < record_count; i++) {
        char key[32];
        size_t key_bytes;
        size_t data_bytes = sim_record_bytes(uid, i, data_bytes_max, key, &key_bytes, data);
        struct ks_record record = {
            .key = ks_view_of(key, key_bytes), .data = ks_view_of(data, data_bytes)};
        size_t bytes = ks_record_encoded_bytes(key_bytes, data_bytes, false);
        KS_ASSERT(ks_buf_reserve(to, bytes));
        uint32_t crc = ks_record_encode(&record, to->data + to->bytes);
        to->bytes += bytes;
        body_crc = ks_body_crc_extend(body_crc, crc);
    }
    return body_crc;
}

bool sim_records_are(uint64_t uid, uint32_t data_bytes_max, uint32_t record_index,
    struct ks_view key, struct ks_view data)
{
    static uint8_t expected[SIM_DATA_BYTES_MAX + 8];
    char expected_key[32];
    size_t key_bytes;
    size_t data_bytes =
        sim_record_bytes(uid, record_index, data_bytes_max, expected_key, &key_bytes, expected);
    return ks_view_equal(key, ks_view_of(expected_key, key_bytes)) &&
           ks_view_equal(data, ks_view_of(expected, data_bytes));
}
