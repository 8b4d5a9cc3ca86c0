/* SplitShard, MergeShards, UpdateShardCount and UpdateStreamMode. */
#include "daemon/ops_setting.h"
#include "proto/sequence.h"
#include "storage/reshard_plan.h"

#include <string.h>

/* A reshard between its request and its answer; in the call's arena. */
struct reshard_work {
    struct ks_reshard_spec spec;
    char stream_name[KS_STREAM_NAME_BYTES_MAX + 1];
    uint64_t stream_number;
    uint32_t more_shards; /* open ones, for the account's limit */
    bool has_warm;        /* UpdateStreamMode: what follows the change of the mode */
    uint32_t warm_mibps;
};

/* ---- the stream ---- */

/* Users do not reshard what scales by itself. */
static struct ks_stream *resolve_provisioned(
    struct ks_call *call, const struct ks_stream_address *address)
{
    struct ks_stream *stream = ks_call_resolve_active(call, address);
    if (!stream || stream->mode == KS_STREAM_PROVISIONED)
        return stream;
    ks_call_fail_text(call, KS_VALIDATION,
        "Request is invalid. Stream %s under account %s is in On-Demand mode.", stream->name,
        call->server->config->aws_account_id);
    ks_stream_unref(stream);
    return NULL;
}

/* An open shard by the text of its id; else the call has failed. NULL then. */
static const struct ks_shard *resolve_open_shard(
    struct ks_call *call, const struct ks_stream *stream, const char *shard_id)
{
    const struct ks_shard *shard = NULL;
    struct ks_error error = KS_ERROR_INIT;
    enum ks_status st = ks_stream_shard_by_text(call->server, stream, shard_id, &shard, &error);
    if (st) {
        ks_call_fail(call, st, &error);
        return NULL;
    }
    if (shard->is_open)
        return shard;
    char text[KS_SHARD_ID_TEXT_BYTES];
    ks_shard_id_to_text(shard->index, text);
    ks_call_fail_text(call, KS_INVALID,
        "Shard %s in stream %s under account %s has already been merged or split, and thus is not "
        "eligible for merging or splitting.",
        text, stream->name, call->server->config->aws_account_id);
    return NULL;
}

/* ---- the way to the answer ---- */

static void reshard_refused(struct ks_call *call, enum ks_status st, const struct ks_error *error)
{
    const struct reshard_work *work = call->work;
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = NULL;
    struct ks_error gone = KS_ERROR_INIT;
    bool is_there =
        ks_registry_find_number(call->server->engine, work->stream_number, &stream) == KS_OK;
    uint64_t open = ks_registry_open_shards(call->server->engine);
    if (st == KS_IN_USE && is_there && stream->status != KS_STREAM_ACTIVE)
        ks_call_fail_not_active(call, stream);
    else if (st == KS_IN_USE && is_there) /* the other change has just ended */
        ks_call_fail_text(call, st, "Stream %s under account %s not ACTIVE, instead in state %s",
            stream->name, call->server->config->aws_account_id,
            ks_stream_status_text(KS_STREAM_UPDATING));
    else if (!is_there)
        ks_call_fail(call,
            ks_stream_not_found(call->server, ks_view_of_text(work->stream_name), &gone), &gone);
    else if (st == KS_LIMIT && open + work->more_shards > call->server->live.limits_shards)
        ks_call_fail_shard_limit(call, work->more_shards);
    else
        ks_call_fail(call, st, error);
}

static void reshard_delivered(struct ks_mail *mail)
{
    struct ks_call *call = KS_CONTAINER_OF(mail, struct ks_call, admin.mail);
    if (call->admin.status)
        reshard_refused(call, call->admin.status, &call->admin.error);
    else
        ks_call_finish(call, call->response);
}

static struct reshard_work *work_make(struct ks_call *call, const struct ks_stream *stream)
{
    struct reshard_work *work = ks_arena_zalloc(&call->arena, sizeof(*work));
    if (!work)
        return NULL;
    strcpy(work->stream_name, stream->name);
    work->stream_number = stream->number;
    call->stream_number = stream->number;
    call->work = work;
    return work;
}

/* call->response is the answer. */
static void reshard_run(struct ks_call *call)
{
    const struct reshard_work *work = call->work;
    struct ks_error error = KS_ERROR_INIT;
    call->admin.mail.deliver = reshard_delivered;
    call->admin.home = &call->loop->mailbox;
    enum ks_status st = ks_stream_reshard(
        call->server->engine, work->stream_number, &work->spec, &call->admin, &error);
    if (st)
        reshard_refused(call, st, &error);
}

/* What would happen, into a message of the call; else the call has failed. NULL then. */
static Kstream__ReshardPlan *reshard_outlook(struct ks_call *call, const struct ks_stream *stream)
{
    struct reshard_work *work = call->work;
    struct ks_reshard_plan plan;
    struct ks_error error = KS_ERROR_INIT;
    enum ks_status st = ks_reshard_plan_make(
        stream, &work->spec, ks_server_unix_ms(call->server) / 1000, &plan, &error);
    if (st) {
        ks_call_fail(call, st, &error);
        return NULL;
    }
    Kstream__ReshardPlan *message = ks_arena_alloc(&call->arena, sizeof(*message));
    if (message) {
        kstream__reshard_plan__init(message);
        message->open_shards = stream->open_count - plan.parent_count + plan.made_open;
        message->closed_shards = plan.parent_count;
        message->created_shards = plan.made_count;
        message->short_lived_shards = plan.made_count - plan.made_open;
    }
    ks_reshard_plan_fini(&plan);
    if (!message) {
        ks_call_fail_memory(call);
        return NULL;
    }
    uint64_t open = ks_registry_open_shards(call->server->engine);
    if (work->more_shards > 0 && open + work->more_shards > call->server->live.limits_shards) {
        ks_call_fail_shard_limit(call, work->more_shards);
        return NULL;
    }
    return message;
}

/* ---- SplitShard ---- */

static bool split_key(struct ks_call *call, const struct ks_stream *stream,
    const struct ks_shard *shard, const char *text, ks_u128 *out_key)
{
    ks_u128 key = 0;
    bool is_number = ks_u128_from_text(text, strlen(text), &key);
    if (is_number && key > shard->hash_first && key - shard->hash_first > 1 &&
        key < shard->hash_last) {
        *out_key = key;
        return true;
    }
    char first[KS_U128_TEXT_BYTES];
    char last[KS_U128_TEXT_BYTES];
    char id[KS_SHARD_ID_TEXT_BYTES];
    ks_u128_to_text(shard->hash_first, first);
    ks_u128_to_text(shard->hash_last, last);
    ks_shard_id_to_text(shard->index, id);
    ks_call_fail_text(call, KS_INVALID,
        "NewStartingHashKey %s used in SplitShard() on shard %s in stream %s under account %s is "
        "not both greater than one plus the shard's StartingHashKey %s and less than the shard's "
        "EndingHashKey %s.",
        text, id, stream->name, call->server->config->aws_account_id, first, last);
    return false;
}

void ks_op_split_shard(struct ks_call *call, const ProtobufCMessage *message)
{
    const Kstream__SplitShardRequest *request = (const void *)message;
    const struct ks_stream_address address = KS_STREAM_ADDRESS(request);
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = resolve_provisioned(call, &address);
    if (!stream)
        return;
    const struct ks_shard *shard = resolve_open_shard(call, stream, request->shard_to_split);
    struct ks_reshard_spec spec = {.kind = KS_RESHARD_SPLIT};
    if (!shard ||
        !split_key(call, stream, shard, request->new_starting_hash_key, &spec.new_hash_first))
        return;
    spec.shard_index = shard->index;
    struct reshard_work *work = work_make(call, stream);
    Kstream__SplitShardResponse *response = ks_arena_alloc(&call->arena, sizeof(*response));
    if (!work || !response) {
        ks_call_fail_memory(call);
        return;
    }
    kstream__split_shard_response__init(response);
    call->response = &response->base;
    work->spec = spec;
    work->more_shards = 1;
    if (!request->dry_run) {
        reshard_run(call);
        return;
    }
    response->plan = reshard_outlook(call, stream);
    if (response->plan)
        ks_call_finish(call, &response->base);
}

/* ---- MergeShards ---- */

void ks_op_merge_shards(struct ks_call *call, const ProtobufCMessage *message)
{
    const Kstream__MergeShardsRequest *request = (const void *)message;
    const struct ks_stream_address address = KS_STREAM_ADDRESS(request);
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = resolve_provisioned(call, &address);
    if (!stream)
        return;
    const struct ks_shard *left = resolve_open_shard(call, stream, request->shard_to_merge);
    const struct ks_shard *right =
        left ? resolve_open_shard(call, stream, request->adjacent_shard_to_merge) : NULL;
    if (!right)
        return;
    if (left->hash_last == KS_U128_MAX || left->hash_last + 1 != right->hash_first) {
        char texts[2][KS_SHARD_ID_TEXT_BYTES];
        ks_shard_id_to_text(left->index, texts[0]);
        ks_shard_id_to_text(right->index, texts[1]);
        ks_call_fail_text(call, KS_INVALID,
            "Shards %s and %s in stream %s under account %s are not an adjacent pair of shards "
            "eligible for merging",
            texts[0], texts[1], stream->name, call->server->config->aws_account_id);
        return;
    }
    struct reshard_work *work = work_make(call, stream);
    Kstream__MergeShardsResponse *response = ks_arena_alloc(&call->arena, sizeof(*response));
    if (!work || !response) {
        ks_call_fail_memory(call);
        return;
    }
    kstream__merge_shards_response__init(response);
    call->response = &response->base;
    work->spec = (struct ks_reshard_spec){
        .kind = KS_RESHARD_MERGE, .shard_index = left->index, .adjacent_index = right->index};
    if (!request->dry_run) {
        reshard_run(call);
        return;
    }
    response->plan = reshard_outlook(call, stream);
    if (response->plan)
        ks_call_finish(call, &response->base);
}

/* ---- UpdateShardCount ---- */

void ks_op_update_shard_count(struct ks_call *call, const ProtobufCMessage *message)
{
    const Kstream__UpdateShardCountRequest *request = (const void *)message;
    const struct ks_stream_address address = KS_STREAM_ADDRESS(request);
    uint32_t target = (uint32_t)request->target_shard_count;
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = resolve_provisioned(call, &address);
    if (!stream)
        return;
    if (target > KS_SHARDS_PER_STREAM_MAX) {
        ks_call_fail_text(call, KS_LIMIT,
            "UpdateShardCount cannot scale a stream to more than %u shards. Current open shard "
            "count: %u Target shard count: %u",
            KS_SHARDS_PER_STREAM_MAX, stream->open_count, target);
        return;
    }
    struct reshard_work *work = work_make(call, stream);
    Kstream__UpdateShardCountResponse *response = ks_arena_alloc(&call->arena, sizeof(*response));
    if (response) {
        kstream__update_shard_count_response__init(response);
        response->stream_name = ks_arena_strdup(&call->arena, stream->name);
        response->stream_arn = ks_stream_arn(call, stream);
        response->has_current_shard_count = true;
        response->current_shard_count = (int32_t)stream->open_count;
        response->has_target_shard_count = true;
        response->target_shard_count = request->target_shard_count;
    }
    if (!work || !response || !response->stream_name || !response->stream_arn) {
        ks_call_fail_memory(call);
        return;
    }
    call->response = &response->base;
    work->spec = (struct ks_reshard_spec){.kind = KS_RESHARD_COUNT, .target_count = target};
    work->more_shards = target > stream->open_count ? target - stream->open_count : 0;
    if (!request->dry_run) {
        reshard_run(call);
        return;
    }
    response->plan = reshard_outlook(call, stream);
    if (response->plan)
        ks_call_finish(call, &response->base);
}

/* ---- UpdateStreamMode ---- */

static void mode_delivered(struct ks_mail *mail)
{
    struct ks_call *call = KS_CONTAINER_OF(mail, struct ks_call, admin.mail);
    const struct reshard_work *work = call->work;
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = NULL;
    if (call->admin.status || !work->has_warm ||
        ks_registry_find_number(call->server->engine, work->stream_number, &stream))
        reshard_delivered(mail);
    else
        ks_warm_throughput_start(call, stream, work->warm_mibps, NULL);
}

void ks_op_update_stream_mode(struct ks_call *call, const ProtobufCMessage *message)
{
    const Kstream__UpdateStreamModeRequest *request = (const void *)message;
    const struct ks_stream_address address = {ks_view_of(NULL, 0),
        ks_view_of_optional(request->stream_arn), ks_view_of_optional(request->stream_id)};
    enum ks_stream_mode mode = strcmp(request->stream_mode_details->stream_mode, "ON_DEMAND") == 0
                                   ? KS_STREAM_ON_DEMAND
                                   : KS_STREAM_PROVISIONED;
    bool has_warm = request->has_warm_throughput_mibps;
    uint32_t warm_mibps = (uint32_t)request->warm_throughput_mibps;
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = ks_call_resolve_active(call, &address);
    if (!stream || (has_warm && !ks_call_warm_throughput_fits(call, mode, warm_mibps)) ||
        (stream->mode != mode && !ks_call_mode_fits(call, mode)))
        return;
    struct reshard_work *work = work_make(call, stream);
    Kstream__UpdateStreamModeResponse *response = ks_arena_alloc(&call->arena, sizeof(*response));
    if (!work || !response) {
        ks_call_fail_memory(call);
        return;
    }
    kstream__update_stream_mode_response__init(response);
    call->response = &response->base;
    if (request->dry_run) {
        if (!has_warm || ks_call_warm_shards_fit(call, stream, warm_mibps))
            ks_call_finish(call, call->response);
        return;
    }
    struct ks_error error = KS_ERROR_INIT;
    work->has_warm = has_warm;
    work->warm_mibps = warm_mibps;
    call->admin.mail.deliver = mode_delivered;
    call->admin.home = &call->loop->mailbox;
    enum ks_status st =
        ks_stream_set_mode(call->server->engine, stream->number, mode, &call->admin, &error);
    if (st)
        reshard_refused(call, st, &error);
}
