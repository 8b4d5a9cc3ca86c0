/* Calls that change the shards of a stream. */
#include "client/client.h"
#include "client/kstream_admin.h"
#include "proto/api.pb-c.h"

#include <poll.h>
#include <string.h>

#define POLL_MS_MIN 2u
#define POLL_MS_MAX 200u

static enum ks_status check_texts(
    const char *stream, const char *a, const char *b, struct ks_error *err)
{
    if (!stream || !*stream || !a || !b)
        return ks_fail(err, KS_INVALID, 0, "a stream and what to change are needed");
    return KS_OK;
}

enum ks_status client_stream_about(struct kstream_client *client, const char *stream,
    uint64_t deadline_ns, struct ks_arena *arena,
    const Kstream__StreamDescriptionSummary **out_about, struct ks_error *err)
{
    Kstream__DescribeStreamSummaryRequest request = KSTREAM__DESCRIBE_STREAM_SUMMARY_REQUEST__INIT;
    CLIENT_NAME_STREAM(&request, stream);
    struct client_exchange exchange = {.op = KS_OP_DESCRIBE_STREAM_SUMMARY,
        .request = &request.base,
        .deadline_ns = deadline_ns,
        .is_repeatable = true};
    ProtobufCMessage *message = NULL;
    enum ks_status st = client_call(client, &exchange, arena, &message, err);
    if (st == KS_OK)
        *out_about = ((const Kstream__DescribeStreamSummaryResponse *)(const void *)message)
                         ->stream_description_summary;
    return st;
}

/* The broker answers when the change is done, but where it has to wait for room. */
static enum ks_status wait_active(
    struct kstream_client *client, const char *stream, uint64_t deadline_ns, struct ks_error *err)
{
    for (uint32_t pause_ms = POLL_MS_MIN;; pause_ms = KS_MIN(pause_ms * 2, POLL_MS_MAX)) {
        struct ks_arena arena;
        ks_arena_init(&arena, CLIENT_ANSWER_BYTES_MAX);
        const Kstream__StreamDescriptionSummary *about = NULL;
        enum ks_status st = client_stream_about(client, stream, deadline_ns, &arena, &about, err);
        bool is_updating = st == KS_OK && strcmp(about->stream_status, "UPDATING") == 0;
        ks_arena_fini(&arena);
        if (st || !is_updating)
            return st;
        uint64_t wake_ns = client_deadline_ns(pause_ms);
        if (wake_ns >= deadline_ns)
            return ks_fail(err, KS_TIMEOUT, 0,
                "stream '%s' is still UPDATING: the change will be finished", stream);
        KS_IGNORE(poll(NULL, 0, client_poll_ms(wake_ns)), "an interrupted pause is a short one");
    }
}

/* What the answers have in common. */
struct outcome {
    const Kstream__ReshardPlan *plan;
    int32_t before;
    int32_t after;
};

static struct outcome read_outcome(enum ks_op op, const ProtobufCMessage *message)
{
    struct outcome outcome = {.plan = NULL};
    if (op == KS_OP_SPLIT_SHARD) {
        outcome.plan = ((const Kstream__SplitShardResponse *)(const void *)message)->plan;
    } else if (op == KS_OP_MERGE_SHARDS) {
        outcome.plan = ((const Kstream__MergeShardsResponse *)(const void *)message)->plan;
    } else if (op == KS_OP_UPDATE_SHARD_COUNT) {
        const Kstream__UpdateShardCountResponse *answer = (const void *)message;
        outcome.plan = answer->plan;
        outcome.before = answer->current_shard_count;
        outcome.after = answer->target_shard_count;
    }
    return outcome;
}

static void fill_info(struct kstream_reshard_info *info, const struct outcome *outcome)
{
    struct kstream_reshard_info filled = {.size = sizeof filled,
        .current_shard_count = (uint32_t)outcome->before,
        .target_shard_count = (uint32_t)outcome->after};
    if (outcome->plan) {
        filled.open_shards = outcome->plan->open_shards;
        filled.closed_shards = outcome->plan->closed_shards;
        filled.created_shards = outcome->plan->created_shards;
        filled.short_lived_shards = outcome->plan->short_lived_shards;
    }
    size_t size = info->size;
    memcpy(info, &filled, KS_MIN(size, sizeof filled));
    info->size = size;
}

/* Never repeated after a lost connection: a second one would change the shards again. */
static enum ks_status reshard(struct kstream_client *client, const char *stream, enum ks_op op,
    const ProtobufCMessage *request, const struct kstream_reshard_options *options,
    struct kstream_reshard_info *info, struct ks_error *err)
{
    uint64_t deadline_ns = client_call_deadline_ns(client, CLIENT_OPTION(options, timeout_ms, 0));
    struct client_exchange exchange = {.op = op, .request = request, .deadline_ns = deadline_ns};
    struct ks_arena arena;
    ks_arena_init(&arena, CLIENT_ANSWER_BYTES_MAX);
    ProtobufCMessage *message = NULL;
    enum ks_status st = client_call(client, &exchange, &arena, &message, err);
    if (st == KS_OK && info) {
        const struct outcome outcome = read_outcome(op, message);
        fill_info(info, &outcome);
    }
    ks_arena_fini(&arena);
    if (st || CLIENT_OPTION(options, dry_run, 0) || !CLIENT_OPTION(options, wait_until_active, 1))
        return st;
    return wait_active(client, stream, deadline_ns, err);
}

enum kstream_status kstream_split_shard(struct kstream_client *client, const char *stream,
    const char *shard_id, const char *new_starting_hash_key,
    const struct kstream_reshard_options *options, struct kstream_reshard_info *info,
    struct kstream_error *err)
{
    struct ks_error inner = client_begin(client);
    enum ks_status st = check_texts(stream, shard_id, new_starting_hash_key, &inner);
    if (st == KS_OK) {
        Kstream__SplitShardRequest request = KSTREAM__SPLIT_SHARD_REQUEST__INIT;
        CLIENT_NAME_STREAM(&request, stream);
        request.shard_to_split = client_text(shard_id);
        request.new_starting_hash_key = client_text(new_starting_hash_key);
        request.has_dry_run = request.dry_run = CLIENT_OPTION(options, dry_run, 0) != 0;
        st = reshard(client, stream, KS_OP_SPLIT_SHARD, &request.base, options, info, &inner);
    }
    return client_result(st, &inner, client->last_request_id, err);
}

enum kstream_status kstream_merge_shards(struct kstream_client *client, const char *stream,
    const char *shard_id, const char *adjacent_shard_id,
    const struct kstream_reshard_options *options, struct kstream_reshard_info *info,
    struct kstream_error *err)
{
    struct ks_error inner = client_begin(client);
    enum ks_status st = check_texts(stream, shard_id, adjacent_shard_id, &inner);
    if (st == KS_OK) {
        Kstream__MergeShardsRequest request = KSTREAM__MERGE_SHARDS_REQUEST__INIT;
        CLIENT_NAME_STREAM(&request, stream);
        request.shard_to_merge = client_text(shard_id);
        request.adjacent_shard_to_merge = client_text(adjacent_shard_id);
        request.has_dry_run = request.dry_run = CLIENT_OPTION(options, dry_run, 0) != 0;
        st = reshard(client, stream, KS_OP_MERGE_SHARDS, &request.base, options, info, &inner);
    }
    return client_result(st, &inner, client->last_request_id, err);
}

enum kstream_status kstream_update_shard_count(struct kstream_client *client, const char *stream,
    uint32_t target_shard_count, const struct kstream_reshard_options *options,
    struct kstream_reshard_info *info, struct kstream_error *err)
{
    struct ks_error inner = client_begin(client);
    enum ks_status st = check_texts(stream, "", "", &inner);
    if (st == KS_OK && target_shard_count > INT32_MAX)
        st = ks_fail(&inner, KS_INVALID, 0, "a stream cannot have so many shards");
    if (st == KS_OK) {
        Kstream__UpdateShardCountRequest request = KSTREAM__UPDATE_SHARD_COUNT_REQUEST__INIT;
        CLIENT_NAME_STREAM(&request, stream);
        request.has_target_shard_count = true;
        request.target_shard_count = (int32_t)target_shard_count;
        request.scaling_type = client_text("UNIFORM_SCALING");
        request.has_dry_run = request.dry_run = CLIENT_OPTION(options, dry_run, 0) != 0;
        st =
            reshard(client, stream, KS_OP_UPDATE_SHARD_COUNT, &request.base, options, info, &inner);
    }
    return client_result(st, &inner, client->last_request_id, err);
}

/* The operation knows a stream by its ARN alone. */
static enum ks_status update_mode(struct kstream_client *client, const char *stream,
    int is_on_demand, const struct kstream_reshard_options *options, struct ks_error *err)
{
    uint64_t deadline_ns = client_call_deadline_ns(client, CLIENT_OPTION(options, timeout_ms, 0));
    Kstream__StreamModeDetails mode = KSTREAM__STREAM_MODE_DETAILS__INIT;
    mode.stream_mode = client_text(is_on_demand ? "ON_DEMAND" : "PROVISIONED");
    Kstream__UpdateStreamModeRequest request = KSTREAM__UPDATE_STREAM_MODE_REQUEST__INIT;
    request.stream_mode_details = &mode;
    struct ks_arena arena;
    ks_arena_init(&arena, CLIENT_ANSWER_BYTES_MAX);
    const Kstream__StreamDescriptionSummary *about = NULL;
    enum ks_status st = client_stream_about(client, stream, deadline_ns, &arena, &about, err);
    if (st == KS_OK) {
        uint32_t warm_mibps = CLIENT_OPTION(options, warm_throughput_mibps, 0);
        request.stream_arn = about->stream_arn;
        request.has_warm_throughput_mibps = warm_mibps > 0;
        request.warm_throughput_mibps = (int32_t)KS_MIN(warm_mibps, (uint32_t)INT32_MAX);
        request.has_dry_run = request.dry_run = CLIENT_OPTION(options, dry_run, 0) != 0;
        st = reshard(client, stream, KS_OP_UPDATE_STREAM_MODE, &request.base, options, NULL, err);
    }
    ks_arena_fini(&arena);
    return st;
}

enum kstream_status kstream_update_stream_mode(struct kstream_client *client, const char *stream,
    int is_on_demand, const struct kstream_reshard_options *options, struct kstream_error *err)
{
    struct ks_error inner = client_begin(client);
    enum ks_status st = check_texts(stream, "", "", &inner);
    if (st == KS_OK)
        st = update_mode(client, stream, is_on_demand, options, &inner);
    return client_result(st, &inner, client->last_request_id, err);
}
