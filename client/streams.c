/* The calls about streams and shards. A result keeps the unpacked answers in its arena and points
 * into them. */
#include "base/alloc.h"
#include "client/client.h"

#include <poll.h>

#define ACTIVE_POLL_MS_MIN 2u   /* a stream is made in a millisecond or two: look again soon, */
#define ACTIVE_POLL_MS_MAX 200u /* then ever more rarely */

/* Each result is its public struct followed by what owns the memory. */
struct stream_result {
    struct kstream_stream stream; /* first member */
    struct kstream_shard *shards;
    struct ks_arena arena;
};

struct stream_list_result {
    struct kstream_stream_list list; /* first member */
    struct ks_arena arena;
};

struct shard_list_result {
    struct kstream_shard_list list; /* first member */
    struct ks_arena arena;
};

KS_DEFINE_CLEANUP(struct kstream_stream, kstream_stream_free)
KS_DEFINE_CLEANUP(struct kstream_stream_list, kstream_stream_list_free)
KS_DEFINE_CLEANUP(struct kstream_shard_list, kstream_shard_list_free)

static enum ks_status stream_name_check(const char *stream, struct ks_error *err)
{
    if (!stream || stream[0] == '\0')
        return ks_fail(err, KS_INVALID, 0, "the name of the stream is missing");
    return KS_OK;
}

/* An exchange whose answer has nothing in it. */
static enum ks_status stream_command(
    struct kstream_client *client, const struct client_exchange *exchange, struct ks_error *err)
{
    struct client_answer answer = {.frame = NULL};
    enum ks_status st = client_exchange(client, exchange, &answer, err);
    if (st == KS_OK)
        ks_free(answer.frame);
    return st;
}

/* ---- describe ---- */

static void shard_fill(struct kstream_shard *to, const Kstream__Shard *from)
{
    *to = (struct kstream_shard){
        .shard_id = from->shard_id,
        .parent_shard_id = from->parent_shard_id,
        .adjacent_parent_shard_id = from->adjacent_parent_shard_id,
        .starting_hash_key = from->hash_key_range->starting_hash_key,
        .ending_hash_key = from->hash_key_range->ending_hash_key,
        .starting_sequence_number = from->sequence_number_range->starting_sequence_number,
        .ending_sequence_number = from->sequence_number_range->ending_sequence_number,
    };
}

static enum ks_status stream_append_shards(
    struct stream_result *result, const Kstream__StreamDescription *page, struct ks_error *err)
{
    size_t count = result->stream.shard_count + page->n_shards;
    if (page->n_shards == 0)
        return KS_OK;
    struct kstream_shard *shards = ks_realloc(result->shards, count * sizeof *shards);
    if (!shards)
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory for %zu shards", count);
    result->shards = shards;
    for (size_t i = 0; i < page->n_shards; i++) {
        struct kstream_shard *shard = &shards[result->stream.shard_count++];
        shard_fill(shard, page->shards[i]);
        if (!shard->ending_sequence_number)
            result->stream.open_shard_count++;
    }
    result->stream.shards = shards;
    return KS_OK;
}

/* Kinesis has a list of one. */
static void metrics_fill(
    struct kstream_stream *to, Kstream__EnhancedMetrics *const *list, size_t count)
{
    if (count == 0)
        return;
    to->shard_metrics = (const char *const *)list[0]->shard_level_metrics;
    to->shard_metric_count = list[0]->n_shard_level_metrics;
}

static void stream_fill(struct kstream_stream *to, const Kstream__StreamDescription *from)
{
    to->stream_name = from->stream_name;
    to->stream_arn = from->stream_arn;
    to->stream_status = from->stream_status;
    to->stream_mode = from->stream_mode_details ? from->stream_mode_details->stream_mode : NULL;
    to->encryption_type = from->encryption_type;
    to->key_id = from->key_id;
    to->retention_period_hours = (uint32_t)from->retention_period_hours;
    to->creation_unix_ms = from->stream_creation_timestamp_unix_ms;
    to->purge_unix_ms = from->has_purge_unix_ms ? from->purge_unix_ms : 0;
    to->ack = from->ack;
    metrics_fill(to, from->enhanced_monitoring, from->n_enhanced_monitoring);
}

/* Fetches the page behind the shards already there; *out_more: there are more. */
static enum ks_status stream_describe_page(struct kstream_client *client, const char *stream,
    uint64_t deadline_ns, struct stream_result *result, bool *out_more, struct ks_error *err)
{
    Kstream__DescribeStreamRequest request = KSTREAM__DESCRIBE_STREAM_REQUEST__INIT;
    CLIENT_NAME_STREAM(&request, stream);
    if (result->stream.shard_count > 0)
        request.exclusive_start_shard_id =
            client_text(result->shards[result->stream.shard_count - 1].shard_id);
    struct client_exchange exchange = {.op = KS_OP_DESCRIBE_STREAM,
        .request = &request.base,
        .deadline_ns = deadline_ns,
        .is_repeatable = true};
    ProtobufCMessage *message = NULL;
    enum ks_status st = client_call(client, &exchange, &result->arena, &message, err);
    if (st)
        return st;
    const Kstream__StreamDescription *page =
        ((const Kstream__DescribeStreamResponse *)(const void *)message)->stream_description;
    stream_fill(&result->stream, page);
    /* A page that is empty and yet not the last would repeat for ever. */
    *out_more = page->has_more_shards && page->n_shards > 0;
    return stream_append_shards(result, page, err);
}

static enum ks_status stream_describe(struct kstream_client *client, const char *stream,
    const struct kstream_call_options *options, struct kstream_stream **out_stream,
    struct ks_error *err)
{
    enum ks_status st = stream_name_check(stream, err);
    if (st == KS_OK)
        st = client_check_place(out_stream, err);
    if (st)
        return st;
    struct stream_result *result = ks_zalloc(sizeof *result);
    if (!result)
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory for the description of a stream");
    ks_arena_init(&result->arena, CLIENT_ANSWER_BYTES_MAX);
    KS_CLEANUP(kstream_stream_freep) struct kstream_stream *owned = &result->stream;
    uint64_t deadline_ns = client_call_deadline_ns(client, CLIENT_OPTION(options, timeout_ms, 0));
    for (bool more = true; more;) {
        st = stream_describe_page(client, stream, deadline_ns, result, &more, err);
        if (st)
            return st;
    }
    *out_stream = KS_TAKE(owned);
    return KS_OK;
}

static enum ks_status limits_fill(
    struct stream_result *result, const Kstream__StreamLimits *from, struct ks_error *err)
{
    if (!from)
        return KS_OK;
    struct kstream_stream_limits *limits = ks_arena_zalloc(&result->arena, sizeof *limits);
    if (!limits)
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory for the description of a stream");
    *limits = (struct kstream_stream_limits){.size = sizeof *limits,
        .mode = from->mode,
        .write_bytes_per_second = from->write_bytes_per_second,
        .write_records_per_second = from->write_records_per_second,
        .read_bytes_per_second = from->read_bytes_per_second,
        .read_calls_per_second = from->read_calls_per_second,
        .records_per_day = from->records_per_day,
        .client_bytes_per_second = from->client_bytes_per_second,
        .client_records_per_second = from->client_records_per_second};
    result->stream.limits = limits;
    return KS_OK;
}

static void stream_fill_summary(
    struct kstream_stream *to, const Kstream__StreamDescriptionSummary *from)
{
    *to = (struct kstream_stream){
        .stream_name = from->stream_name,
        .stream_arn = from->stream_arn,
        .stream_id = from->stream_id,
        .stream_status = from->stream_status,
        .stream_mode = from->stream_mode_details ? from->stream_mode_details->stream_mode : NULL,
        .encryption_type = from->encryption_type,
        .key_id = from->key_id,
        .retention_period_hours = (uint32_t)from->retention_period_hours,
        .open_shard_count = (uint32_t)from->open_shard_count,
        .consumer_count = from->has_consumer_count ? (uint32_t)from->consumer_count : 0,
        .max_record_size_kib =
            from->has_max_record_size_in_kib ? (uint32_t)from->max_record_size_in_kib : 0,
        .creation_unix_ms = from->stream_creation_timestamp_unix_ms,
        .purge_unix_ms = from->has_purge_unix_ms ? from->purge_unix_ms : 0,
        .ack = from->ack,
        .warm_target_mibps =
            from->warm_throughput ? (uint32_t)from->warm_throughput->target_mibps : 0,
        .warm_current_mibps =
            from->warm_throughput ? (uint32_t)from->warm_throughput->current_mibps : 0,
    };
    metrics_fill(to, from->enhanced_monitoring, from->n_enhanced_monitoring);
}

static enum ks_status stream_summary(struct kstream_client *client, const char *stream,
    uint64_t deadline_ns, struct kstream_stream **out_stream, struct ks_error *err)
{
    enum ks_status st = stream_name_check(stream, err);
    if (st == KS_OK)
        st = client_check_place(out_stream, err);
    if (st)
        return st;
    struct stream_result *result = ks_zalloc(sizeof *result);
    if (!result)
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory for the description of a stream");
    ks_arena_init(&result->arena, CLIENT_ANSWER_BYTES_MAX);
    KS_CLEANUP(kstream_stream_freep) struct kstream_stream *owned = &result->stream;
    Kstream__DescribeStreamSummaryRequest request = KSTREAM__DESCRIBE_STREAM_SUMMARY_REQUEST__INIT;
    CLIENT_NAME_STREAM(&request, stream);
    struct client_exchange exchange = {.op = KS_OP_DESCRIBE_STREAM_SUMMARY,
        .request = &request.base,
        .deadline_ns = deadline_ns,
        .is_repeatable = true};
    ProtobufCMessage *message = NULL;
    st = client_call(client, &exchange, &result->arena, &message, err);
    if (st)
        return st;
    const Kstream__StreamDescriptionSummary *about =
        ((const Kstream__DescribeStreamSummaryResponse *)(const void *)message)
            ->stream_description_summary;
    stream_fill_summary(&result->stream, about);
    st = limits_fill(result, about->limits, err);
    if (st)
        return st;
    *out_stream = KS_TAKE(owned);
    return KS_OK;
}

enum kstream_status kstream_describe_stream(struct kstream_client *client, const char *stream,
    const struct kstream_call_options *options, struct kstream_stream **out_stream,
    struct kstream_error *err)
{
    struct ks_error inner = client_begin(client);
    enum ks_status st = stream_describe(client, stream, options, out_stream, &inner);
    return client_result(st, &inner, client->last_request_id, err);
}

enum kstream_status kstream_describe_stream_summary(struct kstream_client *client,
    const char *stream, const struct kstream_call_options *options,
    struct kstream_stream **out_stream, struct kstream_error *err)
{
    struct ks_error inner = client_begin(client);
    uint64_t deadline_ns = client_call_deadline_ns(client, CLIENT_OPTION(options, timeout_ms, 0));
    enum ks_status st = stream_summary(client, stream, deadline_ns, out_stream, &inner);
    return client_result(st, &inner, client->last_request_id, err);
}

void kstream_stream_free(struct kstream_stream *stream)
{
    if (!stream)
        return;
    struct stream_result *result = KS_CONTAINER_OF(stream, struct stream_result, stream);
    ks_arena_fini(&result->arena);
    ks_free(result->shards);
    ks_free(result);
}

/* ---- create, delete ---- */

static enum ks_status stream_wait_active(
    struct kstream_client *client, const char *stream, uint64_t deadline_ns, struct ks_error *err)
{
    for (uint32_t pause_ms = ACTIVE_POLL_MS_MIN;;
         pause_ms = KS_MIN(pause_ms * 2, ACTIVE_POLL_MS_MAX)) {
        struct kstream_stream *about = NULL;
        enum ks_status st = stream_summary(client, stream, deadline_ns, &about, err);
        if (st)
            return st;
        bool is_creating = strcmp(about->stream_status, "CREATING") == 0;
        kstream_stream_free(about);
        if (!is_creating)
            return KS_OK;
        uint64_t wake_ns = client_deadline_ns(pause_ms);
        if (wake_ns >= deadline_ns)
            return ks_fail(err, KS_TIMEOUT, 0, "stream '%s' is made but not yet active", stream);
        KS_IGNORE(poll(NULL, 0, client_poll_ms(wake_ns)), "an interrupted pause is a short one");
    }
}

static enum ks_status stream_create(struct kstream_client *client, const char *stream,
    const struct kstream_create_options *options, struct ks_error *err)
{
    enum ks_status st = stream_name_check(stream, err);
    if (st)
        return st;
    uint32_t shard_count = CLIENT_OPTION(options, shard_count, 1);
    uint32_t record_kib = CLIENT_OPTION(options, max_record_size_kib, 0);
    uint32_t warm_mibps = CLIENT_OPTION(options, warm_throughput_mibps, 0);
    size_t tag_count = CLIENT_OPTION(options, tag_count, 0);
    if (shard_count > INT32_MAX || record_kib > INT32_MAX || warm_mibps > INT32_MAX)
        return ks_fail(err, KS_INVALID, 0, "a number of the options is too large");
    bool is_on_demand = CLIENT_OPTION(options, on_demand, 0) != 0;
    Kstream__StreamModeDetails mode = KSTREAM__STREAM_MODE_DETAILS__INIT;
    mode.stream_mode = client_text(is_on_demand ? "ON_DEMAND" : "PROVISIONED");
    Kstream__CreateStreamRequest request = KSTREAM__CREATE_STREAM_REQUEST__INIT;
    request.stream_name = client_text(stream);
    request.stream_mode_details = &mode;
    request.has_shard_count = !is_on_demand;
    request.shard_count = (int32_t)shard_count;
    request.has_max_record_size_in_kib = record_kib > 0;
    request.max_record_size_in_kib = (int32_t)record_kib;
    request.has_warm_throughput_mibps = warm_mibps > 0;
    request.warm_throughput_mibps = (int32_t)warm_mibps;
    KS_AUTO_FREE Kstream__Tag **tags = NULL;
    st = client_tags_make(CLIENT_OPTION(options, tags, NULL), tag_count, &tags, err);
    if (st)
        return st;
    request.tags = tags;
    request.n_tags = tag_count;
    const char *ack = CLIENT_OPTION(options, ack, NULL);
    request.ack = ack ? client_text(ack) : NULL;
    uint64_t deadline_ns = client_call_deadline_ns(client, CLIENT_OPTION(options, timeout_ms, 0));
    struct client_exchange exchange = {
        .op = KS_OP_CREATE_STREAM, .request = &request.base, .deadline_ns = deadline_ns};
    st = stream_command(client, &exchange, err);
    if (st || !CLIENT_OPTION(options, wait_until_active, 1))
        return st;
    return stream_wait_active(client, stream, deadline_ns, err);
}

enum kstream_status kstream_create_stream(struct kstream_client *client, const char *stream,
    const struct kstream_create_options *options, struct kstream_error *err)
{
    struct ks_error inner = client_begin(client);
    enum ks_status st = stream_create(client, stream, options, &inner);
    return client_result(st, &inner, client->last_request_id, err);
}

enum kstream_status kstream_delete_stream(struct kstream_client *client, const char *stream,
    const struct kstream_call_options *options, struct kstream_error *err)
{
    struct ks_error inner = client_begin(client);
    enum ks_status st = stream_name_check(stream, &inner);
    if (st == KS_OK) {
        Kstream__DeleteStreamRequest request = KSTREAM__DELETE_STREAM_REQUEST__INIT;
        CLIENT_NAME_STREAM(&request, stream);
        struct client_exchange exchange = {.op = KS_OP_DELETE_STREAM,
            .request = &request.base,
            .deadline_ns = client_call_deadline_ns(client, CLIENT_OPTION(options, timeout_ms, 0))};
        st = stream_command(client, &exchange, &inner);
    }
    return client_result(st, &inner, client->last_request_id, err);
}

/* ---- lists ---- */

static enum ks_status stream_list_fill(struct stream_list_result *result,
    const Kstream__ListStreamsResponse *page, struct ks_error *err)
{
    size_t count = page->n_stream_names;
    struct kstream_stream_summary *streams =
        ks_arena_zalloc(&result->arena, count * sizeof *streams);
    if (!streams)
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory for %zu streams", count);
    for (size_t i = 0; i < count; i++)
        streams[i].stream_name = page->stream_names[i];
    for (size_t i = 0; i < count && i < page->n_stream_summaries; i++) {
        const Kstream__StreamSummary *from = page->stream_summaries[i];
        streams[i] = (struct kstream_stream_summary){
            .stream_name = from->stream_name,
            .stream_arn = from->stream_arn,
            .stream_status = from->stream_status,
            .stream_mode =
                from->stream_mode_details ? from->stream_mode_details->stream_mode : NULL,
            .creation_unix_ms = from->stream_creation_timestamp_unix_ms,
        };
    }
    result->list = (struct kstream_stream_list){.streams = streams,
        .stream_count = count,
        .has_more = page->has_more_streams,
        .next_token = page->next_token};
    return KS_OK;
}

static enum ks_status stream_list(struct kstream_client *client,
    const struct kstream_list_streams_options *options, struct kstream_stream_list **out_list,
    struct ks_error *err)
{
    enum ks_status st = client_check_place(out_list, err);
    if (st)
        return st;
    struct stream_list_result *result = ks_zalloc(sizeof *result);
    if (!result)
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory for a list of streams");
    ks_arena_init(&result->arena, CLIENT_ANSWER_BYTES_MAX);
    KS_CLEANUP(kstream_stream_list_freep) struct kstream_stream_list *owned = &result->list;
    Kstream__ListStreamsRequest request = KSTREAM__LIST_STREAMS_REQUEST__INIT;
    uint32_t limit = CLIENT_OPTION(options, limit, 0);
    request.has_limit = limit > 0;
    request.limit = (int32_t)KS_MIN(limit, (uint32_t)INT32_MAX);
    request.exclusive_start_stream_name =
        client_text(CLIENT_OPTION(options, exclusive_start_stream_name, NULL));
    request.next_token = client_text(CLIENT_OPTION(options, next_token, NULL));
    struct client_exchange exchange = {.op = KS_OP_LIST_STREAMS,
        .request = &request.base,
        .deadline_ns = client_call_deadline_ns(client, CLIENT_OPTION(options, timeout_ms, 0)),
        .is_repeatable = true};
    ProtobufCMessage *message = NULL;
    st = client_call(client, &exchange, &result->arena, &message, err);
    if (st == KS_OK)
        st = stream_list_fill(result, (const void *)message, err);
    if (st == KS_OK)
        *out_list = KS_TAKE(owned);
    return st;
}

enum kstream_status kstream_list_streams(struct kstream_client *client,
    const struct kstream_list_streams_options *options, struct kstream_stream_list **out_list,
    struct kstream_error *err)
{
    struct ks_error inner = client_begin(client);
    enum ks_status st = stream_list(client, options, out_list, &inner);
    return client_result(st, &inner, client->last_request_id, err);
}

void kstream_stream_list_free(struct kstream_stream_list *list)
{
    if (!list)
        return;
    struct stream_list_result *result = KS_CONTAINER_OF(list, struct stream_list_result, list);
    ks_arena_fini(&result->arena);
    ks_free(result);
}

static enum ks_status shard_list_fill(
    struct shard_list_result *result, const Kstream__ListShardsResponse *page, struct ks_error *err)
{
    struct kstream_shard *shards = ks_arena_zalloc(&result->arena, page->n_shards * sizeof *shards);
    if (!shards)
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory for %zu shards", page->n_shards);
    for (size_t i = 0; i < page->n_shards; i++)
        shard_fill(&shards[i], page->shards[i]);
    result->list = (struct kstream_shard_list){
        .shards = shards, .shard_count = page->n_shards, .next_token = page->next_token};
    return KS_OK;
}

static enum ks_status shard_list(struct kstream_client *client, const char *stream,
    const struct kstream_list_shards_options *options, struct kstream_shard_list **out_list,
    struct ks_error *err)
{
    enum ks_status st = client_check_place(out_list, err);
    if (st)
        return st;
    struct shard_list_result *result = ks_zalloc(sizeof *result);
    if (!result)
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory for a list of shards");
    ks_arena_init(&result->arena, CLIENT_ANSWER_BYTES_MAX);
    KS_CLEANUP(kstream_shard_list_freep) struct kstream_shard_list *owned = &result->list;
    Kstream__ListShardsRequest request = KSTREAM__LIST_SHARDS_REQUEST__INIT;
    Kstream__ShardFilter filter = KSTREAM__SHARD_FILTER__INIT;
    filter.type = client_text(CLIENT_OPTION(options, filter_type, NULL));
    filter.shard_id = client_text(CLIENT_OPTION(options, filter_shard_id, NULL));
    filter.timestamp_unix_ms = CLIENT_OPTION(options, filter_timestamp_unix_ms, 0);
    filter.has_timestamp_unix_ms = filter.timestamp_unix_ms > 0;
    if (filter.type)
        request.shard_filter = &filter;
    if (stream)
        CLIENT_NAME_STREAM(&request, stream);
    uint32_t results_max = CLIENT_OPTION(options, max_results, 0);
    request.has_max_results = results_max > 0;
    request.max_results = (int32_t)KS_MIN(results_max, (uint32_t)INT32_MAX);
    request.next_token = client_text(CLIENT_OPTION(options, next_token, NULL));
    request.exclusive_start_shard_id =
        client_text(CLIENT_OPTION(options, exclusive_start_shard_id, NULL));
    struct client_exchange exchange = {.op = KS_OP_LIST_SHARDS,
        .request = &request.base,
        .deadline_ns = client_call_deadline_ns(client, CLIENT_OPTION(options, timeout_ms, 0)),
        .is_repeatable = true};
    ProtobufCMessage *message = NULL;
    st = client_call(client, &exchange, &result->arena, &message, err);
    if (st == KS_OK)
        st = shard_list_fill(result, (const void *)message, err);
    if (st == KS_OK)
        *out_list = KS_TAKE(owned);
    return st;
}

enum kstream_status kstream_list_shards(struct kstream_client *client, const char *stream,
    const struct kstream_list_shards_options *options, struct kstream_shard_list **out_list,
    struct kstream_error *err)
{
    struct ks_error inner = client_begin(client);
    enum ks_status st = shard_list(client, stream, options, out_list, &inner);
    return client_result(st, &inner, client->last_request_id, err);
}

void kstream_shard_list_free(struct kstream_shard_list *list)
{
    if (!list)
        return;
    struct shard_list_result *result = KS_CONTAINER_OF(list, struct shard_list_result, list);
    ks_arena_fini(&result->arena);
    ks_free(result);
}
