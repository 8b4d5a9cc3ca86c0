/*
 * Streams whose shards change: what a snapshot may say after what was said before, reshards and
 * removals at any moment, and clients that follow one key through all of it.
 */
#include "tests/sim/sim_world.h"

#include <inttypes.h>

/* ---- snapshots ---- */

/* Shards that the model has not seen yet: a reshard has made them. */
bool sim_learn_shards(
    struct sim_world *world, struct sim_stream *stream, const struct ks_stream *snapshot)
{
    for (uint32_t i = 0; i < snapshot->shard_count; i++) {
        const struct ks_shard *shard = &snapshot->shards[i];
        if (shard->index >= SIM_SHARDS_KEPT)
            return sim_fail(world, "stream %s has a shard %u", stream->name, shard->index);
        struct sim_log *log = &stream->logs[shard->index];
        if (!log->incarnation) {
            sim_log_init(log, world->next_uid++, shard->index, &world->prng);
            log->ack = stream->ack;
        }
        if (!log->is_known) {
            log->is_known = true;
            log->shard = *shard;
            log->shard.log = NULL;
            stream->shard_count = KS_MAX(stream->shard_count, shard->index + 1);
        }
    }
    return true;
}

/* What never changes of a shard; and how it ends, once and for all. */
static bool sim_check_shard(struct sim_world *world, const struct sim_stream *stream,
    struct sim_log *log, const struct ks_shard *shard)
{
    const struct ks_shard *was = &log->shard;
    struct ks_log_bounds bounds;
    ks_log_bounds(shard->log, &bounds);
    if (log->is_removed)
        return sim_fail(world, "stream %s: shard %u came back", stream->name, shard->index);
    if (was->hash_first != shard->hash_first || was->hash_last != shard->hash_last ||
        was->has_parent != shard->has_parent || was->parent_index != shard->parent_index ||
        was->has_adjacent_parent != shard->has_adjacent_parent ||
        was->adjacent_parent_index != shard->adjacent_parent_index ||
        was->created_s != shard->created_s)
        return sim_fail(world, "stream %s: shard %u is another one", stream->name, shard->index);
    if (stream->state == SIM_STREAM_DELETING)
        return true; /* its logs answer nothing any more */
    if (bounds.is_closed == shard->is_open)
        return sim_fail(world, "stream %s: shard %u is %s, its log is not", stream->name,
            shard->index, shard->is_open ? "open" : "closed");
    if (log->is_ended && (shard->is_open || log->end_sequence != bounds.last_sequence))
        return sim_fail(world, "stream %s: shard %u ended at %" PRIu64 ", now it is %s at %" PRIu64,
            stream->name, shard->index, log->end_sequence, shard->is_open ? "open" : "closed",
            bounds.last_sequence);
    if (shard->is_open)
        return true;
    if (bounds.last_sequence + 1 != log->next_sequence) {
        world->totals->lost += log->next_sequence - bounds.last_sequence - 1;
        return sim_fail(world,
            "stream %s: shard %u ends at %" PRIu64 ", but it had taken records up to %" PRIu64,
            stream->name, shard->index, bounds.last_sequence, log->next_sequence - 1);
    }
    log->is_ended = true;
    log->end_sequence = bounds.last_sequence;
    return true;
}

/* Every key has exactly one open shard. */
static bool sim_check_tiles(struct sim_world *world, const struct ks_stream *snapshot)
{
    ks_u128 covered = 0;
    for (uint32_t i = 0; i < snapshot->shard_count; i++) {
        const struct ks_shard *a = &snapshot->shards[i];
        if (!a->is_open)
            continue;
        covered += a->hash_last - a->hash_first + 1;
        for (uint32_t k = 0; k < i; k++) {
            const struct ks_shard *b = &snapshot->shards[k];
            if (b->is_open && a->hash_first <= b->hash_last && b->hash_first <= a->hash_last)
                return sim_fail(world, "stream %s: shards %u and %u overlap", snapshot->name,
                    a->index, b->index);
        }
    }
    return covered == 0 || /* 2^128 */
           sim_fail(world, "stream %s: its open shards leave keys out", snapshot->name);
}

bool sim_check_shards(
    struct sim_world *world, struct sim_stream *stream, const struct ks_stream *snapshot)
{
    for (uint32_t i = 0; i < stream->shard_count; i++) {
        struct sim_log *log = &stream->logs[i];
        const struct ks_shard *shard = ks_stream_shard(snapshot, i);
        if (shard && !sim_check_shard(world, stream, log, shard))
            return false;
        if (!shard && !log->is_removed && !log->is_removal_asked)
            return sim_fail(world, "stream %s: shard %u is gone", stream->name, i);
        log->is_removed = !shard;
    }
    if (snapshot->routing_epoch < stream->epoch_seen)
        return sim_fail(world, "stream %s went back to routing %" PRIu64, stream->name,
            snapshot->routing_epoch);
    stream->epoch_seen = snapshot->routing_epoch;
    if (snapshot->status == KS_STREAM_ACTIVE && snapshot->routing_epoch < stream->epoch_due)
        return sim_fail(world, "stream %s: a reshard that was promised did not come", stream->name);
    return sim_check_tiles(world, snapshot);
}

bool sim_look(struct sim_world *world, struct sim_stream *stream, struct ks_stream **out_snapshot)
{
    *out_snapshot = NULL;
    if (ks_registry_find(world->engine, stream->name, out_snapshot) != KS_OK)
        return sim_fail(world, "stream %s is not found", stream->name);
    return sim_learn_shards(world, stream, *out_snapshot) &&
           sim_check_shards(world, stream, *out_snapshot) &&
           sim_check_settings(world, stream, *out_snapshot);
}

/* ---- one key through all shards ---- */

/* Is ancestor the shard that the key of hash was in, some reshards before shard? */
static bool sim_descends(
    const struct sim_stream *stream, uint32_t shard, uint32_t ancestor, ks_u128 hash)
{
    while (shard != ancestor) {
        const struct ks_shard *at = &stream->logs[shard].shard;
        if (!at->has_parent)
            return false;
        const struct ks_shard *parent = &stream->logs[at->parent_index].shard;
        bool is_there = parent->hash_first <= hash && hash <= parent->hash_last;
        shard = is_there ? at->parent_index : at->adjacent_parent_index;
    }
    return true;
}

/* The next record of the key lies behind the one before: in the same shard, or in a child of it. */
static bool sim_keyed_stored(struct sim_world *world, struct sim_stream *stream,
    struct sim_keyed *keyed, uint32_t shard, uint64_t sequence)
{
    keyed->is_in_flight = false;
    bool is_first = keyed->count++ == 0;
    bool is_same = shard == keyed->shard;
    bool is_right = is_first || (is_same ? sequence > keyed->sequence
                                         : sim_descends(stream, shard, keyed->shard, keyed->hash));
    if (!is_right) {
        world->totals->reordered++;
        return sim_fail(world,
            "stream %s: a record of a key is at %" PRIu64 " of shard %u, the one before at %" PRIu64
            " of shard %u",
            stream->name, sequence, shard, keyed->sequence, keyed->shard);
    }
    world->totals->keys_moved += !is_first && !is_same;
    keyed->shard = shard;
    keyed->sequence = sequence;
    return true;
}

bool sim_keyed_answered(struct sim_world *world, struct sim_keyed *keyed, const struct sim_log *log,
    const struct ks_append *append)
{
    keyed->is_in_flight = false;
    if (append->status != KS_OK)
        return true;
    return sim_keyed_stored(world, keyed->stream, keyed, log->shard_index, append->first_sequence);
}

bool sim_keyed_recovered(struct sim_world *world, struct sim_stream *stream)
{
    for (size_t i = 0; i < SIM_KEYED; i++) {
        struct sim_keyed *keyed = &stream->keyed[i];
        if (!keyed->is_in_flight)
            continue;
        keyed->is_in_flight = false;
        const struct sim_log *log = &stream->logs[keyed->sent_to];
        for (size_t k = log->batch_count; k-- > 0;)
            if (log->batches[k].uid == keyed->uid &&
                !sim_keyed_stored(
                    world, stream, keyed, keyed->sent_to, log->batches[k].first_sequence))
                return false;
    }
    return true;
}

bool sim_put_keyed(struct sim_world *world)
{
    struct sim_stream *stream = sim_pick_stream(world);
    if (!stream || stream->ack != KS_ACK_DURABLE)
        return true;
    struct sim_keyed *keyed = &stream->keyed[ks_prng_below(&world->prng, SIM_KEYED)];
    if (keyed->is_in_flight)
        return true;
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *snapshot = NULL;
    if (!sim_look(world, stream, &snapshot))
        return false;
    if (keyed->count == 0)
        keyed->hash = (ks_u128)ks_prng_u64(&world->prng) << 64 | ks_prng_u64(&world->prng);
    keyed->stream = stream;
    const struct ks_shard *shard = ks_stream_route(snapshot, keyed->hash);
    struct sim_batch batch = {.uid = world->next_uid++, .record_count = 1};
    bool is_sent = false;
    if (!sim_send(world, &stream->logs[shard->index], shard->log, snapshot->routing_epoch, &batch,
            0, keyed, &is_sent))
        return false;
    keyed->is_in_flight = is_sent;
    keyed->uid = batch.uid;
    keyed->sent_to = shard->index;
    return true;
}

/* ---- reshards ---- */

/* Something that is possible now. False: nothing is. */
static bool sim_choose_reshard(
    struct sim_world *world, const struct ks_stream *snapshot, struct ks_reshard_spec *spec)
{
    uint32_t at = (uint32_t)ks_prng_below(&world->prng, snapshot->open_count);
    const struct ks_shard *shard = &snapshot->shards[snapshot->open_by_hash[at]];
    ks_u128 width = shard->hash_last - shard->hash_first;
    *spec = (struct ks_reshard_spec){
        .kind = (enum ks_reshard_kind)ks_prng_below(&world->prng, 3), .shard_index = shard->index};
    if (snapshot->next_shard_index + SIM_RESHARD_MAKES_MAX > SIM_SHARDS_KEPT)
        return false;
    if (spec->kind == KS_RESHARD_SPLIT && width > 0 && snapshot->open_count < SIM_OPEN_MAX) {
        ks_u128 offset = (ks_u128)ks_prng_u64(&world->prng) << 64 | ks_prng_u64(&world->prng);
        spec->new_hash_first = shard->hash_first + 1 + offset % width;
    } else if (spec->kind == KS_RESHARD_MERGE && at + 1 < snapshot->open_count) {
        spec->adjacent_index = snapshot->shards[snapshot->open_by_hash[at + 1]].index;
    } else {
        spec->kind = KS_RESHARD_COUNT;
        spec->target_count = 1 + (uint32_t)ks_prng_below(&world->prng, 2 * snapshot->open_count);
        spec->target_count = KS_MIN(spec->target_count, SIM_OPEN_MAX);
        return spec->target_count != snapshot->open_count;
    }
    return true;
}

bool sim_reshard(struct sim_world *world)
{
    struct sim_stream *stream = sim_pick_stream(world);
    if (!stream)
        return true;
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *snapshot = NULL;
    if (!sim_look(world, stream, &snapshot))
        return false;
    struct sim_admin *op = sim_admin_new(world, stream, SIM_RESHARD);
    struct ks_reshard_spec spec;
    if (!sim_choose_reshard(world, snapshot, &spec)) {
        sim_admin_free(op);
        return true;
    }
    op->epoch_due = snapshot->routing_epoch + 1;
    struct ks_error err = KS_ERROR_INIT;
    enum ks_status st = ks_stream_reshard(world->engine, snapshot->number, &spec, &op->admin, &err);
    world->totals->reshards_asked += st == KS_OK;
    return sim_admin_begun(world, op, st, &err);
}

void sim_reshard_answered(struct sim_admin *op)
{
    if (op->admin.status != KS_OK)
        return;
    /* Done, or certain to be done: from here on every ACTIVE snapshot must show it. */
    op->stream->epoch_due = ks_max_u64(op->stream->epoch_due, op->epoch_due);
    op->world->totals->reshards_done += !op->admin.is_delayed;
    op->world->totals->reshards_delayed += op->admin.is_delayed;
}

/* Each may make so many shards until this is called again, and once more before it heeds it. */
bool sim_tame_streams(struct sim_world *world)
{
    for (size_t i = 0; i < SIM_STREAMS_MAX; i++) {
        struct sim_stream *stream = &world->streams[i];
        KS_CLEANUP(ks_stream_unrefp) struct ks_stream *snapshot = NULL;
        if (stream->state != SIM_STREAM_THERE ||
            ks_registry_find(world->engine, stream->name, &snapshot) != KS_OK ||
            snapshot->mode != KS_STREAM_ON_DEMAND ||
            snapshot->next_shard_index + 2 * SIM_RESHARD_MAKES_MAX <= SIM_SHARDS_KEPT)
            continue;
        struct sim_admin *op = sim_admin_new(world, stream, SIM_MODE);
        struct ks_error err = KS_ERROR_INIT;
        enum ks_status st = ks_stream_set_mode(
            world->engine, snapshot->number, KS_STREAM_PROVISIONED, &op->admin, &err);
        if (!sim_admin_begun(world, op, st, &err))
            return false;
    }
    return true;
}

/* ---- removals ---- */

bool sim_remove_shard(struct sim_world *world)
{
    struct sim_stream *stream = sim_pick_stream(world);
    if (!stream)
        return true;
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *snapshot = NULL;
    if (!sim_look(world, stream, &snapshot))
        return false;
    const struct ks_shard *shard =
        &snapshot->shards[ks_prng_below(&world->prng, snapshot->shard_count)];
    bool is_possible = !shard->is_open;
    /* It waits for changes under way, and finds what they have made. */
    bool is_open_question = stream->reshards > 0 || snapshot->status != KS_STREAM_ACTIVE ||
                            snapshot->mode == KS_STREAM_ON_DEMAND;
    const uint32_t parents[2] = {shard->parent_index, shard->adjacent_parent_index};
    const bool has[2] = {shard->has_parent, shard->has_adjacent_parent};
    for (size_t i = 0; i < 2; i++) {
        if (!has[i] || !ks_stream_shard(snapshot, parents[i]))
            continue;
        is_possible = false;
        is_open_question |= stream->logs[parents[i]].is_removal_asked;
    }
    struct sim_admin *op = sim_admin_new(world, stream,
        is_open_question ? SIM_REMOVE_MAYBE
        : is_possible    ? SIM_REMOVE
                         : SIM_REMOVE_REFUSED);
    op->shard_index = shard->index;
    struct ks_error err = KS_ERROR_INIT;
    if (op->kind != SIM_REMOVE_REFUSED)
        stream->logs[shard->index].is_removal_asked = true;
    enum ks_status st =
        ks_shard_remove(world->engine, snapshot->number, shard->index, &op->admin, &err);
    return sim_admin_begun(world, op, st, &err);
}

/* ---- going on ---- */

/* The engine has come to rest, the disk is in order: no reshard may be left. */
bool sim_check_finished(struct sim_world *world)
{
    for (size_t i = 0; i < SIM_STREAMS_MAX; i++) {
        KS_CLEANUP(ks_stream_unrefp) struct ks_stream *snapshot = NULL;
        if (world->streams[i].state != SIM_STREAM_THERE)
            continue;
        if (!sim_look(world, &world->streams[i], &snapshot))
            return false;
        if (snapshot->status != KS_STREAM_ACTIVE)
            return sim_fail(
                world, "stream %s: its reshard does not come to an end", snapshot->name);
    }
    return true;
}
