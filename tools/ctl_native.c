#include "tools/ctl_native.h"

#include "client/client.h"

#include <stdio.h>

enum kstream_status ctl_call(struct ctl *ctl, enum ks_op op, const ProtobufCMessage *request,
    struct ks_arena *arena, ProtobufCMessage **out_message, struct kstream_error *err)
{
    enum kstream_status st = ctl_connect(ctl, err);
    if (st)
        return st;
    const struct client_exchange exchange = {.op = op,
        .request = request,
        .deadline_ns = client_call_deadline_ns(ctl->client, ctl->timeout_ms),
        .is_repeatable = true};
    struct ks_error inner = KS_ERROR_INIT;
    st =
        ctl_fail_from(err, client_call(ctl->client, &exchange, arena, out_message, &inner), &inner);
    if (st)
        err->request_id = ctl->client->last_request_id;
    return st;
}

void ctl_name_stream(const struct ctl *ctl, char **out_name, char **out_arn)
{
    if (ctl->stream && client_is_id(ctl->stream))
        *out_name = client_text(ctl->stream_name); /* ctl_connect has learned it */
    else if (ctl->stream)
        *(client_is_arn(ctl->stream) ? out_arn : out_name) = client_text(ctl->stream);
}

void ctl_shard_id_text(const char *text, char out[KS_SHARD_ID_TEXT_BYTES])
{
    uint32_t index = 0;
    if (ks_shard_id_from_text(ks_view_of_text(text), &index) == KS_OK)
        ks_shard_id_to_text(index, out);
    else
        snprintf(out, KS_SHARD_ID_TEXT_BYTES, "%s", text);
}
