/*
 * A setting of one stream on its way from the request to the answer, for the operations that change
 * one: what is refused is said in the words of Kinesis.
 *
 * Threads: the call's loop.
 */
#ifndef KS_DAEMON_OPS_SETTING_H
#define KS_DAEMON_OPS_SETTING_H

#include "daemon/ops.h"

struct ks_setting_work {
    struct ks_setting_change change;
    char stream_name[KS_STREAM_NAME_BYTES_MAX + 1];
    uint64_t stream_number;
    /* The answer, when the change is durable. NULL: call->response is the answer. */
    void (*answer)(struct ks_call *call, const struct ks_setting_work *work);
    /* What KS_LIMIT of this change is called. NULL: the engine's text. */
    void (*refuse_limit)(struct ks_call *call, const struct ks_setting_work *work);
};

/* In the call's arena, as call->work; the change is to be filled in. NULL: the call has failed. */
struct ks_setting_work *ks_setting_work_make(struct ks_call *call, const struct ks_stream *stream);
void ks_setting_start(struct ks_call *call);

/* An on-demand stream with as many shards as that needs, and kept at it. answer as above. */
void ks_warm_throughput_start(struct ks_call *call, const struct ks_stream *stream, uint32_t mibps,
    void (*answer)(struct ks_call *call, const struct ks_setting_work *work));

/* The shards that it would take fit the account; false: the call has failed. */
bool ks_call_warm_shards_fit(struct ks_call *call, const struct ks_stream *stream, uint32_t mibps);

/* The stream; NULL: it is not there, the call has failed. */
struct ks_stream *ks_call_resolve(struct ks_call *call, const struct ks_stream_address *address);
/* The same, and it must be ACTIVE. */
struct ks_stream *ks_call_resolve_active(
    struct ks_call *call, const struct ks_stream_address *address);

#endif
