/* The verbs about streams and shards. */
#include "proto/limits.h"
#include "tools/ctl.h"

#include <string.h>
#include <unistd.h>

static enum kstream_status fail_memory(struct kstream_error *err)
{
    return ctl_fail(err, KSTREAM_NO_MEMORY, "out of memory");
}

/* ---- create, delete ---- */

/* NULL: the broker's default. */
static enum kstream_status read_ack(
    struct ctl *ctl, const char **out_ack, struct kstream_error *err)
{
    *out_ack = ctl_text(ctl, CTL_ACK);
    if (!*out_ack || strcmp(*out_ack, "durable") == 0 || strcmp(*out_ack, "memory") == 0)
        return KSTREAM_OK;
    return ctl_fail(err, KSTREAM_USAGE, "--ack is durable or memory, not '%.64s'", *out_ack);
}

enum kstream_status ctl_run_create_stream(struct ctl *ctl, struct kstream_error *err)
{
    const char *stream = ctl_text(ctl, CTL_STREAM_NAME);
    uint64_t shard_count = 0;
    uint64_t record_kib = 0;
    const char *ack = NULL;
    enum kstream_status st =
        ctl_number(ctl, CTL_SHARD_COUNT, (struct ctl_range){1, UINT32_MAX, 1}, &shard_count, err);
    if (!st)
        st = ctl_number(ctl, CTL_MAX_RECORD_KIB,
            (struct ctl_range){KS_RECORD_KIB_MIN, KS_RECORD_KIB_MAX, 0}, &record_kib, err);
    if (!st)
        st = read_ack(ctl, &ack, err);
    if (!st)
        st = ctl_connect(ctl, err);
    if (st)
        return st;
    struct kstream_create_options options = KSTREAM_CREATE_OPTIONS_INIT;
    options.timeout_ms = ctl->timeout_ms;
    options.shard_count = (uint32_t)shard_count;
    options.max_record_size_kib = (uint32_t)record_kib;
    options.ack = ack;
    options.wait_until_active = !ctl_has(ctl, CTL_NO_WAIT);
    st = kstream_create_stream(ctl->client, stream, &options, err);
    if (st)
        return st;
    ctl->result = json_pack("{s:s, s:s}", "StreamName", stream, "StreamStatus",
        options.wait_until_active ? "ACTIVE" : "CREATING");
    return ctl->result ? KSTREAM_OK : fail_memory(err);
}

/* On a terminal the name has to be typed; elsewhere nobody can be asked. */
static enum kstream_status confirm_delete(
    struct ctl *ctl, const char *stream, struct kstream_error *err)
{
    if (ctl_has(ctl, CTL_YES))
        return KSTREAM_OK;
    if (!isatty(STDIN_FILENO)) {
        ctl->hint = "add --yes to delete without being asked";
        return ctl_fail(
            err, KSTREAM_USAGE, "'%.128s' and all its records would be deleted", stream);
    }
    fprintf(stderr, "This deletes the stream and all its records. Type its name to go on: ");
    char line[KS_STREAM_NAME_BYTES_MAX + 2] = "";
    if (!fgets(line, sizeof line, stdin))
        line[0] = '\0';
    line[strcspn(line, "\n")] = '\0';
    if (strcmp(line, stream) != 0) {
        ctl->hint = "nothing has changed";
        return ctl_fail(err, KSTREAM_USAGE, "that is not '%.128s'", stream);
    }
    return KSTREAM_OK;
}

enum kstream_status ctl_run_delete_stream(struct ctl *ctl, struct kstream_error *err)
{
    const char *stream = ctl_text(ctl, CTL_STREAM_NAME);
    enum kstream_status st = confirm_delete(ctl, stream, err);
    if (!st)
        st = ctl_connect(ctl, err);
    if (!st)
        st = kstream_delete_stream(ctl->client, stream, NULL, err);
    if (st)
        return st;
    ctl->result = json_pack("{s:s, s:s}", "StreamName", stream, "StreamStatus", "DELETING");
    return ctl->result ? KSTREAM_OK : fail_memory(err);
}

/* ---- list-streams ---- */

static json_t *summary_to_json(const struct kstream_stream_summary *summary)
{
    json_t *object = json_object();
    bool is_fine = ctl_json_add(object, "StreamName", ctl_json_text(summary->stream_name)) &&
                   ctl_json_add(object, "StreamARN", ctl_json_text(summary->stream_arn)) &&
                   ctl_json_add(object, "StreamStatus", ctl_json_text(summary->stream_status));
    if (is_fine && summary->stream_mode)
        is_fine = ctl_json_add(
            object, "StreamModeDetails", json_pack("{s:s}", "StreamMode", summary->stream_mode));
    if (is_fine)
        is_fine = ctl_json_add(
            object, "StreamCreationTimestamp", ctl_json_time(summary->creation_unix_ms));
    if (is_fine)
        return object;
    json_decref(object);
    return NULL;
}

/* A page's streams, at most so many. False: out of memory. */
static bool add_page(
    const struct kstream_stream_list *page, size_t items, json_t *names, json_t *summaries)
{
    for (size_t i = 0; i < page->stream_count && i < items; i++) {
        if (json_array_append_new(names, ctl_json_text(page->streams[i].stream_name)) != 0 ||
            json_array_append_new(summaries, summary_to_json(&page->streams[i])) != 0)
            return false;
    }
    return true;
}

/* The pages from after the name in last on, which ends as the last name listed. */
static enum kstream_status list_pages(struct ctl *ctl, json_t *names, json_t *summaries,
    char last[KS_STREAM_NAME_BYTES_MAX + 1], uint64_t items_max, bool *out_has_more,
    struct kstream_error *err)
{
    struct kstream_list_streams_options options = KSTREAM_LIST_STREAMS_OPTIONS_INIT;
    *out_has_more = true;
    while (*out_has_more && json_array_size(names) < items_max) {
        options.exclusive_start_stream_name = last[0] ? last : NULL;
        struct kstream_stream_list *page = NULL;
        enum kstream_status st = kstream_list_streams(ctl->client, &options, &page, err);
        if (st)
            return st;
        size_t left = (size_t)(items_max - json_array_size(names));
        bool is_fine = add_page(page, left, names, summaries);
        size_t taken = KS_MIN(page->stream_count, left);
        *out_has_more = (page->has_more || taken < page->stream_count) && taken > 0;
        if (taken > 0)
            snprintf(
                last, KS_STREAM_NAME_BYTES_MAX + 1, "%s", page->streams[taken - 1].stream_name);
        kstream_stream_list_free(page);
        if (!is_fine)
            return fail_memory(err);
    }
    return KSTREAM_OK;
}

enum kstream_status ctl_run_list_streams(struct ctl *ctl, struct kstream_error *err)
{
    uint64_t items_max = 0;
    enum kstream_status st = ctl_number(
        ctl, CTL_MAX_ITEMS, (struct ctl_range){1, UINT32_MAX, UINT32_MAX}, &items_max, err);
    if (!st)
        st = ctl_connect(ctl, err);
    if (st)
        return st;
    char last[KS_STREAM_NAME_BYTES_MAX + 1] = "";
    if (ctl_has(ctl, CTL_STARTING_TOKEN))
        snprintf(last, sizeof last, "%s", ctl_text(ctl, CTL_STARTING_TOKEN));
    json_t *names = json_array();
    json_t *summaries = json_array();
    bool has_more = false;
    if (!names || !summaries)
        st = fail_memory(err);
    else
        st = list_pages(ctl, names, summaries, last, items_max, &has_more, err);
    if (!st) {
        ctl->result = json_pack("{s:O, s:O}", "StreamNames", names, "StreamSummaries", summaries);
        ctl->list_member = "StreamSummaries";
        if (!ctl->result ||
            (has_more && !ctl_json_add(ctl->result, "NextToken", ctl_json_text(last))))
            st = fail_memory(err);
    }
    json_decref(names);
    json_decref(summaries);
    return st;
}

/* ---- describe ---- */

static json_t *shard_to_json(const struct kstream_shard *shard)
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
        if (json_array_append_new(array, shard_to_json(&shards[i])) != 0) {
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
    return is_fine &&
           ctl_json_add(object, "RetentionPeriodHours",
               json_integer((json_int_t)about->retention_period_hours)) &&
           ctl_json_add(
               object, "StreamCreationTimestamp", ctl_json_time(about->creation_unix_ms)) &&
           ctl_json_add(object, "EnhancedMonitoring", json_pack("[{s:[]}]", "ShardLevelMetrics"));
}

static bool add_summary(json_t *object, const struct kstream_stream *about)
{
    if (about->stream_id && !ctl_json_add(object, "StreamId", ctl_json_text(about->stream_id)))
        return false;
    if (about->max_record_size_kib && !ctl_json_add(object, "MaxRecordSizeInKiB",
                                          json_integer((json_int_t)about->max_record_size_kib)))
        return false;
    return ctl_json_add(
               object, "OpenShardCount", json_integer((json_int_t)about->open_shard_count)) &&
           ctl_json_add(object, "ConsumerCount", json_integer((json_int_t)about->consumer_count));
}

enum kstream_status ctl_run_describe_stream(struct ctl *ctl, struct kstream_error *err)
{
    enum kstream_status st = ctl_connect(ctl, err);
    struct kstream_stream *about = NULL;
    if (!st)
        st =
            kstream_describe_stream(ctl->client, ctl_text(ctl, CTL_STREAM_NAME), NULL, &about, err);
    if (st)
        return st;
    json_t *object = json_object();
    if (add_description(object, about) &&
        ctl_json_add(object, "Shards", shards_to_json(about->shards, about->shard_count)) &&
        ctl_json_add(object, "HasMoreShards", json_false()))
        ctl->result = json_pack("{s:O}", "StreamDescription", object);
    json_decref(object);
    kstream_stream_free(about);
    return ctl->result ? KSTREAM_OK : fail_memory(err);
}

enum kstream_status ctl_run_describe_stream_summary(struct ctl *ctl, struct kstream_error *err)
{
    enum kstream_status st = ctl_connect(ctl, err);
    struct kstream_stream *about = NULL;
    if (!st)
        st = kstream_describe_stream_summary(
            ctl->client, ctl_text(ctl, CTL_STREAM_NAME), NULL, &about, err);
    if (st)
        return st;
    json_t *object = json_object();
    if (add_description(object, about) && add_summary(object, about))
        ctl->result = json_pack("{s:O}", "StreamDescriptionSummary", object);
    json_decref(object);
    kstream_stream_free(about);
    return ctl->result ? KSTREAM_OK : fail_memory(err);
}

/* ---- list-shards ---- */

#define TOKEN_BYTES 1024

enum kstream_status ctl_each_shard(
    struct ctl *ctl, ctl_shard_fn each, void *arg, struct kstream_error *err)
{
    char token[TOKEN_BYTES] = "";
    for (;;) {
        struct kstream_list_shards_options options = KSTREAM_LIST_SHARDS_OPTIONS_INIT;
        options.next_token = token[0] ? token : NULL;
        struct kstream_shard_list *page = NULL;
        enum kstream_status st = kstream_list_shards(ctl->client,
            options.next_token ? NULL : ctl_text(ctl, CTL_STREAM_NAME), &options, &page, err);
        if (st)
            return st;
        bool is_fine = true;
        for (size_t i = 0; is_fine && i < page->shard_count; i++)
            is_fine = each(&page->shards[i], arg);
        int length = snprintf(token, sizeof token, "%s", page->next_token ? page->next_token : "");
        kstream_shard_list_free(page);
        if (!is_fine)
            return fail_memory(err);
        if (length >= TOKEN_BYTES)
            return ctl_fail(err, KSTREAM_PROTOCOL, "the broker's NextToken is too long");
        if (length == 0)
            return KSTREAM_OK;
    }
}

static bool append_shard(const struct kstream_shard *shard, void *arg)
{
    json_t *shards = arg;
    return json_array_append_new(shards, shard_to_json(shard)) == 0;
}

enum kstream_status ctl_run_list_shards(struct ctl *ctl, struct kstream_error *err)
{
    enum kstream_status st = ctl_connect(ctl, err);
    if (st)
        return st;
    json_t *shards = json_array();
    st = ctl_each_shard(ctl, append_shard, shards, err);
    if (!st) {
        ctl->result = json_pack("{s:O}", "Shards", shards);
        ctl->list_member = "Shards";
        st = ctl->result ? KSTREAM_OK : fail_memory(err);
    }
    json_decref(shards);
    return st;
}
