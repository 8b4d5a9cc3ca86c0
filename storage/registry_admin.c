/* Creating and deleting streams: what is visible at once, what the catalog is told, what follows
 * when it is durable. */
#include "base/alloc.h"
#include "proto/catalog.pb-c.h"
#include "proto/hash_range.h"
#include "storage/engine_priv.h"
#include "storage/registry_priv.h"

#include <stdio.h>
#include <string.h>

/* A purge that was begun: whether it became durable is looked at so much later. */
#define PURGE_LOOK_MS 60000u

/* A create or a delete between its call and its completion. */
struct admin_work {
    struct ks_change change;
    struct ks_turn turn; /* delete */
    struct ks_engine *engine;
    struct ks_admin *admin;
    struct ks_stream *stream; /* create: the snapshot to publish; delete: the DELETING one */
    struct ks_stream
        *restored; /* delete: the ACTIVE snapshot, published again if the commit is refused */
    struct ks_registry_tombstone *tombstones; /* delete: one per shard, filled by apply */
    uint32_t shard_count;
};

static void work_free(struct admin_work *work)
{
    if (work->stream)
        ks_stream_unref(work->stream);
    if (work->restored)
        ks_stream_unref(work->restored);
    ks_free(work->tombstones);
    ks_free(work);
}
KS_DEFINE_CLEANUP(struct admin_work, work_free)

static void work_complete(struct admin_work *work, enum ks_status status,
    const struct ks_error *error, struct ks_stream *stream)
{
    struct ks_admin *admin = work->admin;
    if (!admin) { /* the compactor's: it looks again */
        work_free(work);
        return;
    }
    admin->status = status;
    admin->error = *error;
    admin->stream = stream;
    work_free(work);
    ks_mailbox_send(admin->home, &admin->mail);
}

enum ks_status ks_registry_require_running(struct ks_engine *engine, struct ks_error *err)
{
    if (ks_engine_is_poisoned(engine))
        return ks_fail(err, KS_POISONED, 0, "%s", ks_status_info(KS_POISONED)->text);
    if (atomic_load(&engine->is_stopping))
        return ks_fail(err, KS_STOPPING, 0, "%s", ks_status_info(KS_STOPPING)->text);
    return KS_OK;
}

/* ---- create ---- */

/* [a-z0-9]{20}-[a-z0-9]{3}, as Kinesis makes them. mu held: the generator is guarded by it. */
static void make_stream_id(struct ks_registry *registry, char id[25])
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    do {
        for (unsigned i = 0; i < 24; i++)
            id[i] = i == 20 ? '-' : letters[ks_prng_below(&registry->engine->prng, 36)];
        id[24] = 0;
    } while (ks_u64_map_get(&registry->by_id, ks_registry_id_hash(id)));
}

static void stream_fill(
    struct ks_stream *stream, const struct ks_stream_spec *spec, enum ks_stream_status status)
{
    stream->status = status;
    stream->mode = spec->mode;
    stream->retention_hours = spec->retention_hours;
    stream->record_bytes_max = spec->record_bytes_max;
    stream->warm_mibps = spec->warm_mibps;
    stream->ack = spec->ack;
    stream->routing_epoch = 1;
    stream->next_shard_index = spec->shard_count;
    snprintf(stream->name, sizeof stream->name, "%s", spec->name);
}

static enum ks_status create_apply(
    struct ks_change *change, struct ks_kv_txn *txn, struct ks_error *err)
{
    struct admin_work *work = KS_CONTAINER_OF(change, struct admin_work, change);
    enum ks_status st = ks_registry_high_put(work->engine->registry, txn, err);
    if (!st)
        st = ks_stream_row_put(work->stream, txn, err);
    for (uint32_t i = 0; !st && i < work->stream->shard_count; i++)
        st = ks_shard_row_put(work->stream, &work->stream->shards[i], KS_SHARD_ROW_OPEN, txn, err);
    return st;
}

static void create_done(
    struct ks_change *change, enum ks_status status, const struct ks_error *error)
{
    struct admin_work *work = KS_CONTAINER_OF(change, struct admin_work, change);
    struct ks_registry *registry = work->engine->registry;
    struct ks_stream *stream = work->stream;
    struct ks_stream *old = NULL;
    {
        KS_LOCK_SCOPE(&registry->mu);
        registry->logs_expected -= stream->shard_count;
        if (status) {
            struct ks_list none; /* a stream that is CREATING gives no turns */
            old = ks_registry_remove(registry, stream->number, &none);
            registry->open_shards -= stream->shard_count;
            registry->kept_shards -= stream->shard_count;
        } else {
            for (uint32_t i = 0; i < stream->shard_count; i++) {
                struct ks_log *log = stream->shards[i].log;
                ks_u64_map_put(&registry->logs, ks_log_id(log), ks_log_ref(log));
            }
            old = ks_registry_publish(registry, stream);
        }
    }
    ks_stream_unref(old);
    work_complete(work, status, error, status ? NULL : ks_stream_ref(stream));
}

static enum ks_status make_shards(
    struct ks_engine *engine, struct ks_stream *stream, uint64_t first_log_id, struct ks_error *err)
{
    for (uint32_t i = 0; i < stream->shard_count; i++) {
        struct ks_hash_range range = ks_hash_range_initial(stream->shard_count, i);
        struct ks_shard *shard = &stream->shards[i];
        shard->index = i;
        shard->is_open = true;
        shard->created_s = stream->created_unix_ms / 1000;
        shard->hash_first = range.first;
        shard->hash_last = range.last;
        enum ks_status st = ks_shard_make_log(engine, stream, shard, first_log_id + i, err);
        if (st)
            return st;
    }
    KS_ASSERT(ks_stream_route_init(stream));
    return KS_OK;
}

/* Under the registry's mutex: name free, account has room; ids given out, CREATING visible. */
static enum ks_status create_announce(struct ks_registry *registry,
    const struct ks_stream_spec *spec, struct ks_stream *creating, uint64_t *out_first_log_id,
    struct ks_error *err)
{
    uint32_t shards_max = atomic_load(&registry->engine->shards_max);
    KS_LOCK_SCOPE(&registry->mu);
    if (ks_registry_has_name(registry, spec->name))
        return ks_fail(err, KS_EXISTS, 0, "stream '%s' already exists", spec->name);
    if (spec->shard_count > shards_max || registry->open_shards > shards_max - spec->shard_count)
        return ks_fail(err, KS_LIMIT, 0,
            "%u more shards would exceed the limit of %u (there are %u)", spec->shard_count,
            shards_max, registry->open_shards);
    if (!ks_u64_map_reserve(&registry->logs, registry->logs_expected + spec->shard_count))
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot create stream '%s'", spec->name);
    make_stream_id(registry, creating->id);
    creating->number = registry->stream_number_high + 1;
    if (!ks_registry_insert(registry, creating))
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot create stream '%s'", spec->name);
    ks_stream_ref(creating); /* one for the tables, one for the caller */
    registry->stream_number_high++;
    *out_first_log_id = registry->log_id_high + 1;
    registry->log_id_high += spec->shard_count;
    registry->open_shards += spec->shard_count;
    registry->kept_shards += spec->shard_count;
    registry->logs_expected += spec->shard_count;
    return KS_OK;
}

static void create_take_back(
    struct ks_registry *registry, const struct ks_stream *creating, uint32_t shard_count)
{
    struct ks_stream *old = NULL;
    {
        KS_LOCK_SCOPE(&registry->mu);
        struct ks_list none;
        old = ks_registry_remove(registry, creating->number, &none);
        registry->open_shards -= shard_count;
        registry->kept_shards -= shard_count;
        registry->logs_expected -= shard_count;
    }
    ks_stream_unref(old);
}

enum ks_status ks_stream_create(struct ks_engine *engine, const struct ks_stream_spec *spec,
    struct ks_admin *admin, struct ks_error *err)
{
    KS_ASSERT(spec->shard_count > 0 && strlen(spec->name) < sizeof admin->stream->name);
    enum ks_status st = ks_registry_require_running(engine, err);
    if (st)
        return st;
    KS_CLEANUP(work_freep) struct admin_work *work = ks_zalloc(sizeof *work);
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *creating = ks_stream_new(0);
    if (work)
        work->stream = ks_stream_new(spec->shard_count);
    if (!work || !creating || !work->stream)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot create stream '%s'", spec->name);
    st = ks_tags_with(NULL, spec->tags, spec->tag_count, &work->stream->tags, err);
    if (st)
        return st;
    creating->tags = ks_tags_ref(work->stream->tags);
    stream_fill(creating, spec, KS_STREAM_CREATING);
    stream_fill(work->stream, spec, KS_STREAM_ACTIVE);
    creating->created_unix_ms = ks_clock_unix_ms(engine->options.clock);
    work->stream->created_unix_ms = creating->created_unix_ms;
    uint64_t first_log_id = 0;
    st = create_announce(engine->registry, spec, creating, &first_log_id, err);
    if (st)
        return st;
    work->stream->number = creating->number;
    memcpy(work->stream->id, creating->id, sizeof creating->id);
    st = make_shards(engine, work->stream, first_log_id, err);
    if (st) {
        create_take_back(engine->registry, creating, spec->shard_count);
        return st;
    }
    work->engine = engine;
    work->admin = admin;
    work->change.apply = create_apply;
    work->change.done = create_done;
    ks_catalog_submit(engine->catalog, &KS_TAKE(work)->change);
    return KS_OK;
}

/* ---- delete ---- */

static enum ks_status delete_apply(
    struct ks_change *change, struct ks_kv_txn *txn, struct ks_error *err)
{
    struct admin_work *work = KS_CONTAINER_OF(change, struct admin_work, change);
    const struct ks_stream *stream = work->stream;
    struct ks_catalog_key key;
    enum ks_status st =
        ks_catalog_remove(txn, KS_TABLE_STREAMS, ks_catalog_key_u64(&key, stream->number), err);
    for (uint32_t i = 0; !st && i < stream->shard_count; i++)
        st = ks_shard_rows_remove(
            work->engine, stream->number, &stream->shards[i], &work->tombstones[i], txn, err);
    return st;
}

/* From here on nothing is appended, read or flushed. */
static void logs_mark_deleted(const struct ks_stream *stream)
{
    for (uint32_t i = 0; i < stream->shard_count; i++) {
        struct ks_log *log = stream->shards[i].log;
        KS_LOCK_SCOPE(&log->mu);
        log->state = KS_LOG_DELETED;
    }
}

static void logs_unmark(const struct ks_stream *stream)
{
    for (uint32_t i = 0; i < stream->shard_count; i++) {
        const struct ks_shard *shard = &stream->shards[i];
        ks_log_revive(shard->log, shard->is_open ? KS_LOG_OPEN : KS_LOG_CLOSED);
    }
}

static void delete_publish(struct admin_work *work)
{
    struct ks_registry *registry = work->engine->registry;
    struct ks_stream *stream = work->stream;
    struct ks_stream *old = NULL;
    struct ks_list turns;
    {
        KS_LOCK_SCOPE(&registry->mu);
        old = ks_registry_remove(registry, stream->number, &turns);
        registry->open_shards -= stream->open_count;
        registry->kept_shards -= stream->shard_count;
        for (uint32_t i = 0; i < stream->shard_count; i++)
            ks_registry_bury_log(registry, &work->tombstones[i]);
    }
    ks_stream_unref(old);
    for (uint32_t i = 0; i < stream->shard_count; i++)
        ks_log_bury(stream->shards[i].log);
    ks_registry_cancel_turns(&turns, &work->turn);
}

static void delete_done(
    struct ks_change *change, enum ks_status status, const struct ks_error *error)
{
    struct admin_work *work = KS_CONTAINER_OF(change, struct admin_work, change);
    struct ks_registry *registry = work->engine->registry;
    if (status) {
        struct ks_stream *old = NULL;
        logs_unmark(work->stream);
        {
            KS_LOCK_SCOPE(&registry->mu);
            registry->tombstones_expected -= work->stream->shard_count;
            old = ks_registry_publish(registry, work->restored);
        }
        ks_stream_unref(old);
        ks_registry_give_turn_on(registry, &work->turn);
    } else {
        delete_publish(work);
        if (!work->admin)
            ks_engine_count(work->engine, KS_COUNT_STREAMS_PURGED, 1);
    }
    work_complete(work, status, error, NULL);
}

static enum ks_status delete_announce(struct admin_work *work, struct ks_error *err)
{
    struct ks_registry *registry = work->engine->registry;
    work->stream = ks_stream_copy(work->restored, 0);
    work->tombstones = ks_calloc(work->restored->shard_count, sizeof *work->tombstones);
    if (!work->stream || !work->tombstones)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot delete stream '%s'", work->restored->name);
    work->stream->status = KS_STREAM_DELETING;
    work->stream->purge_unix_ms = 0;
    struct ks_stream *old = NULL;
    {
        KS_LOCK_SCOPE(&registry->mu);
        if (!ks_registry_reserve_tombstones(
                registry, registry->tombstones_expected + work->stream->shard_count))
            return ks_fail(err, KS_NO_MEMORY, 0, "cannot delete stream '%s'", work->stream->name);
        registry->tombstones_expected += work->stream->shard_count;
        old = ks_registry_publish(registry, work->stream);
    }
    ks_stream_unref(old);
    return KS_OK;
}

static void delete_start(struct ks_turn *turn, struct ks_stream *stream)
{
    struct admin_work *work = KS_CONTAINER_OF(turn, struct admin_work, turn);
    struct ks_error error = KS_ERROR_INIT;
    work->restored = stream;
    error.status = delete_announce(work, &error);
    if (error.status) {
        ks_registry_give_turn_on(work->engine->registry, turn);
        work_complete(work, error.status, &error, NULL);
        return;
    }
    logs_mark_deleted(work->stream);
    work->change.apply = delete_apply;
    work->change.done = delete_done;
    ks_catalog_submit(work->engine->catalog, &work->change);
}

static void delete_cancel(struct ks_turn *turn, enum ks_status status)
{
    struct admin_work *work = KS_CONTAINER_OF(turn, struct admin_work, turn);
    struct ks_error error = KS_ERROR_INIT;
    KS_IGNORE(ks_fail(&error, status, 0, "the stream is gone"), "only fills it");
    work_complete(work, status, &error, NULL);
}

/* Consumes work, which knows its engine and admin. */
static enum ks_status delete_begin(
    struct admin_work *take_work, uint64_t number, enum ks_turn_wants wants)
{
    take_work->turn = (struct ks_turn){.stream_number = number,
        .is_announced = true,
        .wants = wants,
        .start = delete_start,
        .cancel = delete_cancel};
    /* Gone by the time the call returns, perhaps. */
    enum ks_status st = ks_registry_take_turn(take_work->engine->registry, &take_work->turn);
    if (st)
        work_free(take_work);
    return st;
}

enum ks_status ks_stream_delete(
    struct ks_engine *engine, const char *name, struct ks_admin *admin, struct ks_error *err)
{
    enum ks_status st = ks_registry_require_running(engine, err);
    if (st)
        return st;
    struct ks_stream *stream = NULL;
    if (ks_registry_find(engine, name, &stream))
        return ks_fail(err, KS_NOT_FOUND, 0, "stream '%s' not found", name);
    uint64_t number = stream->number;
    ks_stream_unref(stream);
    struct admin_work *work = ks_zalloc(sizeof *work);
    if (!work)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot delete stream '%s'", name);
    work->engine = engine;
    work->admin = admin;
    st = delete_begin(work, number, KS_TURN_WANTS_EITHER);
    if (st == KS_OK)
        return KS_OK;
    return ks_fail(
        err, st, 0, st == KS_IN_USE ? "stream '%s' is not ACTIVE" : "stream '%s' not found", name);
}

/* When a stream that is kept has to be looked at next; 0: it is not there any more, or not kept. */
static uint64_t kept_until(struct ks_engine *engine, uint64_t number, uint64_t later_unix_ms)
{
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = NULL;
    if (ks_registry_find_number(engine, number, &stream) || stream->status != KS_STREAM_DELETING)
        return 0;
    /* Without a time its purge or its restoring is under way. */
    return stream->purge_unix_ms > 0 ? stream->purge_unix_ms : later_unix_ms;
}

enum ks_status ks_registry_purge(struct ks_engine *engine, uint64_t number, uint64_t now_unix_ms,
    uint64_t *out_look_unix_ms, struct ks_error *err)
{
    uint64_t later_unix_ms = now_unix_ms + PURGE_LOOK_MS;
    *out_look_unix_ms = later_unix_ms;
    enum ks_status st = ks_registry_require_running(engine, err);
    if (st)
        return st;
    uint64_t until = kept_until(engine, number, later_unix_ms);
    if (until == 0 || until > now_unix_ms) {
        *out_look_unix_ms = until;
        return KS_OK;
    }
    struct admin_work *work = ks_zalloc(sizeof *work);
    if (!work)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot purge a stream");
    work->engine = engine;
    st = delete_begin(work, number, KS_TURN_WANTS_KEPT);
    return st == KS_IN_USE || st == KS_NOT_FOUND ? KS_OK : st;
}
