/* Creating and deleting streams: what is visible at once, what the catalog is told, what follows
 * when it is durable. */
#include "base/alloc.h"
#include "proto/catalog.pb-c.h"
#include "proto/hash_range.h"
#include "storage/engine_priv.h"
#include "storage/registry_priv.h"

#include <stdio.h>
#include <string.h>

/* A create or a delete between its call and its completion. */
struct admin_work {
    struct ks_change change;
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
    admin->status = status;
    admin->error = *error;
    admin->stream = stream;
    work_free(work);
    ks_mailbox_send(admin->home, &admin->mail);
}

static enum ks_status require_running(struct ks_engine *engine, struct ks_error *err)
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
    stream->ack = spec->ack;
    stream->routing_epoch = 1;
    snprintf(stream->name, sizeof stream->name, "%s", spec->name);
}

static enum ks_status create_row_put(
    const struct ks_stream *stream, struct ks_kv_txn *txn, struct ks_error *err)
{
    Kstream__Catalog__StreamRow row = KSTREAM__CATALOG__STREAM_ROW__INIT;
    row.stream_name = (char *)(uintptr_t)stream->name;
    row.stream_id = (char *)(uintptr_t)stream->id;
    row.status = (uint32_t)stream->status;
    row.created_unix_ms = stream->created_unix_ms;
    row.routing_epoch = stream->routing_epoch;
    row.retention_hours = stream->retention_hours;
    row.record_bytes_max = stream->record_bytes_max;
    row.stream_mode = (uint32_t)stream->mode;
    row.next_shard_index = stream->shard_count;
    row.ack = (uint32_t)stream->ack;
    row.stream_number = stream->number;
    struct ks_catalog_key key;
    return ks_catalog_put(
        txn, KS_TABLE_STREAMS, ks_catalog_key_u64(&key, stream->number), &row.base, err);
}

static enum ks_status shard_row_put(const struct ks_stream *stream, const struct ks_shard *shard,
    struct ks_kv_txn *txn, struct ks_error *err)
{
    uint8_t first[16];
    uint8_t last[16];
    ks_u128_store_be(first, shard->hash_first);
    ks_u128_store_be(last, shard->hash_last);
    Kstream__Catalog__ShardRow row = KSTREAM__CATALOG__SHARD_ROW__INIT;
    row.stream_number = stream->number;
    row.shard_index = shard->index;
    row.log_id = ks_log_id(shard->log);
    row.first_hash_key = (ProtobufCBinaryData){.data = first, .len = sizeof first};
    row.last_hash_key = (ProtobufCBinaryData){.data = last, .len = sizeof last};
    row.created_unix_s = shard->created_s;
    row.status = shard->is_open ? 0 : 1;
    row.end_sequence = shard->end_sequence;
    row.closed_unix_s = shard->closed_s;
    struct ks_catalog_key key;
    return ks_catalog_put(txn, KS_TABLE_SHARDS,
        ks_catalog_key_shard(&key, stream->number, shard->index), &row.base, err);
}

/* The high-water marks are what is given out now: never below what this change uses. */
static enum ks_status create_apply(
    struct ks_change *change, struct ks_kv_txn *txn, struct ks_error *err)
{
    struct admin_work *work = KS_CONTAINER_OF(change, struct admin_work, change);
    uint64_t log_id_high = 0;
    uint64_t stream_number_high = 0;
    {
        KS_LOCK_SCOPE(&work->engine->registry->mu);
        log_id_high = work->engine->registry->log_id_high;
        stream_number_high = work->engine->registry->stream_number_high;
    }
    enum ks_status st = ks_catalog_high_put(txn, "high.log", log_id_high, err);
    if (!st)
        st = ks_catalog_high_put(txn, "high.stream", stream_number_high, err);
    if (!st)
        st = create_row_put(work->stream, txn, err);
    for (uint32_t i = 0; !st && i < work->stream->shard_count; i++)
        st = shard_row_put(work->stream, &work->stream->shards[i], txn, err);
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
            old = ks_registry_remove(registry, stream->number);
            registry->open_shards -= stream->shard_count;
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

static enum ks_status make_log(struct ks_engine *engine, const struct ks_stream *stream,
    struct ks_shard *shard, uint64_t log_id, struct ks_error *err)
{
    struct ks_log_identity identity = {.shard_index = shard->index,
        .shard_created_s = shard->created_s,
        .hash_first = shard->hash_first,
        .hash_last = shard->hash_last};
    memcpy(identity.stream_id, stream->id, sizeof identity.stream_id);
    memcpy(identity.stream_name, stream->name, sizeof identity.stream_name);
    enum ks_status st = ks_log_create(engine, log_id, &identity, &shard->log, err);
    if (!st)
        shard->log->routing_epoch = stream->routing_epoch;
    return st;
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
        enum ks_status st = make_log(engine, stream, shard, first_log_id + i, err);
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
    registry->logs_expected += spec->shard_count;
    return KS_OK;
}

static void create_take_back(
    struct ks_registry *registry, const struct ks_stream *creating, uint32_t shard_count)
{
    struct ks_stream *old = NULL;
    {
        KS_LOCK_SCOPE(&registry->mu);
        old = ks_registry_remove(registry, creating->number);
        registry->open_shards -= shard_count;
        registry->logs_expected -= shard_count;
    }
    ks_stream_unref(old);
}

enum ks_status ks_stream_create(struct ks_engine *engine, const struct ks_stream_spec *spec,
    struct ks_admin *admin, struct ks_error *err)
{
    KS_ASSERT(spec->shard_count > 0 && strlen(spec->name) < sizeof admin->stream->name);
    enum ks_status st = require_running(engine, err);
    if (st)
        return st;
    KS_CLEANUP(work_freep) struct admin_work *work = ks_zalloc(sizeof *work);
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *creating = ks_stream_new(0);
    if (work)
        work->stream = ks_stream_new(spec->shard_count);
    if (!work || !creating || !work->stream)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot create stream '%s'", spec->name);
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

/* Appends accepted before the mark may still be on their way to the journal: until they are there,
 * no LSN can be named above which the log is not mentioned. */
static bool log_is_settled(struct ks_log *log)
{
    KS_LOCK_SCOPE(&log->mu);
    return atomic_load(&log->durable_sequence) + 1 >= log->next_sequence;
}

/* Every file of the log, an active one that no commit knows yet included. */
static enum ks_status retire_files(struct ks_log *log, struct ks_kv_txn *txn, struct ks_error *err)
{
    KS_LOCK_SCOPE(&log->mu);
    for (uint32_t i = 0; i < log->segments.count; i++) {
        const struct ks_segment *segment = log->segments.items[i];
        Kstream__Catalog__FileRow row = KSTREAM__CATALOG__FILE_ROW__INIT;
        row.generation = segment->generation;
        row.status = KS_FILE_RETIRED;
        struct ks_catalog_key key;
        enum ks_status st = ks_catalog_put(
            txn, KS_TABLE_FILES, ks_catalog_key_u64(&key, segment->file_id), &row.base, err);
        if (st)
            return st;
    }
    return KS_OK;
}

static enum ks_status delete_log_apply(
    struct admin_work *work, uint32_t position, struct ks_kv_txn *txn, struct ks_error *err)
{
    struct ks_engine *engine = work->engine;
    const struct ks_shard *shard = &work->stream->shards[position];
    uint64_t log_id = ks_log_id(shard->log);
    Kstream__Catalog__TombstoneRow row = KSTREAM__CATALOG__TOMBSTONE_ROW__INIT;
    row.stream_number = work->stream->number;
    row.deleted_unix_ms = ks_clock_unix_ms(engine->options.clock);
    /* One above: the committer may have published the batch before its LSN. */
    row.lsn = engine->journal ? ks_journal_durable_lsn(engine->journal) + 1 : 0;
    work->tombstones[position] = (struct ks_registry_tombstone){.log_id = log_id, .lsn = row.lsn};
    struct ks_catalog_key key;
    enum ks_status st =
        ks_catalog_put(txn, KS_TABLE_TOMBSTONES, ks_catalog_key_u64(&key, log_id), &row.base, err);
    if (!st)
        st = ks_catalog_remove(txn, KS_TABLE_FLUSHPOINTS, ks_catalog_key_u64(&key, log_id), err);
    if (!st)
        st = ks_catalog_remove(txn, KS_TABLE_SHARDS,
            ks_catalog_key_shard(&key, work->stream->number, shard->index), err);
    if (!st)
        st = retire_files(shard->log, txn, err);
    return st;
}

static enum ks_status delete_apply(
    struct ks_change *change, struct ks_kv_txn *txn, struct ks_error *err)
{
    struct admin_work *work = KS_CONTAINER_OF(change, struct admin_work, change);
    for (uint32_t i = 0; i < work->stream->shard_count; i++) {
        if (!log_is_settled(work->stream->shards[i].log))
            return KS_WOULD_BLOCK;
    }
    struct ks_catalog_key key;
    enum ks_status st = ks_catalog_remove(
        txn, KS_TABLE_STREAMS, ks_catalog_key_u64(&key, work->stream->number), err);
    for (uint32_t i = 0; !st && i < work->stream->shard_count; i++)
        st = delete_log_apply(work, i, txn, err);
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
        struct ks_log *log = stream->shards[i].log;
        KS_LOCK_SCOPE(&log->mu);
        log->state = atomic_load(&log->durable_end) ? KS_LOG_CLOSED : KS_LOG_OPEN;
    }
}

/* The files leave the log; each goes to the pool when its last reader has left. */
static void log_drop_segments(struct ks_log *log)
{
    struct ks_segment_list segments;
    {
        KS_LOCK_SCOPE(&log->mu);
        segments = log->segments;
        log->segments = (struct ks_segment_list){.items = NULL};
        for (uint32_t i = 0; i < segments.count; i++)
            ks_segment_retire(segments.items[i]);
    }
    ks_segment_list_fini(&segments);
}

static void delete_publish(struct admin_work *work)
{
    struct ks_registry *registry = work->engine->registry;
    struct ks_stream *stream = work->stream;
    struct ks_stream *old = NULL;
    {
        KS_LOCK_SCOPE(&registry->mu);
        old = ks_registry_remove(registry, stream->number);
        registry->open_shards -= stream->open_count;
        for (uint32_t i = 0; i < stream->shard_count; i++) {
            /* Room was made when the delete began. */
            registry->tombstones_expected--;
            registry->tombstones[registry->tombstone_count++] = work->tombstones[i];
            ks_u64_map_remove(&registry->logs, work->tombstones[i].log_id);
        }
    }
    ks_stream_unref(old);
    for (uint32_t i = 0; i < stream->shard_count; i++) {
        struct ks_log *log = stream->shards[i].log;
        log_drop_segments(log);
        if (work->engine->journal)
            ks_journal_cover(work->engine->journal, ks_log_id(log), UINT64_MAX);
        ks_log_wake(log);  /* who waits for its records is told that none will come */
        ks_log_unref(log); /* of the table of logs */
    }
}

static void delete_done(
    struct ks_change *change, enum ks_status status, const struct ks_error *error)
{
    struct admin_work *work = KS_CONTAINER_OF(change, struct admin_work, change);
    if (status) {
        struct ks_stream *old = NULL;
        logs_unmark(work->stream);
        {
            KS_LOCK_SCOPE(&work->engine->registry->mu);
            work->engine->registry->tombstones_expected -= work->stream->shard_count;
            old = ks_registry_publish(work->engine->registry, work->restored);
        }
        ks_stream_unref(old);
    } else {
        delete_publish(work);
    }
    work_complete(work, status, error, NULL);
}

/* The same stream under another status. */
static struct ks_stream *snapshot_with_status(
    const struct ks_stream *from, enum ks_stream_status status)
{
    struct ks_stream *stream = ks_stream_new(from->shard_count);
    if (!stream)
        return NULL;
    /* All that follows the count of references is constant in both. */
    struct ks_shard *shards = stream->shards;
    uint32_t *open_by_hash = stream->open_by_hash;
    size_t constant = offsetof(struct ks_stream, number);
    memcpy((char *)stream + constant, (const char *)from + constant, sizeof *stream - constant);
    stream->status = status;
    stream->shards = shards;
    stream->open_by_hash = open_by_hash;
    memcpy(shards, from->shards, from->shard_count * sizeof *shards);
    memcpy(open_by_hash, from->open_by_hash, from->shard_count * sizeof *open_by_hash);
    for (uint32_t i = 0; i < stream->shard_count; i++)
        ks_log_ref(shards[i].log);
    return stream;
}

/* Under the registry's mutex: only one of several deletes gets an ACTIVE stream. */
static enum ks_status delete_announce(
    struct ks_registry *registry, struct admin_work *work, struct ks_error *err)
{
    KS_LOCK_SCOPE(&registry->mu);
    const struct ks_registry_entry *entry =
        ks_u64_map_get(&registry->by_number, work->restored->number);
    if (!entry || entry->stream != work->restored)
        return ks_fail(err, KS_IN_USE, 0, "stream '%s' is being changed", work->restored->name);
    if (!ks_registry_reserve_tombstones(
            registry, registry->tombstones_expected + work->stream->shard_count))
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot delete stream '%s'", work->stream->name);
    registry->tombstones_expected += work->stream->shard_count;
    struct ks_stream *old = ks_registry_publish(registry, work->stream);
    KS_ASSERT(old == work->restored);
    ks_stream_unref(old); /* not the last one: the work holds it */
    return KS_OK;
}

enum ks_status ks_stream_delete(
    struct ks_engine *engine, const char *name, struct ks_admin *admin, struct ks_error *err)
{
    enum ks_status st = require_running(engine, err);
    if (st)
        return st;
    KS_CLEANUP(work_freep) struct admin_work *work = ks_zalloc(sizeof *work);
    if (!work)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot delete stream '%s'", name);
    if (ks_registry_find(engine, name, &work->restored))
        return ks_fail(err, KS_NOT_FOUND, 0, "stream '%s' not found", name);
    if (work->restored->status != KS_STREAM_ACTIVE)
        return ks_fail(err, KS_IN_USE, 0, "stream '%s' is not ACTIVE", name);
    work->stream = snapshot_with_status(work->restored, KS_STREAM_DELETING);
    work->tombstones = ks_calloc(work->restored->shard_count, sizeof *work->tombstones);
    if (!work->stream || !work->tombstones)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot delete stream '%s'", name);
    st = delete_announce(engine->registry, work, err);
    if (st)
        return st;
    logs_mark_deleted(work->stream);
    work->engine = engine;
    work->admin = admin;
    work->change.apply = delete_apply;
    work->change.done = delete_done;
    ks_catalog_submit(engine->catalog, &KS_TAKE(work)->change);
    return KS_OK;
}
