/* Iterators and records, one blocking call each. */
#include "base/alloc.h"
#include "client/batch.h"
#include "client/position.h"

static enum ks_status get_iterator(struct kstream_client *client,
    Kstream__GetShardIteratorRequest *request, uint64_t deadline_ns, char *iterator,
    struct ks_error *err)
{
    struct client_exchange exchange = {.op = KS_OP_GET_SHARD_ITERATOR,
        .request = &request->base,
        .deadline_ns = deadline_ns,
        .is_repeatable = true};
    struct client_answer answer = {.frame = NULL};
    enum ks_status st = client_exchange(client, &exchange, &answer, err);
    if (st)
        return st;
    st = client_iterator_read(answer.response.message, iterator, err);
    ks_free(answer.frame);
    return st;
}

enum kstream_status kstream_get_shard_iterator(struct kstream_client *client, const char *stream,
    const char *shard_id, const struct kstream_position *position,
    const struct kstream_call_options *options, char iterator[KSTREAM_ITERATOR_BYTES],
    struct kstream_error *err)
{
    struct ks_error inner = KS_ERROR_INIT;
    client->last_request_id = 0;
    if (!stream || !shard_id || !position || !iterator)
        return client_result(
            ks_fail(&inner, KS_INVALID, 0, "a stream, a shard and a position are needed"), &inner,
            0, err);
    Kstream__GetShardIteratorRequest request = KSTREAM__GET_SHARD_ITERATOR_REQUEST__INIT;
    CLIENT_NAME_STREAM(&request, stream);
    request.shard_id = client_text(shard_id);
    enum ks_status st = client_position_request(position, &request, &inner);
    if (st == KS_OK)
        st = get_iterator(client, &request,
            client_call_deadline_ns(client, CLIENT_OPTION(options, timeout_ms, 0)), iterator,
            &inner);
    return client_result(st, &inner, client->last_request_id, err);
}

static uint64_t deadline_plus_ms(uint64_t deadline_ns, uint32_t more_ms)
{
    return deadline_ns == CLIENT_DEADLINE_NONE ? deadline_ns
                                               : deadline_ns + (uint64_t)more_ms * 1000000u;
}

enum kstream_status kstream_get_records(struct kstream_client *client, const char *iterator,
    const struct kstream_get_options *options, struct kstream_batch **out_batch,
    struct kstream_error *err)
{
    struct ks_error inner = KS_ERROR_INIT;
    client->last_request_id = 0;
    if (!iterator || !out_batch)
        return client_result(
            ks_fail(&inner, KS_INVALID, 0, "an iterator and a place for the batch are needed"),
            &inner, 0, err);
    uint32_t limit = CLIENT_OPTION(options, limit, 0);
    uint32_t wait_ms = KS_MIN(CLIENT_OPTION(options, wait_ms, 0), KS_GET_WAIT_MS_MAX);
    Kstream__GetRecordsRequest request = KSTREAM__GET_RECORDS_REQUEST__INIT;
    request.shard_iterator = client_text(iterator);
    request.has_limit = limit > 0;
    request.limit = (int32_t)KS_MIN(limit, (uint32_t)INT32_MAX);
    request.max_bytes = CLIENT_OPTION(options, max_bytes, 0);
    request.has_max_bytes = request.max_bytes > 0;
    request.wait_ms = wait_ms;
    request.has_wait_ms = wait_ms > 0;
    uint64_t deadline_ns = client_call_deadline_ns(client, CLIENT_OPTION(options, timeout_ms, 0));
    struct client_exchange exchange = {.op = KS_OP_GET_RECORDS,
        .request = &request.base,
        .deadline_ns = deadline_plus_ms(deadline_ns, wait_ms),
        .is_repeatable = true};
    struct client_answer answer = {.frame = NULL};
    enum ks_status st = client_exchange(client, &exchange, &answer, &inner);
    if (st == KS_OK)
        st = client_batch_take(&answer, out_batch, &inner);
    return client_result(st, &inner, client->last_request_id, err);
}
