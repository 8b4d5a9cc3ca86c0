/* VerifyShard: sealed segments of a shard, read over again from the disk. */
#include "daemon/ops.h"
#include "storage/retention.h"

/* A request reads about so much: some answers a second, and a progress for whoever waits. */
#define BYTES_A_REQUEST (64u << 20)

/* NULL: out of memory. */
static const ProtobufCMessage *verify_message(
    struct ks_arena *arena, const struct ks_verify *verify, uint64_t last_sequence)
{
    Kstream__VerifyShardResponse *response = ks_arena_alloc(arena, sizeof(*response));
    Kstream__VerifyDamage **damages =
        ks_arena_alloc(arena, (verify->damage_count + 1) * sizeof(damages[0]));
    if (!response || !damages)
        return NULL;
    kstream__verify_shard_response__init(response);
    response->segments = verify->segments;
    response->bytes = verify->bytes;
    response->records = verify->records;
    response->damages = damages;
    response->has_next_sequence = !verify->is_done;
    response->next_sequence = verify->after_sequence;
    response->unsealed_records =
        last_sequence > verify->after_sequence ? last_sequence - verify->after_sequence : 0;
    for (uint32_t i = 0; i < verify->damage_count; i++) {
        Kstream__VerifyDamage *damage = ks_arena_alloc(arena, sizeof(*damage));
        if (!damage)
            return NULL;
        kstream__verify_damage__init(damage);
        damage->file_id = verify->damages[i].file_id;
        damage->from_sequence = verify->damages[i].from_sequence;
        damage->batches = verify->damages[i].batches;
        damage->records = verify->damages[i].records;
        damages[response->n_damages++] = damage;
    }
    return &response->base;
}

static const ProtobufCMessage *build_verify(
    struct ks_call *call, const ProtobufCMessage *message, struct ks_error *err)
{
    const Kstream__VerifyShardRequest *request = (const void *)message;
    const struct ks_stream_address address = KS_STREAM_ADDRESS(request);
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = NULL;
    const struct ks_shard *shard = NULL;
    struct ks_log_bounds bounds;
    enum ks_status st = ks_stream_resolve(call->server, &address, &stream, err);
    if (!st)
        st = ks_stream_shard_by_text(call->server, stream, request->shard_id, &shard, err);
    if (st)
        return NULL;
    struct ks_verify *verify = ks_arena_zalloc(&call->arena, sizeof(*verify));
    if (!verify)
        return NULL;
    verify->bytes_max = BYTES_A_REQUEST;
    ks_log_bounds(shard->log, &bounds);
    /* What has expired is gone on purpose. */
    verify->after_sequence = ks_max_u64(
        request->has_after_sequence ? request->after_sequence : 0, bounds.first_sequence - 1);
    if (ks_verify_log(shard->log, verify, err))
        return NULL;
    return verify_message(&call->arena, verify, bounds.last_sequence);
}

void ks_op_verify_shard(struct ks_call *call, const ProtobufCMessage *message)
{
    ks_call_build(call, message, build_verify);
}
