/* Closed shards whose records have all expired: they leave their stream. */
#include "base/alloc.h"
#include "storage/engine_priv.h"
#include "storage/registry_priv.h"

#include <string.h>

struct remove_work {
    struct ks_change change;
    struct ks_turn turn;
    struct ks_engine *engine;
    struct ks_admin *admin;
    uint32_t shard_index;
    struct ks_stream *stream; /* with the shard; referenced */
    struct ks_stream *next;   /* without it */
    struct ks_shard shard;    /* its log is referenced by stream */
    struct ks_registry_tombstone tombstone;
};

static void remove_complete(
    struct remove_work *work, enum ks_status status, const struct ks_error *error)
{
    struct ks_admin *admin = work->admin;
    admin->status = status;
    admin->error = *error;
    admin->stream = NULL;
    if (work->stream)
        ks_stream_unref(work->stream);
    if (work->next)
        ks_stream_unref(work->next);
    ks_free(work);
    ks_mailbox_send(admin->home, &admin->mail);
}

static enum ks_status remove_apply(
    struct ks_change *change, struct ks_kv_txn *txn, struct ks_error *err)
{
    struct remove_work *work = KS_CONTAINER_OF(change, struct remove_work, change);
    return ks_shard_rows_remove(
        work->engine, work->stream->number, &work->shard, &work->tombstone, txn, err);
}

static void remove_done(
    struct ks_change *change, enum ks_status status, const struct ks_error *error)
{
    struct remove_work *work = KS_CONTAINER_OF(change, struct remove_work, change);
    struct ks_registry *registry = work->engine->registry;
    struct ks_stream *old = NULL;
    {
        KS_LOCK_SCOPE(&registry->mu);
        if (status) {
            registry->tombstones_expected--;
        } else {
            registry->kept_shards--;
            ks_registry_bury_log(registry, &work->tombstone);
            old = ks_registry_publish(registry, work->next);
        }
    }
    if (status)
        ks_log_revive(work->shard.log, KS_LOG_CLOSED);
    else
        ks_log_bury(work->shard.log);
    if (old)
        ks_stream_unref(old);
    ks_registry_give_turn_on(registry, &work->turn);
    remove_complete(work, status, error);
}

/* The same stream without the shard at position. NULL: no memory. */
static struct ks_stream *stream_without(const struct ks_stream *from, uint32_t position)
{
    struct ks_stream *stream = ks_stream_copy(from, 0);
    if (!stream)
        return NULL;
    ks_log_unref(stream->shards[position].log);
    stream->shard_count--;
    memmove(stream->shards + position, stream->shards + position + 1,
        (stream->shard_count - position) * sizeof *stream->shards);
    KS_ASSERT(ks_stream_route_init(stream));
    return stream;
}

/* Parents first: a reader of a parent must find its children at the end. */
static enum ks_status remove_check(
    struct remove_work *work, const struct ks_shard **out_shard, struct ks_error *err)
{
    const struct ks_stream *stream = work->stream;
    const struct ks_shard *shard = ks_stream_shard(stream, work->shard_index);
    if (!shard)
        return ks_fail(
            err, KS_NOT_FOUND, 0, "stream '%s' has no shard %u", stream->name, work->shard_index);
    bool has_parent = shard->has_parent && ks_stream_shard(stream, shard->parent_index);
    bool has_adjacent =
        shard->has_adjacent_parent && ks_stream_shard(stream, shard->adjacent_parent_index);
    if (shard->is_open || has_parent || has_adjacent)
        return ks_fail(err, KS_IN_USE, 0, "shard %u of stream '%s' %s", shard->index, stream->name,
            shard->is_open ? "is open" : "has a parent that is still there");
    *out_shard = shard;
    return KS_OK;
}

static enum ks_status remove_prepare(struct remove_work *work, struct ks_error *err)
{
    struct ks_registry *registry = work->engine->registry;
    const struct ks_shard *shard = NULL;
    enum ks_status st = remove_check(work, &shard, err);
    if (st)
        return st;
    work->shard = *shard;
    work->next = stream_without(work->stream, (uint32_t)(shard - work->stream->shards));
    KS_LOCK_SCOPE(&registry->mu);
    if (!work->next || !ks_registry_reserve_tombstones(registry, registry->tombstones_expected + 1))
        return ks_fail(
            err, KS_NO_MEMORY, 0, "cannot remove a shard of stream '%s'", work->stream->name);
    registry->tombstones_expected++;
    return KS_OK;
}

static void remove_start(struct ks_turn *turn, struct ks_stream *stream)
{
    struct remove_work *work = KS_CONTAINER_OF(turn, struct remove_work, turn);
    struct ks_error error = KS_ERROR_INIT;
    work->stream = stream;
    error.status = remove_prepare(work, &error);
    if (error.status) {
        ks_registry_give_turn_on(work->engine->registry, turn);
        remove_complete(work, error.status, &error);
        return;
    }
    {
        KS_LOCK_SCOPE(&work->shard.log->mu);
        work->shard.log->state = KS_LOG_DELETED;
    }
    work->change.apply = remove_apply;
    work->change.done = remove_done;
    ks_catalog_submit(work->engine->catalog, &work->change);
}

static void remove_cancel(struct ks_turn *turn, enum ks_status status)
{
    struct remove_work *work = KS_CONTAINER_OF(turn, struct remove_work, turn);
    struct ks_error error = KS_ERROR_INIT;
    error.status = ks_fail(&error, status, 0, "the stream is gone");
    remove_complete(work, status, &error);
}

enum ks_status ks_shard_remove(struct ks_engine *engine, uint64_t stream_number,
    uint32_t shard_index, struct ks_admin *admin, struct ks_error *err)
{
    struct remove_work *work = ks_zalloc(sizeof *work);
    if (!work)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot remove a shard");
    work->engine = engine;
    work->admin = admin;
    work->shard_index = shard_index;
    work->turn = (struct ks_turn){
        .stream_number = stream_number, .start = remove_start, .cancel = remove_cancel};
    enum ks_status st = ks_registry_take_turn(engine->registry, &work->turn);
    if (st == KS_OK)
        return KS_OK;
    ks_free(work);
    return ks_fail(err, st, 0, "stream %llu %s", (unsigned long long)stream_number,
        st == KS_NOT_FOUND ? "is not there" : "is being made");
}
