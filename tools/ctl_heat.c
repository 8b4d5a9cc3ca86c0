/* shard-heat: which shards and keys take the load of the last minute, and what to do about it. */
#include "tools/ctl_native.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define KEYS_DEFAULT 20u
#define KEYS_MAX 512u
#define SHARD_RECORDS_PER_S 1000.0
#define SHARD_BYTES_PER_S 1048576.0
#define HOT_LOAD 0.5        /* of what Kinesis allows a shard */
#define UNEVEN 1.5          /* times what an even share would be */
#define SPLIT_SHARE_MAX 0.8 /* more in one child is no help */

/* Of what Kinesis allows. */
static double load_of(const Kstream__HeatShard *shard)
{
    return fmax(shard->records_per_s / SHARD_RECORDS_PER_S, shard->bytes_per_s / SHARD_BYTES_PER_S);
}

/* NULL: out of memory; JSON null: it is not hot. */
static json_t *advice_of(const struct ctl *ctl, const Kstream__HeatShard *shard, size_t shard_count)
{
    char text[512];
    double load = load_of(shard);
    bool is_uneven = shard_count > 1 && shard->share * (double)shard_count > UNEVEN;
    if (load <= 0 || (load < HOT_LOAD && !is_uneven))
        return json_null();
    if (shard->split_at && shard->has_split_share && shard->split_share <= SPLIT_SHARE_MAX)
        snprintf(text, sizeof text,
            "kstreamctl split-shard --stream-name %s --shard-to-split %s --new-starting-hash-key "
            "%s: the halves would take %.0f %% and %.0f %%",
            ctl->stream_name, shard->shard_id, shard->split_at, 100 * shard->split_share,
            100 - 100 * shard->split_share);
    else
        snprintf(text, sizeof text,
            "a split does not help: %.0f %% of its records have one key; put something more into "
            "the key",
            100 * (shard->has_hottest_key_share ? shard->hottest_key_share : 1));
    return json_string(text);
}

static json_t *key_text(const ProtobufCBinaryData *key)
{
    if (!ctl_is_plain_text(key->data, key->len))
        return ctl_json_bytes(key->data, key->len);
    return json_stringn((const char *)key->data, key->len);
}

static json_t *rounded(double value)
{
    return json_real(round(value * 1000) / 1000);
}

/* NULL: out of memory, as below. */
static json_t *shard_to_json(
    const struct ctl *ctl, const Kstream__HeatShard *shard, size_t shard_count)
{
    return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:s?, s:o, s:o}", "shard_id",
        shard->shard_id, "records_per_s", rounded(shard->records_per_s), "bytes_per_s",
        rounded(shard->bytes_per_s), "share", rounded(shard->share), "load",
        rounded(load_of(shard)), "hottest_key",
        shard->has_hottest_key ? key_text(&shard->hottest_key) : json_null(), "hottest_key_share",
        shard->has_hottest_key_share ? rounded(shard->hottest_key_share) : json_null(), "split_at",
        shard->split_at, "split_share",
        shard->has_split_share ? rounded(shard->split_share) : json_null(), "advice",
        advice_of(ctl, shard, shard_count));
}

static json_t *key_to_json(const Kstream__HeatKey *key)
{
    return json_pack("{s:o, s:b, s:s, s:o, s:o}", "key", key_text(&key->key), "is_cut", key->is_cut,
        "shard_id", key->shard_id, "records_per_s", rounded(key->records_per_s), "share",
        rounded(key->share));
}

static enum kstream_status give(
    struct ctl *ctl, const Kstream__DescribeHeatResponse *answer, struct kstream_error *err)
{
    json_t *shards = json_array();
    json_t *keys = json_array();
    bool is_fine = shards && keys;
    for (size_t i = 0; i < answer->n_shards && is_fine; i++) {
        json_t *shard = shard_to_json(ctl, answer->shards[i], answer->n_shards);
        is_fine = shard && json_array_append_new(shards, shard) == 0;
    }
    for (size_t i = 0; i < answer->n_keys && is_fine; i++) {
        json_t *key = key_to_json(answer->keys[i]);
        is_fine = key && json_array_append_new(keys, key) == 0;
    }
    if (is_fine)
        ctl->result =
            json_pack("{s:O, s:O, s:f, s:I}", "shards", shards, "keys", keys, "window_seconds",
                (double)answer->window_ms / 1000, "samples", (json_int_t)answer->samples);
    json_decref(shards);
    json_decref(keys);
    ctl->list_member = "shards";
    return ctl->result ? KSTREAM_OK : ctl_fail(err, KSTREAM_NO_MEMORY, "out of memory");
}

enum kstream_status ctl_run_shard_heat(struct ctl *ctl, struct kstream_error *err)
{
    Kstream__DescribeHeatRequest request = KSTREAM__DESCRIBE_HEAT_REQUEST__INIT;
    ProtobufCMessage *message = NULL;
    struct ks_arena arena;
    uint64_t keys = 0;
    enum kstream_status st =
        ctl_number(ctl, CTL_KEYS, (struct ctl_range){0, KEYS_MAX, KEYS_DEFAULT}, &keys, err);
    if (!st)
        st = ctl_connect(ctl, err);
    if (st)
        return st;
    ctl_name_stream(ctl, &request.stream_name, &request.stream_arn);
    request.has_keys = true;
    request.keys = (int32_t)keys;
    ks_arena_init(&arena, CTL_ANSWER_BYTES_MAX);
    st = ctl_call(ctl, KS_OP_DESCRIBE_HEAT, &request.base, &arena, &message, err);
    if (!st)
        st = give(ctl, (const void *)message, err);
    ks_arena_fini(&arena);
    return st;
}
