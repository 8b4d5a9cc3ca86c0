/* The verbs that describe a stream, and shards as JSON. */
#include "tools/ctl_describe.h"

#include "proto/limits.h"
#include "proto/sequence.h"
#include "tools/ctl_limits.h"

#include <string.h>

static enum kstream_status fail_memory(struct kstream_error *err)
{
    return ctl_fail(err, KSTREAM_NO_MEMORY, "out of memory");
}

json_t *ctl_shard_to_json(const struct kstream_shard *shard)
{
    json_t *object = json_pack("{s:s}", "ShardId", shard->shard_id);
    json_t *sequences =
        json_pack("{s:s}", "StartingSequenceNumber", shard->starting_sequence_number);
    bool is_fine = object && sequences;
    if (is_fine && shard->parent_shard_id)
        is_fine = ctl_json_add(object, "ParentShardId", ctl_json_text(shard->parent_shard_id));
    if (is_fine && shard->adjacent_parent_shard_id)
        is_fine = ctl_json_add(
            object, "AdjacentParentShardId", ctl_json_text(shard->adjacent_parent_shard_id));
    if (is_fine && shard->ending_sequence_number)
        is_fine = ctl_json_add(
            sequences, "EndingSequenceNumber", ctl_json_text(shard->ending_sequence_number));
    if (is_fine)
        is_fine = ctl_json_add(object, "HashKeyRange",
                      json_pack("{s:s, s:s}", "StartingHashKey", shard->starting_hash_key,
                          "EndingHashKey", shard->ending_hash_key)) &&
                  ctl_json_add(object, "SequenceNumberRange", json_incref(sequences));
    json_decref(sequences);
    if (is_fine)
        return object;
    json_decref(object);
    return NULL;
}

static json_t *shards_to_json(const struct kstream_shard *shards, size_t count)
{
    json_t *array = json_array();
    for (size_t i = 0; array && i < count; i++) {
        if (json_array_append_new(array, ctl_shard_to_json(&shards[i])) != 0) {
            json_decref(array);
            array = NULL;
        }
    }
    return array;
}

/* The members that both descriptions have. */
static bool add_description(json_t *object, const struct kstream_stream *about)
{
    bool is_fine = ctl_json_add(object, "StreamName", ctl_json_text(about->stream_name)) &&
                   ctl_json_add(object, "StreamARN", ctl_json_text(about->stream_arn)) &&
                   ctl_json_add(object, "StreamStatus", ctl_json_text(about->stream_status));
    if (is_fine && about->stream_mode)
        is_fine = ctl_json_add(
            object, "StreamModeDetails", json_pack("{s:s}", "StreamMode", about->stream_mode));
    if (is_fine && about->encryption_type)
        is_fine = ctl_json_add(object, "EncryptionType", ctl_json_text(about->encryption_type));
    if (is_fine && about->key_id)
        is_fine = ctl_json_add(object, "KeyId", ctl_json_text(about->key_id));
    if (is_fine && about->ack)
        is_fine = ctl_json_add(object, "Ack", ctl_json_text(about->ack));
    if (is_fine && about->purge_unix_ms > 0)
        is_fine = ctl_json_add(object, "PurgeTimestamp", ctl_json_time(about->purge_unix_ms));
    return is_fine &&
           ctl_json_add(object, "RetentionPeriodHours",
               json_integer((json_int_t)about->retention_period_hours)) &&
           ctl_json_add(
               object, "StreamCreationTimestamp", ctl_json_time(about->creation_unix_ms)) &&
           ctl_json_add(object, "EnhancedMonitoring",
               json_pack("[{s:o}]", "ShardLevelMetrics",
                   ctl_json_texts(about->shard_metrics, about->shard_metric_count)));
}

static bool add_summary(json_t *object, const struct kstream_stream *about)
{
    if (about->stream_id && !ctl_json_add(object, "StreamId", ctl_json_text(about->stream_id)))
        return false;
    if (about->max_record_size_kib && !ctl_json_add(object, "MaxRecordSizeInKiB",
                                          json_integer((json_int_t)about->max_record_size_kib)))
        return false;
    if (about->warm_target_mibps &&
        !ctl_json_add(object, "WarmThroughput",
            json_pack("{s:I, s:I}", "TargetMiBps", (json_int_t)about->warm_target_mibps,
                "CurrentMiBps", (json_int_t)about->warm_current_mibps)))
        return false;
    if (about->limits && strcmp(about->limits->mode, "off") != 0 &&
        !ctl_json_add(object, "Limits", ctl_limits_to_json(about->limits)))
        return false;
    return ctl_json_add(
               object, "OpenShardCount", json_integer((json_int_t)about->open_shard_count)) &&
           ctl_json_add(object, "ConsumerCount", json_integer((json_int_t)about->consumer_count));
}

/* The shards behind one, at most so many. All of them have been fetched. */
struct slice {
    size_t from;
    size_t count;
};

static enum kstream_status slice_shards(const struct ctl *ctl, const struct kstream_stream *about,
    struct slice *out, struct kstream_error *err)
{
    uint64_t limit = 0;
    enum kstream_status st = ctl_number(
        ctl, CTL_LIMIT, (struct ctl_range){1, KS_LIST_LIMIT_MAX, about->shard_count}, &limit, err);
    const char *after = ctl_text(ctl, CTL_EXCLUSIVE_START_SHARD);
    uint32_t after_index = 0;
    if (st)
        return st;
    if (after && ks_shard_id_from_text(ks_view_of_text(after), &after_index))
        return ctl_fail(
            err, KSTREAM_USAGE, "'--exclusive-start-shard-id %.60s' is not a shard", after);
    size_t from = 0;
    uint32_t index = 0;
    while (after && from < about->shard_count &&
           !ks_shard_id_from_text(ks_view_of_text(about->shards[from].shard_id), &index) &&
           index <= after_index)
        from++;
    *out = (struct slice){from, KS_MIN(about->shard_count - from, (size_t)limit)};
    return KSTREAM_OK;
}

static bool add_shards(json_t *object, const struct kstream_stream *about, struct slice slice)
{
    bool has_more = slice.from + slice.count < about->shard_count;
    return ctl_json_add(
               object, "Shards", shards_to_json(about->shards + slice.from, slice.count)) &&
           ctl_json_add(object, "HasMoreShards", json_boolean(has_more));
}

enum kstream_status ctl_run_describe_stream(struct ctl *ctl, struct kstream_error *err)
{
    enum kstream_status st = ctl_connect(ctl, err);
    struct kstream_stream *about = NULL;
    struct slice slice = {0, 0};
    if (!st)
        st = kstream_describe_stream(ctl->client, ctl->stream, NULL, &about, err);
    if (!st)
        st = slice_shards(ctl, about, &slice, err);
    if (!st) {
        json_t *object = json_object();
        if (add_description(object, about) && add_shards(object, about, slice))
            ctl->result = json_pack("{s:O}", "StreamDescription", object);
        json_decref(object);
        st = ctl->result ? KSTREAM_OK : fail_memory(err);
    }
    kstream_stream_free(about);
    return st;
}

enum kstream_status ctl_run_describe_stream_summary(struct ctl *ctl, struct kstream_error *err)
{
    enum kstream_status st = ctl_connect(ctl, err);
    struct kstream_stream *about = NULL;
    if (!st)
        st = kstream_describe_stream_summary(ctl->client, ctl->stream, NULL, &about, err);
    if (st)
        return st;
    json_t *object = json_object();
    if (add_description(object, about) && add_summary(object, about))
        ctl->result = json_pack("{s:O}", "StreamDescriptionSummary", object);
    json_decref(object);
    kstream_stream_free(about);
    return ctl->result ? KSTREAM_OK : fail_memory(err);
}
