/*
 * Taking records. With one open shard a record is encoded straight into its batch. Else it is
 * encoded into the stage until a vector of keys can be hashed at once, or until somebody wants to
 * send; then its bytes are copied behind those of its shard.
 */
#include "client/producer_priv.h"
#include "proto/batch.h"

#include <stdio.h>

#define PUMP_EVERY_NS 1000000u /* kstream_producer_put looks at the socket at most that often */
#define STAGED_BYTES_MAX (16u << 10) /* larger records go past the stage */

/* ---- the stage ---- */

void producer_unstage(struct kstream_producer *p)
{
    struct producer_stage *stage = &p->stage;
    struct ks_view keys[PRODUCER_STAGED_MAX];
    ks_u128 hashes[PRODUCER_STAGED_MAX];
    uint32_t key_count = 0;
    if (stage->count == 0)
        return;
    for (uint32_t i = 0; i < stage->count; i++)
        if (!stage->list[i].has_hash)
            keys[key_count++] = stage->list[i].key;
    enum ks_status st = ks_md5_many(p->md5, keys, key_count, hashes);
    key_count = 0;
    p->is_unstaging = true;
    for (uint32_t i = 0; i < stage->count; i++) {
        const struct producer_staged *staged = &stage->list[i];
        ks_u128 hash = staged->has_hash ? staged->hash : hashes[key_count++];
        enum ks_status entered =
            st ? st : producer_shard_append(producer_route(p, hash), &staged->record);
        if (entered)
            /* It was taken, so its end is told by its callback. */
            producer_taken_fail(p, &staged->record.entry, staged->record.encoded_bytes, entered);
    }
    p->is_unstaging = false;
    stage->count = 0;
    stage->used = 0;
}

static void stage_add(struct kstream_producer *p, struct producer_record *record)
{
    struct producer_stage *stage = &p->stage;
    struct producer_staged *staged = &stage->list[stage->count++];
    uint8_t *to = stage->bytes + stage->used;
    KS_IGNORE(ks_record_encode(record->record, to), "the checksum is in the record");
    stage->used += record->encoded_bytes;
    staged->record = *record;
    staged->record.encoded = ks_view_of(to, record->encoded_bytes);
    staged->has_hash = record->record->has_explicit_hash;
    if (staged->has_hash) {
        staged->hash = ks_u128_load_be(record->record->explicit_hash);
        return;
    }
    /* The key in its encoded form: behind tag and length of the record, its checksum, and the tag
     * and length of the key itself. */
    size_t data_bytes = record->record->data.bytes;
    size_t key_bytes = record->record->key.bytes;
    size_t behind_key = 1 + ks_varint_bytes(data_bytes) + data_bytes;
    staged->key = ks_view_of(to + record->encoded_bytes - behind_key - key_bytes, key_bytes);
}

static void stage_take(struct kstream_producer *p, struct producer_record *record)
{
    struct producer_stage *stage = &p->stage;
    if (stage->used + record->encoded_bytes > PRODUCER_STAGE_BYTES)
        producer_unstage(p);
    stage_add(p, record);
    if (stage->count == PRODUCER_STAGED_MAX)
        producer_unstage(p);
}

/* Errors: KS_NO_MEMORY, KS_INTERNAL; then nothing was taken. */
static enum ks_status record_take(struct kstream_producer *p, struct producer_record *record)
{
    if (producer_has_one_way(p) && p->stage.count == 0)
        return producer_shard_append(p->routing.shards[0], record);
    if (record->encoded_bytes <= STAGED_BYTES_MAX) {
        stage_take(p, record);
        return KS_OK;
    }
    producer_unstage(p); /* what was put before goes before */
    ks_u128 hash = ks_u128_load_be(record->record->explicit_hash);
    enum ks_status st = KS_OK;
    if (!record->record->has_explicit_hash)
        st = ks_md5_many(p->md5, &record->record->key, 1, &hash);
    return st ? st : producer_shard_append(producer_route(p, hash), record);
}

/* ---- room ---- */

static bool producer_has_room(const struct kstream_producer *p, size_t cost)
{
    return p->memory_bytes == 0 || p->memory_bytes + cost <= p->options.memory_bytes_max;
}

/* False: no room within the time the caller allows. */
static bool producer_make_room(struct kstream_producer *p, size_t cost)
{
    if (p->is_in_callback)
        return false;
    producer_pump(p);
    uint64_t deadline_ns = client_deadline_ns(p->options.block_ms_max);
    while (!producer_has_room(p, cost)) {
        if (p->fatal || client_now_ns() >= deadline_ns)
            return false;
        client_conn_wait(&p->conn, ks_min_u64(deadline_ns, producer_next_timer_ns(p)));
        producer_pump(p);
    }
    return true;
}

static enum kstream_status put_is_full(const struct kstream_producer *p, struct kstream_error *err)
{
    if (!err)
        return KSTREAM_FULL;
    *err = (struct kstream_error){.status = KSTREAM_FULL, .retryable = 1};
    const char *trouble = p->trouble.text[0] ? p->trouble.text : p->conn.why_closed.text;
    bool is_fine = p->trouble.text[0] == '\0' && p->conn.trouble_since_ns == 0;
    if (p->routing.count == 0)
        snprintf(err->text, sizeof err->text, "the shards of the stream are not known yet%s%.150s",
            is_fine ? "" : ": ", is_fine ? "" : trouble);
    else
        snprintf(err->text, sizeof err->text, "the producer holds %llu bytes unanswered%s%.150s",
            (unsigned long long)p->memory_bytes, is_fine ? "" : ": ", is_fine ? "" : trouble);
    return KSTREAM_FULL;
}

/* ---- put ---- */

/* KSTREAM_OK for nearly every record; else err says why not. */
static enum kstream_status put_refuse(
    const struct kstream_producer *p, const struct ks_record *record, struct kstream_error *err)
{
    size_t bytes = record->key.bytes + record->data.bytes;
    struct ks_error inner = KS_ERROR_INIT;
    enum ks_status st = KS_OK;
    if (p->fatal)
        st = ks_fail(&inner, p->fatal, 0, "%s", p->trouble.text);
    else if (p->is_closing)
        st = ks_fail(&inner, KS_INVALID, 0, "the producer is being closed");
    else if (!ks_key_is_valid(record->key))
        st = ks_fail(&inner, KS_VALIDATION, 0,
            "the partition key is not 1 to %u characters of UTF-8",
            KS_PARTITION_KEY_CHARACTERS_MAX);
    else if (record->data.bytes > KS_RECORD_BYTES_MAX ||
             (p->routing.count > 0 && bytes > p->record_bytes_max))
        st = ks_fail(&inner, KS_TOO_LARGE, 0, "a record of %zu bytes, the stream's limit is %u",
            bytes, p->record_bytes_max);
    return st ? client_result(st, &inner, 0, err) : KSTREAM_OK;
}

static bool put_is_fine(const struct kstream_producer *p, const struct ks_record *record)
{
    return !p->fatal && !p->is_closing && record->data.bytes <= p->record_bytes_max &&
           record->key.bytes <= p->record_bytes_max - record->data.bytes &&
           ks_key_is_valid(record->key);
}

/* Sends when a batch has become full, and looks at the socket now and then. */
static void put_pump(struct kstream_producer *p, uint64_t now_ns)
{
    client_arm(p->client, now_ns + (uint64_t)p->options.linger_ms * 1000000u);
    if (p->is_in_callback || (!p->has_sealed && now_ns - p->pumped_ns < PUMP_EVERY_NS))
        return;
    p->has_sealed = false;
    p->pumped_ns = now_ns;
    producer_pump(p);
}

static enum kstream_status producer_put(struct kstream_producer *p, const struct ks_record *record,
    kstream_ack_fn on_ack, void *arg, struct kstream_error *err)
{
    if (!put_is_fine(p, record)) {
        enum kstream_status refused = put_refuse(p, record, err);
        if (refused)
            return refused;
    }
    struct producer_record taken = {.record = record,
        .encoded_bytes = ks_record_encoded_bytes(
            record->key.bytes, record->data.bytes, record->has_explicit_hash),
        .payload_bytes = record->key.bytes + record->data.bytes,
        .entry = {.on_ack = on_ack, .arg = arg}};
    size_t cost = producer_record_cost(taken.encoded_bytes);
    if (p->routing.count == 0 && !p->is_in_callback)
        producer_pump(p);
    if (p->routing.count == 0 || p->is_unstaging ||
        (!producer_has_room(p, cost) && !producer_make_room(p, cost)))
        return p->fatal ? put_refuse(p, record, err) : put_is_full(p, err);
    /* Each later than the one before: the order of the puts. */
    taken.entry.put_ns = ks_max_u64(client_now_ns(), p->last_put_ns + 1);
    p->last_put_ns = taken.entry.put_ns;
    if (p->memory_bytes == 0)
        producer_begin_waiting(p);
    p->memory_bytes += cost;
    p->stats.records_taken++;
    enum ks_status st = record_take(p, &taken);
    if (st) {
        p->memory_bytes -= cost;
        p->stats.records_taken--;
        struct ks_error inner = KS_ERROR_INIT;
        KS_IGNORE(ks_fail(&inner, st, 0, "cannot take a record of %zu bytes: %s",
                      taken.payload_bytes, ks_status_info(st)->text),
            "only fills it");
        return client_result(st, &inner, 0, err);
    }
    put_pump(p, taken.entry.put_ns);
    return KSTREAM_OK;
}

enum kstream_status kstream_producer_put(struct kstream_producer *producer, const char *key,
    size_t key_bytes, const void *data, size_t data_bytes, kstream_ack_fn on_ack, void *arg,
    struct kstream_error *err)
{
    struct ks_record record = {.key = ks_view_of(key, key ? key_bytes : 0),
        .data = ks_view_of(data, data ? data_bytes : 0)};
    return producer_put(producer, &record, on_ack, arg, err);
}

enum kstream_status kstream_producer_put_hashed(struct kstream_producer *producer,
    const unsigned char explicit_hash_key[16], const char *key, size_t key_bytes, const void *data,
    size_t data_bytes, kstream_ack_fn on_ack, void *arg, struct kstream_error *err)
{
    struct ks_record record = {.key = ks_view_of(key, key ? key_bytes : 0),
        .data = ks_view_of(data, data ? data_bytes : 0),
        .has_explicit_hash = true};
    memcpy(record.explicit_hash, explicit_hash_key, sizeof record.explicit_hash);
    return producer_put(producer, &record, on_ack, arg, err);
}
