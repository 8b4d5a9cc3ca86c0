#include "daemon/heat.h"

#include "base/alloc.h"
#include "proto/batch.h"

#include <string.h>

#define WINDOW_MS 1000u
#define WINDOW_SAMPLES_MAX 400u /* more: look less often */
#define WINDOW_SAMPLES_MIN 100u /* less: more often */
#define INTERVAL_MAX (1u << 20)
#define HALVE_MS 60000u

/* ---- how often ---- */

static void window_count(struct ks_heat *heat, uint64_t mono_ms)
{
    if (mono_ms - heat->window_mono_ms >= WINDOW_MS) {
        if (heat->window_samples < WINDOW_SAMPLES_MIN && heat->interval > 1)
            heat->interval /= 2;
        heat->window_samples = 0;
        heat->window_mono_ms = mono_ms;
    }
    if (++heat->window_samples < WINDOW_SAMPLES_MAX)
        return;
    heat->window_samples = 0;
    heat->window_mono_ms = mono_ms;
    heat->interval = KS_MIN(2 * heat->interval, INTERVAL_MAX);
}

/* ---- the heaviest keys ---- */

/* mu held. */
static void keys_halve(struct ks_heat *heat, uint64_t mono_ms)
{
    if (mono_ms - heat->halved_mono_ms < HALVE_MS)
        return;
    heat->halved_mono_ms = mono_ms;
    for (uint32_t i = 0; i < KS_HEAT_KEYS; i++) {
        heat->keys[i].count /= 2;
        heat->keys[i].error /= 2;
    }
}

/* mu held. */
static void key_count(struct ks_heat *heat, const struct ks_heat_sample *sample, struct ks_view key)
{
    struct ks_heat_key *lightest = &heat->keys[0];
    for (uint32_t i = 0; i < KS_HEAT_KEYS; i++) {
        struct ks_heat_key *at = &heat->keys[i];
        if (at->count > 0 && at->key_id == sample->key_id &&
            at->stream_number == sample->stream_number) {
            at->count += sample->weight;
            at->shard_index = sample->shard_index; /* it moves with a reshard */
            return;
        }
        if (at->count < lightest->count)
            lightest = at;
    }
    size_t bytes = KS_MIN(key.bytes, (size_t)KS_HEAT_KEY_BYTES);
    *lightest = (struct ks_heat_key){.stream_number = sample->stream_number,
        .key_id = sample->key_id,
        .count = lightest->count + sample->weight,
        .error = lightest->count,
        .shard_index = sample->shard_index,
        .key_bytes = (uint8_t)bytes,
        .is_cut = key.bytes > bytes};
    memcpy(lightest->key, key.data, bytes);
}

/* ---- samples ---- */

static void record_sample(struct ks_heat *heat, struct ks_md5 *md5, const struct ks_heat_put *put,
    const struct ks_record_view *record, uint64_t mono_ms)
{
    ks_u128 key_hash = 0;
    if (ks_md5_many(md5, &record->key, 1, &key_hash))
        return;
    bool has_own = record->explicit_hash.bytes == KS_EXPLICIT_HASH_BYTES;
    ks_u128 hash = has_own ? ks_u128_load_be(record->explicit_hash.data) : key_hash;
    const struct ks_heat_sample sample = {.stream_number = put->stream_number,
        .mono_ms = mono_ms,
        .hash_top = (uint64_t)(hash >> 64),
        .key_id = (uint64_t)key_hash,
        .shard_index = put->shard_index,
        .weight = heat->interval,
        .bytes = (uint32_t)(record->key.bytes + record->data.bytes)};
    KS_LOCK_SCOPE(&heat->mu);
    keys_halve(heat, mono_ms);
    heat->samples[heat->sample_count++ % KS_HEAT_SAMPLES] = sample;
    key_count(heat, &sample, record->key);
}

void ks_heat_put(
    struct ks_heat *heat, struct ks_md5 *md5, const struct ks_heat_put *put, uint64_t mono_ms)
{
    struct ks_record_walk walk;
    struct ks_record_view record;
    if (heat->skip >= put->record_count) {
        heat->skip -= put->record_count;
        return;
    }
    ks_record_walk_init(&walk, put->records);
    for (uint32_t i = 0; i < put->record_count && ks_record_walk_next(&walk, &record) == KS_OK;
         i++) {
        if (heat->skip-- > 0)
            continue;
        record_sample(heat, md5, put, &record, mono_ms);
        window_count(heat, mono_ms);
        /* At random distances: keys may come in turns. */
        heat->skip = (uint32_t)ks_prng_below(&heat->prng, 2 * (uint64_t)heat->interval - 1);
        if (heat->skip >= put->record_count - i - 1) { /* the rest is not worth a walk */
            heat->skip -= put->record_count - i - 1;
            return;
        }
    }
}

/* ---- life ---- */

enum ks_status ks_heat_create(unsigned count, struct ks_heat **out_heats, struct ks_error *err)
{
    struct ks_heat *heats = ks_calloc(count, sizeof(heats[0]));
    bool is_fine = heats != NULL;
    for (unsigned i = 0; heats && i < count; i++) {
        ks_mutex_init(&heats[i].mu, KS_RANK_HEAT);
        ks_prng_seed(&heats[i].prng, i);
        heats[i].interval = 1;
        heats[i].samples = ks_calloc(KS_HEAT_SAMPLES, sizeof(heats[i].samples[0]));
        heats[i].keys = ks_calloc(KS_HEAT_KEYS, sizeof(heats[i].keys[0]));
        is_fine = is_fine && heats[i].samples && heats[i].keys;
    }
    if (!is_fine) {
        ks_heat_destroy(heats, count);
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot make the samples of puts");
    }
    *out_heats = heats;
    return KS_OK;
}

void ks_heat_destroy(struct ks_heat *heats, unsigned count)
{
    for (unsigned i = 0; heats && i < count; i++) {
        ks_free(heats[i].samples);
        ks_free(heats[i].keys);
        ks_mutex_fini(&heats[i].mu);
    }
    ks_free(heats);
}
