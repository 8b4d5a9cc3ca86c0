#include "daemon/ops.h"
#include "proto/rules.h"
#include "proto/sequence.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- calls ---- */

void ks_call_init(struct ks_call *call, struct ks_loop *loop, void (*done)(struct ks_call *call))
{
    memset(call, 0, sizeof(*call));
    call->server = loop->shared->server;
    call->loop = loop;
    call->done = done;
    call->begun_mono_ns = ks_clock_mono_ns(&ks_clock_system);
    ks_arena_init(&call->arena, KS_CALL_ARENA_BYTES_MAX);
}

void ks_call_fini(struct ks_call *call)
{
    if (call->routing)
        ks_stream_unref(call->routing);
    if (call->has_read)
        ks_read_release(&call->read);
    ks_arena_fini(&call->arena);
}

void ks_call_finish(struct ks_call *call, const ProtobufCMessage *response)
{
    call->status = KS_OK;
    call->response = response;
    call->done(call);
}

void ks_call_fail(struct ks_call *call, enum ks_status status, const struct ks_error *error)
{
    KS_ASSERT(status != KS_OK);
    call->status = status;
    if (error != &call->error)
        call->error = *error;
    if (!call->error.text[0])
        ks_fail(&call->error, status, 0, "%s", ks_status_info(status)->text);
    call->done(call);
}

void ks_call_fail_text(struct ks_call *call, enum ks_status status, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    call->status = status;
    ks_fail(&call->error, status, 0, "%s", text);
    call->message = ks_arena_strdup(&call->arena, text); /* NULL: the cut text of error serves */
    call->done(call);
}

void ks_call_fail_memory(struct ks_call *call)
{
    struct ks_error error = KS_ERROR_INIT;
    ks_call_fail(call, ks_fail(&error, KS_NO_MEMORY, 0, "out of memory for this request"), &error);
}

void ks_call_fail_shard_limit(struct ks_call *call, uint32_t more_shards)
{
    const struct ks_config *config = call->server->config;
    ks_call_fail_text(call, KS_LIMIT,
        "This request would exceed the shard limit for the account %s in %s. Current shard count "
        "for the account: %u. Limit: %llu. Number of additional shards that would have resulted "
        "from this request: %u. Refer to the AWS Service Limits page "
        "(http://docs.aws.amazon.com/general/latest/gr/aws_service_limits.html) for current limits "
        "and how to request higher limits.",
        config->aws_account_id, config->aws_region, ks_registry_open_shards(call->server->engine),
        (unsigned long long)call->server->live.limits_shards, more_shards);
}

void ks_call_fail_not_active(struct ks_call *call, const struct ks_stream *stream)
{
    ks_call_fail_text(call, KS_IN_USE, "Stream %s under account %s not ACTIVE, instead in state %s",
        stream->name, call->server->config->aws_account_id, ks_stream_status_text(stream->status));
}

/* ---- dispatch ---- */

static const struct {
    enum ks_op op;
    void (*run)(struct ks_call *call, const ProtobufCMessage *request);
} operations[] = {
    {KS_OP_PING, ks_op_ping},
    {KS_OP_DESCRIBE_ROUTING, ks_op_describe_routing},
    {KS_OP_RESUME_PRODUCER, ks_op_resume_producer},
    {KS_OP_CONFIRM_CLOCK, ks_op_confirm_clock},
    {KS_OP_DESCRIBE_CONFIG, ks_op_describe_config},
    {KS_OP_CREATE_STREAM, ks_op_create_stream},
    {KS_OP_DELETE_STREAM, ks_op_delete_stream},
    {KS_OP_DESCRIBE_STREAM, ks_op_describe_stream},
    {KS_OP_DESCRIBE_STREAM_SUMMARY, ks_op_describe_stream_summary},
    {KS_OP_LIST_STREAMS, ks_op_list_streams},
    {KS_OP_LIST_SHARDS, ks_op_list_shards},
    {KS_OP_SPLIT_SHARD, ks_op_split_shard},
    {KS_OP_MERGE_SHARDS, ks_op_merge_shards},
    {KS_OP_UPDATE_SHARD_COUNT, ks_op_update_shard_count},
    {KS_OP_UPDATE_STREAM_MODE, ks_op_update_stream_mode},
    {KS_OP_UPDATE_MAX_RECORD_SIZE, ks_op_update_max_record_size},
    {KS_OP_UPDATE_STREAM_WARM_THROUGHPUT, ks_op_update_stream_warm_throughput},
    {KS_OP_ADD_TAGS_TO_STREAM, ks_op_add_tags_to_stream},
    {KS_OP_REMOVE_TAGS_FROM_STREAM, ks_op_remove_tags_from_stream},
    {KS_OP_LIST_TAGS_FOR_STREAM, ks_op_list_tags_for_stream},
    {KS_OP_TAG_RESOURCE, ks_op_tag_resource},
    {KS_OP_UNTAG_RESOURCE, ks_op_untag_resource},
    {KS_OP_LIST_TAGS_FOR_RESOURCE, ks_op_list_tags_for_resource},
    {KS_OP_ENABLE_ENHANCED_MONITORING, ks_op_enable_enhanced_monitoring},
    {KS_OP_DISABLE_ENHANCED_MONITORING, ks_op_disable_enhanced_monitoring},
    {KS_OP_UPDATE_STREAM_LIMITS, ks_op_update_stream_limits},
    {KS_OP_DESCRIBE_LIMITS, ks_op_describe_limits},
    {KS_OP_DESCRIBE_ACCOUNT_SETTINGS, ks_op_describe_account_settings},
    {KS_OP_UPDATE_ACCOUNT_SETTINGS, ks_op_update_account_settings},
    {KS_OP_GET_SHARD_ITERATOR, ks_op_get_shard_iterator},
    {KS_OP_GET_RECORDS, ks_op_get_records},
    {KS_OP_INCREASE_STREAM_RETENTION_PERIOD, ks_op_increase_stream_retention_period},
    {KS_OP_DECREASE_STREAM_RETENTION_PERIOD, ks_op_decrease_stream_retention_period},
    {KS_OP_RESTORE_STREAM, ks_op_restore_stream},
    {KS_OP_DESCRIBE_COMPACTOR, ks_op_describe_compactor},
    {KS_OP_COMPACT, ks_op_compact},
    {KS_OP_BACKUP_CATALOG, ks_op_backup_catalog},
    {KS_OP_DESCRIBE_HOST, ks_op_describe_host},
    {KS_OP_DESCRIBE_USAGE, ks_op_describe_usage},
    {KS_OP_GET_METRICS, ks_op_get_metrics},
    {KS_OP_DESCRIBE_HEAT, ks_op_describe_heat},
    {KS_OP_DESCRIBE_LOAD, ks_op_describe_load},
    {KS_OP_VERIFY_SHARD, ks_op_verify_shard},
};

/* True when the message keeps the rules; else the call has failed with the complaint. */
static bool call_validate(struct ks_call *call, const ProtobufCMessage *request)
{
    struct ks_buf complaint;
    ks_buf_init(&complaint, KS_RULES_TEXT_BYTES_MAX);
    enum ks_status st = ks_rules_check(request, &complaint);
    if (st == KS_VALIDATION) {
        call->status = st;
        ks_fail(&call->error, st, 0, "%s", (const char *)complaint.data);
        call->message = ks_arena_strdup(&call->arena, (const char *)complaint.data);
        call->done(call);
    } else if (st) {
        ks_call_fail_memory(call);
    }
    ks_buf_fini(&complaint);
    return st == KS_OK;
}

void ks_call_explain_put(struct ks_call *call, enum ks_op op, struct ks_view message)
{
    const struct ks_operation *operation = ks_operation_by_number((uint32_t)op);
    ProtobufCMessage *request = ks_arena_unpack(&call->arena, operation->request, message);
    if (!request)
        ks_call_fail_text(call, KS_PROTOCOL, "malformed %s request", operation->name);
    else if (call_validate(call, request))
        /* Only what a C string cannot hold is seen by the fast path alone. */
        ks_call_fail_text(call, KS_VALIDATION,
            "1 validation error detected: the request has a text that is not valid UTF-8");
}

void ks_call_run(struct ks_call *call, const struct ks_operation *operation, struct ks_view message)
{
    if (operation->op == KS_OP_PUT_RECORDS) {
        ks_op_put_records(call, message);
        return;
    }
    if (operation->op == KS_OP_PUT_RECORD) {
        ks_op_put_record(call, message);
        return;
    }
    ProtobufCMessage *request = ks_arena_unpack(&call->arena, operation->request, message);
    if (!request) {
        ks_call_fail_text(call, KS_PROTOCOL, "malformed %s request", operation->name);
        return;
    }
    if (!call_validate(call, request))
        return;
    for (size_t i = 0; i < KS_COUNT_OF(operations); i++)
        if (operations[i].op == operation->op) {
            operations[i].run(call, request);
            return;
        }
    ks_call_fail_text(call, KS_UNSUPPORTED, "operation '%s' is not supported", operation->name);
}

/* ---- naming streams ---- */

enum ks_status ks_stream_not_found(
    const struct ks_server *server, struct ks_view name, struct ks_error *err)
{
    return ks_fail(err, KS_NOT_FOUND, 0, "Stream %.*s under account %s not found.", (int)name.bytes,
        (const char *)name.data, server->config->aws_account_id);
}

struct arn_parts {
    struct ks_view account;
    struct ks_view region;
    struct ks_view name;
};

/* arn:aws*:kinesis:REGION:ACCOUNT:stream/NAME, whose form the rules have checked. */
static bool arn_split(struct ks_view arn, struct arn_parts *out)
{
    const char *p = (const char *)arn.data;
    const char *end = p + arn.bytes;
    struct ks_view fields[6];
    for (size_t i = 0; i < KS_COUNT_OF(fields); i++) {
        const char *colon = i < 5 ? memchr(p, ':', (size_t)(end - p)) : end;
        if (!colon)
            return false;
        fields[i] = ks_view_of(p, (size_t)(colon - p));
        p = colon + (i < 5);
    }
    const struct ks_view resource = fields[5];
    if (resource.bytes <= 7 || memcmp(resource.data, "stream/", 7) != 0)
        return false;
    out->region = fields[3];
    out->account = fields[4];
    out->name = ks_view_of(resource.data + 7, resource.bytes - 7);
    return true;
}

static enum ks_status resolve_name(struct ks_server *server, struct ks_view name,
    struct ks_stream **out_stream, struct ks_error *err)
{
    char text[KS_STREAM_NAME_BYTES_MAX + 1];
    if (name.bytes == 0 || name.bytes > KS_STREAM_NAME_BYTES_MAX)
        return ks_stream_not_found(
            server, ks_view_of(name.data, KS_MIN(name.bytes, (size_t)128)), err);
    memcpy(text, name.data, name.bytes);
    text[name.bytes] = '\0';
    if (ks_registry_find(server->engine, text, out_stream))
        return ks_stream_not_found(server, name, err);
    return KS_OK;
}

static enum ks_status resolve_id(struct ks_server *server, struct ks_view id,
    struct ks_stream **out_stream, struct ks_error *err)
{
    char text[KS_STREAM_ID_BYTES + 1];
    size_t bytes = KS_MIN(id.bytes, (size_t)KS_STREAM_ID_BYTES);
    memcpy(text, id.data, bytes);
    text[bytes] = '\0';
    if (id.bytes > KS_STREAM_ID_BYTES || ks_registry_find_id(server->engine, text, out_stream))
        return ks_fail(err, KS_NOT_FOUND, 0, "Stream with id %s under account %s not found.", text,
            server->config->aws_account_id);
    return KS_OK;
}

enum ks_status ks_stream_resolve(struct ks_server *server, const struct ks_stream_address *address,
    struct ks_stream **out_stream, struct ks_error *err)
{
    struct ks_view name = address->name;
    if (address->arn.data) {
        struct arn_parts arn;
        if (!arn_split(address->arn, &arn))
            return ks_fail(err, KS_INVALID, 0, "the StreamARN does not name a stream");
        if (!ks_view_equal(arn.account, ks_view_of_text(server->config->aws_account_id)) ||
            !ks_view_equal(arn.region, ks_view_of_text(server->config->aws_region)))
            return ks_fail(err, KS_NOT_FOUND, 0, "Stream %.*s under account %.*s not found.",
                (int)KS_MIN(arn.name.bytes, (size_t)128), (const char *)arn.name.data,
                (int)KS_MIN(arn.account.bytes, (size_t)32), (const char *)arn.account.data);
        if (name.data && !ks_view_equal(name, arn.name))
            return ks_fail(err, KS_INVALID, 0, "StreamName and StreamARN name different streams");
        name = arn.name;
    }
    if (!name.data && !address->id.data)
        return ks_fail(
            err, KS_INVALID, 0, "Either StreamName, StreamARN or StreamId should be provided.");
    struct ks_stream *stream = NULL;
    enum ks_status st = address->id.data ? resolve_id(server, address->id, &stream, err)
                                         : resolve_name(server, name, &stream, err);
    if (st)
        return st;
    if (name.data && !ks_view_equal(name, ks_view_of_text(stream->name))) {
        ks_stream_unref(stream);
        return ks_fail(err, KS_INVALID, 0, "StreamId and StreamName name different streams");
    }
    *out_stream = stream;
    return KS_OK;
}

enum ks_status ks_stream_shard_by_text(const struct ks_server *server,
    const struct ks_stream *stream, const char *shard_id, const struct ks_shard **out_shard,
    struct ks_error *err)
{
    uint32_t index;
    const char *account = server->config->aws_account_id;
    if (ks_shard_id_from_text(ks_view_of_text(shard_id), &index))
        return ks_fail(err, KS_NOT_FOUND, 0,
            "Could not find shard %s in stream %s under account %s.", shard_id, stream->name,
            account);
    const struct ks_shard *shard = ks_stream_shard(stream, index);
    char text[KS_SHARD_ID_TEXT_BYTES];
    ks_shard_id_to_text(index, text);
    if (!shard)
        return ks_fail(err, KS_NOT_FOUND, 0,
            "Shard %s in stream %s under account %s does not exist", text, stream->name, account);
    *out_shard = shard;
    return KS_OK;
}

/* ---- parts of answers ---- */

char *ks_stream_arn(struct ks_call *call, const struct ks_stream *stream)
{
    return ks_stream_arn_of(call, stream->name);
}

char *ks_stream_arn_of(struct ks_call *call, const char *stream_name)
{
    char text[2 * KS_CONFIG_TEXT_BYTES + 256];
    snprintf(text, sizeof(text), "arn:aws:kinesis:%s:%s:stream/%s",
        call->server->config->aws_region, call->server->config->aws_account_id, stream_name);
    return ks_arena_strdup(&call->arena, text);
}

char *ks_shard_id_in(struct ks_arena *arena, uint32_t shard_index)
{
    char text[KS_SHARD_ID_TEXT_BYTES];
    ks_shard_id_to_text(shard_index, text);
    return ks_arena_strdup(arena, text);
}

char *ks_sequence_in(
    struct ks_arena *arena, const struct ks_shard *shard, uint64_t ordinal, uint64_t arrival_unix_s)
{
    char text[KS_SEQUENCE_TEXT_BYTES];
    struct ks_sequence_number number = {.created_unix_s = shard->created_s,
        .ordinal = ordinal,
        .arrival_unix_s = arrival_unix_s,
        .shard_index = shard->index};
    ks_sequence_to_text(&number, text);
    return ks_arena_strdup(arena, text);
}

Kstream__HashKeyRange *ks_hash_key_range_in(struct ks_arena *arena, const struct ks_shard *shard)
{
    char first[KS_U128_TEXT_BYTES];
    char last[KS_U128_TEXT_BYTES];
    Kstream__HashKeyRange *range = ks_arena_alloc(arena, sizeof(*range));
    if (!range)
        return NULL;
    kstream__hash_key_range__init(range);
    ks_u128_to_text(shard->hash_first, first);
    ks_u128_to_text(shard->hash_last, last);
    range->starting_hash_key = ks_arena_strdup(arena, first);
    range->ending_hash_key = ks_arena_strdup(arena, last);
    return range->starting_hash_key && range->ending_hash_key ? range : NULL;
}

Kstream__Shard *ks_shard_message(struct ks_call *call, const struct ks_shard *shard)
{
    struct ks_arena *arena = &call->arena;
    Kstream__Shard *message = ks_arena_alloc(arena, sizeof(*message));
    Kstream__SequenceNumberRange *sequences = ks_arena_alloc(arena, sizeof(*sequences));
    if (!message || !sequences)
        return NULL;
    kstream__shard__init(message);
    kstream__sequence_number_range__init(sequences);
    message->shard_id = ks_shard_id_in(arena, shard->index);
    if (shard->has_parent)
        message->parent_shard_id = ks_shard_id_in(arena, shard->parent_index);
    if (shard->has_adjacent_parent)
        message->adjacent_parent_shard_id = ks_shard_id_in(arena, shard->adjacent_parent_index);
    message->hash_key_range = ks_hash_key_range_in(arena, shard);
    message->sequence_number_range = sequences;
    sequences->starting_sequence_number = ks_sequence_in(arena, shard, 0, shard->created_s);
    if (!shard->is_open)
        sequences->ending_sequence_number =
            ks_sequence_in(arena, shard, KS_SEQUENCE_ORDINAL_END, shard->closed_s);
    bool is_whole = message->shard_id && message->hash_key_range &&
                    sequences->starting_sequence_number &&
                    (shard->is_open || sequences->ending_sequence_number) &&
                    (!shard->has_parent || message->parent_shard_id) &&
                    (!shard->has_adjacent_parent || message->adjacent_parent_shard_id);
    return is_whole ? message : NULL;
}

const char *ks_stream_status_text(enum ks_stream_status status)
{
    switch (status) {
    case KS_STREAM_CREATING:
        return "CREATING";
    case KS_STREAM_ACTIVE:
        return "ACTIVE";
    case KS_STREAM_UPDATING:
        return "UPDATING";
    case KS_STREAM_DELETING:
        return "DELETING";
    }
    return "ACTIVE";
}

const char *ks_ack_text(enum ks_ack ack)
{
    return ack == KS_ACK_MEMORY ? "memory" : "durable";
}
