/*
 * Operations: each is written once, against the messages of proto/api.proto, and knows no
 * connection. A door (native.c) makes a call, hands it to an operation, and answers when done runs:
 * at once or later, on the same loop.
 *
 * Threads: a call belongs to its loop.
 */
#ifndef KS_DAEMON_OPS_H
#define KS_DAEMON_OPS_H

#include "daemon/server.h"
#include "daemon/stream_limits.h"
#include "proto/api.pb-c.h"
#include "proto/arena.h"
#include "proto/operations.h"
#include "proto/put_records.h"
#include "storage/log.h"
#include "storage/registry.h"

/* Arena of a call: descriptions of many shards are the largest answers built in it. */
#define KS_CALL_ARENA_BYTES_MAX (32u << 20)

struct ks_call;
struct ks_put_work; /* ops_put.c */

struct ks_call {
    struct ks_server *server;
    struct ks_loop *loop;
    uint64_t client;                    /* the door's: whose call it is, for limits */
    struct ks_arena arena;              /* request and answer live here */
    void (*done)(struct ks_call *call); /* the door's: answers, then ks_call_fini */
    /* The door's: is there room for an answer of bytes? They count until the call is done. False:
     * resume runs when there is, or abandon when the peer goes first. NULL: always. */
    bool (*promise)(struct ks_call *call, uint64_t bytes);
    /* Takes a promise back: the call goes on without. May be called when there is none. */
    void (*end_promise)(struct ks_call *call);
    void (*resume)(struct ks_call *call);
    void (*abandon)(struct ks_call *call);
    /* The door's: all answers together are past their budget, this one should be small. NULL:
     * never. */
    bool (*is_output_short)(const struct ks_call *call);

    /* The answer. */
    enum ks_status status;
    struct ks_error error;
    const char *message;             /* a text too long for error; NULL: error.text */
    struct ks_limit_refusal refusal; /* with KS_THROTTLED, if has_refusal */
    bool has_refusal;
    struct ks_stream *routing;        /* with KS_ROUTING_CHANGED: as it is now; referenced */
    const ProtobufCMessage *response; /* NULL for PutRecords */
    struct ks_put_work *put;          /* PutRecords: its parts */
    struct ks_read read;              /* GetRecords: the stored batches, until ks_read_release */
    bool has_read;

    uint64_t begun_mono_ns;
    uint64_t waited_ns;     /* of the time since, in vain for records: a long poll is not slow */
    uint64_t stream_number; /* 0: no stream, or not known yet */

    /* Work under way. */
    struct ks_job job;
    struct ks_admin admin;
    struct ks_park park;
    void *work; /* the operation's own, in the arena */
    /* Set while the call waits for news: answers at once, for its peer sends no more or is gone. */
    void (*end_wait)(struct ks_call *call);
};

void ks_call_init(struct ks_call *call, struct ks_loop *loop, void (*done)(struct ks_call *call));
void ks_call_fini(struct ks_call *call);
void ks_call_finish(struct ks_call *call, const ProtobufCMessage *response);
void ks_call_fail(struct ks_call *call, enum ks_status status, const struct ks_error *error);
void ks_call_fail_text(struct ks_call *call, enum ks_status status, const char *format, ...)
    KS_PRINTF(3, 4);
void ks_call_fail_memory(struct ks_call *call);
/* So many more open shards would be over the account's limit. */
void ks_call_fail_shard_limit(struct ks_call *call, uint32_t more_shards);
/* The stream's status does not fit. */
void ks_call_fail_not_active(struct ks_call *call, const struct ks_stream *stream);

/*
 * Runs the operation on its packed request message: decodes, validates by the rules, operates. done
 * runs exactly once, maybe before this returns.
 */
void ks_call_run(
    struct ks_call *call, const struct ks_operation *operation, struct ks_view message);
/* For a put that its fast path refused: fails the call in the words of the rules. */
void ks_call_explain_put(struct ks_call *call, enum ks_op op, struct ks_view message);
/* The answer of a finished PutRecords. */
void ks_put_work_response(struct ks_call *call, struct ks_put_response *out_response);

/* The shards of all streams that take the most (ops_heat.c), the hottest first; how many there are.
 */
struct ks_hot_shard {
    uint64_t stream_number;
    uint32_t shard_index;
    double records_per_s;
    double bytes_per_s;
};
uint32_t ks_heat_hottest(struct ks_server *server, struct ks_hot_shard *out, uint32_t count_max);

/* The routing as a message in the call's arena; NULL: out of memory. */
Kstream__DescribeRoutingResponse *ks_routing_message(
    struct ks_call *call, const struct ks_stream *stream);

/* ---- for ops_*.c ---- */

/* A stream as requests name it; absent members have data == NULL. */
struct ks_stream_address {
    struct ks_view name;
    struct ks_view arn;
    struct ks_view id;
};

#define KS_STREAM_ADDRESS(request)                                                                 \
    {                                                                                              \
        ks_view_of_optional((request)->stream_name), ks_view_of_optional((request)->stream_arn),   \
            ks_view_of_optional((request)->stream_id)                                              \
    }

static inline struct ks_view ks_view_of_optional(const char *text)
{
    return text ? ks_view_of_text(text) : ks_view_of(NULL, 0);
}

/*
 * For what may wait for the disk: build runs on a reader's thread and makes the answer in the
 * call's arena, or says why not; then the call ends on its loop. request outlives it, as call does.
 */
typedef const ProtobufCMessage *(*ks_build_fn)(
    struct ks_call *call, const ProtobufCMessage *request, struct ks_error *err);
void ks_call_build(struct ks_call *call, const ProtobufCMessage *request, ks_build_fn build);

/* The referenced snapshot. Errors: KS_INVALID none or contradicting names; KS_NOT_FOUND. */
enum ks_status ks_stream_resolve(struct ks_server *server, const struct ks_stream_address *address,
    struct ks_stream **out_stream, struct ks_error *err) KS_MUST_USE;
enum ks_status ks_stream_not_found(
    const struct ks_server *server, struct ks_view name, struct ks_error *err);
/* A shard by the text of its id. Errors: KS_NOT_FOUND. */
enum ks_status ks_stream_shard_by_text(const struct ks_server *server,
    const struct ks_stream *stream, const char *shard_id, const struct ks_shard **out_shard,
    struct ks_error *err) KS_MUST_USE;
/* All of these: NULL, out of memory. */
char *ks_stream_arn(struct ks_call *call, const struct ks_stream *stream);
char *ks_stream_arn_of(struct ks_call *call, const char *stream_name);
char *ks_shard_id_in(struct ks_arena *arena, uint32_t shard_index);
char *ks_sequence_in(struct ks_arena *arena, const struct ks_shard *shard, uint64_t ordinal,
    uint64_t arrival_unix_s);
Kstream__Shard *ks_shard_message(struct ks_call *call, const struct ks_shard *shard);
Kstream__HashKeyRange *ks_hash_key_range_in(struct ks_arena *arena, const struct ks_shard *shard);
const char *ks_stream_status_text(enum ks_stream_status status);
const char *ks_ack_text(enum ks_ack ack);
Kstream__WarmThroughput *ks_warm_throughput_message(
    struct ks_call *call, uint32_t target_mibps, uint32_t open_shards);
/* Names of the bits. False: out of memory. */
bool ks_shard_metrics_list(
    struct ks_call *call, uint32_t metrics, char ***out_list, size_t *out_count);
struct ks_tag *ks_tags_in(struct ks_arena *arena, Kstream__Tag *const *tags, size_t count);

/* What a stream may be given, when it is made or later. False: the call has failed. */
bool ks_call_tags_fit(
    struct ks_call *call, const char *stream_name, Kstream__Tag *const *tags, size_t count);
bool ks_call_record_size_fits(struct ks_call *call, uint32_t bytes);
bool ks_call_warm_throughput_fits(struct ks_call *call, enum ks_stream_mode mode, uint32_t mibps);
/* One more stream of the mode. */
bool ks_call_mode_fits(struct ks_call *call, enum ks_stream_mode mode);
/* The words of a refusal, in the arena; NULL: no memory. */
char *ks_refusal_text(
    struct ks_call *call, const struct ks_limit_use *use, const struct ks_limit_refusal *refusal);
/* With the refusal: KS_THROTTLED. */
void ks_call_fail_refused(
    struct ks_call *call, const struct ks_limit_use *use, const struct ks_limit_refusal *refusal);
/* The stream's limits as a message; NULL: no memory. */
Kstream__StreamLimits *ks_limits_message(
    struct ks_call *call, const struct ks_stream_limits *limits);
void ks_call_fail_tag_limit(struct ks_call *call, const char *stream_name);

void ks_op_ping(struct ks_call *call, const ProtobufCMessage *request);
void ks_op_describe_routing(struct ks_call *call, const ProtobufCMessage *request);
void ks_op_resume_producer(struct ks_call *call, const ProtobufCMessage *request);
void ks_op_confirm_clock(struct ks_call *call, const ProtobufCMessage *request);
void ks_op_describe_config(struct ks_call *call, const ProtobufCMessage *request);
void ks_op_create_stream(struct ks_call *call, const ProtobufCMessage *request);
void ks_op_delete_stream(struct ks_call *call, const ProtobufCMessage *request);
void ks_op_describe_stream(struct ks_call *call, const ProtobufCMessage *request);
void ks_op_describe_stream_summary(struct ks_call *call, const ProtobufCMessage *request);
void ks_op_list_streams(struct ks_call *call, const ProtobufCMessage *request);
void ks_op_list_shards(struct ks_call *call, const ProtobufCMessage *request);
void ks_op_split_shard(struct ks_call *call, const ProtobufCMessage *request);
void ks_op_merge_shards(struct ks_call *call, const ProtobufCMessage *request);
void ks_op_update_shard_count(struct ks_call *call, const ProtobufCMessage *request);
void ks_op_update_stream_mode(struct ks_call *call, const ProtobufCMessage *request);
void ks_op_update_max_record_size(struct ks_call *call, const ProtobufCMessage *request);
void ks_op_update_stream_warm_throughput(struct ks_call *call, const ProtobufCMessage *request);
void ks_op_add_tags_to_stream(struct ks_call *call, const ProtobufCMessage *request);
void ks_op_remove_tags_from_stream(struct ks_call *call, const ProtobufCMessage *request);
void ks_op_list_tags_for_stream(struct ks_call *call, const ProtobufCMessage *request);
void ks_op_tag_resource(struct ks_call *call, const ProtobufCMessage *request);
void ks_op_untag_resource(struct ks_call *call, const ProtobufCMessage *request);
void ks_op_list_tags_for_resource(struct ks_call *call, const ProtobufCMessage *request);
void ks_op_enable_enhanced_monitoring(struct ks_call *call, const ProtobufCMessage *request);
void ks_op_disable_enhanced_monitoring(struct ks_call *call, const ProtobufCMessage *request);
void ks_op_update_stream_limits(struct ks_call *call, const ProtobufCMessage *request);
void ks_op_describe_limits(struct ks_call *call, const ProtobufCMessage *request);
void ks_op_describe_account_settings(struct ks_call *call, const ProtobufCMessage *request);
void ks_op_update_account_settings(struct ks_call *call, const ProtobufCMessage *request);
void ks_op_get_shard_iterator(struct ks_call *call, const ProtobufCMessage *request);
void ks_op_get_records(struct ks_call *call, const ProtobufCMessage *request);
void ks_op_increase_stream_retention_period(struct ks_call *call, const ProtobufCMessage *request);
void ks_op_decrease_stream_retention_period(struct ks_call *call, const ProtobufCMessage *request);
void ks_op_restore_stream(struct ks_call *call, const ProtobufCMessage *request);
void ks_op_describe_compactor(struct ks_call *call, const ProtobufCMessage *request);
void ks_op_compact(struct ks_call *call, const ProtobufCMessage *request);
void ks_op_backup_catalog(struct ks_call *call, const ProtobufCMessage *request);
/* DeleteStream with enforce_retention. */
void ks_op_delete_stream_later(struct ks_call *call, const struct ks_stream_address *address);
void ks_op_describe_host(struct ks_call *call, const ProtobufCMessage *request);
void ks_op_describe_usage(struct ks_call *call, const ProtobufCMessage *request);
void ks_op_get_metrics(struct ks_call *call, const ProtobufCMessage *request);
void ks_op_describe_heat(struct ks_call *call, const ProtobufCMessage *request);
void ks_op_describe_load(struct ks_call *call, const ProtobufCMessage *request);
void ks_op_verify_shard(struct ks_call *call, const ProtobufCMessage *request);
void ks_op_put_record(struct ks_call *call, struct ks_view message);
void ks_op_put_records(struct ks_call *call, struct ks_view message);

#endif
