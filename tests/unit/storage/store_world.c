#include "tests/unit/storage/store_world.h"

#include "base/alloc.h"
#include "base/map_copy.h"
#include "storage/account.h"
#include "storage/retention.h"
#include "tests/unit/ks_check.h"

#include <stdio.h>

#define RECORD_BYTES_MAX 65536u

static void count_event(
    const struct ks_events *events, enum ks_level level, const char *name, const char *fields)
{
    struct world *world =
        KS_CONTAINER_OF((struct ks_events *)(uintptr_t)events, struct world, events);
    if (getenv("KS_TEST_EVENTS"))
        fprintf(stderr, "%d %s %s\n", (int)level, name, fields);
    world->damage_events +=
        strcmp(name, "read.damaged") == 0 || strcmp(name, "segment.damaged") == 0;
    world->scrub_events += strcmp(name, "scrub.damaged") == 0;
    world->lost_pool_files += strcmp(name, "files.pool_file_missing") == 0;
    world->reserve_events += strcmp(name, "journal.reserve_used") == 0;
    world->dropped_events += strcmp(name, "index.dropped") == 0;
}

static enum ks_status open_index(
    void *arg, bool erase_first, struct ks_kv **out_kv, struct ks_error *err)
{
    struct world *world = arg;
    if (world->has_no_index) {
        *out_kv = NULL;
        return KS_OK;
    }
    if (erase_first)
        ks_kv_model_erase(world->index_model);
    return ks_kv_model_open(world->index_model, out_kv, err);
}

void world_init(struct world *world)
{
    *world = (struct world){.events = {.emit = count_event}};
    ks_map_guard_install();
    struct ks_io_sim_options disk = {.seed = 7, .file_bytes_max = 256u << 10};
    ck_assert_int_eq(ks_io_sim_create(&disk, &world->disk, NULL), KS_OK);
    struct ks_kv_model_options catalog = {.table_count = KS_TABLE_COUNT, .disk = world->disk};
    ck_assert_int_eq(ks_kv_model_create(&catalog, &world->catalog_model, NULL), KS_OK);
    struct ks_kv_model_options index = {.table_count = 2, .is_cache = true, .disk = world->disk};
    ck_assert_int_eq(ks_kv_model_create(&index, &world->index_model, NULL), KS_OK);
    ks_fake_clock_init(&world->clock, 1700000000000);
    ck_assert_int_eq(ks_mailbox_init(&world->box, false, NULL), KS_OK);
    ks_engine_limits_small(&world->limits);
}

enum ks_status world_try_open(struct world *world, struct ks_error *err)
{
    enum ks_status st = ks_kv_model_open(world->catalog_model, &world->catalog, err);
    if (st)
        return st;
    struct ks_engine_options options = {.io = ks_io_sim_io(world->disk),
        .catalog = world->catalog,
        .open_index = open_index,
        .open_index_arg = world,
        .clock = &world->clock.clock,
        .events = &world->events,
        .random_seed = 99,
        .is_catalog_copy = world->is_catalog_copy,
        .accepts_older_catalog = world->accepts_older_catalog,
        .limits = world->limits};
    return ks_engine_open(&options, &world->engine, err);
}

void world_open(struct world *world)
{
    struct ks_error error = KS_ERROR_INIT;
    enum ks_status st = world_try_open(world, &error);
    ck_assert_msg(st == KS_OK, "%s: %s", ks_status_name(st), error.text);
    world_pump(world);
}

static void world_close(struct world *world)
{
    ks_engine_destroy(world->engine);
    world->engine = NULL;
    ks_kv_close(world->catalog);
    world->catalog = NULL;
}

void world_fini(struct world *world)
{
    world_close(world);
    ks_mailbox_deliver(&world->box);
    ks_mailbox_fini(&world->box);
    ks_kv_model_destroy(world->catalog_model);
    ks_kv_model_destroy(world->index_model);
    ks_io_sim_destroy(world->disk);
}

void world_restart(struct world *world, bool is_clean)
{
    struct ks_error error = KS_ERROR_INIT;
    if (is_clean) {
        enum ks_status st = ks_engine_stop(world->engine, 1000, &error);
        ck_assert_msg(st == KS_OK, "%s: %s", ks_status_name(st), error.text);
    }
    world_close(world);
    ks_io_sim_power_on(world->disk, KS_SIM_NOTHING);
    ks_kv_model_power_on(world->catalog_model, KS_SIM_NOTHING);
    ks_kv_model_power_on(world->index_model, KS_SIM_NOTHING);
    world_open(world);
}

struct copying {
    struct ks_kv_txn *to;
    unsigned table;
};

static enum ks_status copy_row(
    void *arg, struct ks_view key, struct ks_view value, struct ks_error *err)
{
    struct copying *copying = arg;
    return ks_kv_put(copying->to, copying->table, key, value, err);
}

struct ks_kv_model *world_copy_catalog(struct world *world)
{
    struct ks_kv_model_options options = {.table_count = KS_TABLE_COUNT, .disk = world->disk};
    struct ks_kv_model *copy = NULL;
    struct ks_kv *kv = NULL;
    struct ks_kv_txn *from = NULL;
    struct copying copying;
    ck_assert_int_eq(ks_kv_model_create(&options, &copy, NULL), KS_OK);
    ck_assert_int_eq(ks_kv_model_open(copy, &kv, NULL), KS_OK);
    ck_assert_int_eq(ks_kv_begin(world->catalog, false, &from, NULL), KS_OK);
    ck_assert_int_eq(ks_kv_begin(kv, true, &copying.to, NULL), KS_OK);
    for (copying.table = 0; copying.table < KS_TABLE_COUNT; copying.table++)
        ck_assert_int_eq(ks_kv_scan(from, copying.table, copy_row, &copying, NULL), KS_OK);
    ck_assert_int_eq(ks_kv_commit(copying.to, NULL), KS_OK);
    ks_kv_abort(from);
    ks_kv_close(kv);
    return copy;
}

enum ks_status world_restart_with(
    struct world *world, struct ks_kv_model *copy, struct ks_error *err)
{
    world_close(world);
    ks_io_sim_power_on(world->disk, KS_SIM_NOTHING);
    if (copy) {
        ks_kv_model_destroy(world->catalog_model);
        world->catalog_model = copy;
    }
    ks_kv_model_power_on(world->catalog_model, KS_SIM_NOTHING);
    ks_kv_model_power_on(world->index_model, KS_SIM_NOTHING);
    ks_io_sim_cut_after(world->disk, world->cut_after);
    enum ks_status st = world_try_open(world, err);
    if (st == KS_OK && ks_io_sim_is_cut(world->disk))
        st = KS_IO;
    ks_io_sim_cut_after(world->disk, 0);
    if (st == KS_OK)
        world_pump(world);
    return st;
}

void world_pump(struct world *world)
{
    struct ks_step *steps[16];
    size_t count = ks_engine_steps(world->engine, steps, 16);
    for (unsigned pass = 0; pass < 10000; pass++) {
        bool is_any = false;
        for (size_t i = 0; i < count; i++) {
            if (!steps[i]->begin(steps[i]->self))
                continue;
            steps[i]->run(steps[i]->self);
            steps[i]->end(steps[i]->self);
            is_any = true;
        }
        ks_mailbox_deliver(&world->box);
        if (!is_any)
            return;
    }
    ck_abort_msg("the steps never come to rest");
}

void world_flush(struct world *world)
{
    world_pump(world);
    ks_fake_clock_advance_ms(&world->clock, world->limits.flush_age_ms + 1);
    world_pump(world);
}

struct waiting_admin {
    struct ks_admin admin;
    struct world *world;
};

static void admin_delivered(struct ks_mail *mail)
{
    struct ks_admin *admin = KS_CONTAINER_OF(mail, struct ks_admin, mail);
    struct waiting_admin *waiting = KS_CONTAINER_OF(admin, struct waiting_admin, admin);
    waiting->world->admin_status = admin->status;
    waiting->world->created = admin->stream;
}

static enum ks_status admin_finish(struct world *world, enum ks_status started)
{
    if (started)
        return started;
    world->admin_status = KS_INTERNAL;
    world_pump(world);
    if (world->created)
        ks_stream_unref(world->created);
    world->created = NULL;
    return world->admin_status;
}

enum ks_status world_create(struct world *world, const char *name, uint32_t shards)
{
    static struct waiting_admin waiting;
    waiting = (struct waiting_admin){
        .world = world, .admin = {.mail = {.deliver = admin_delivered}, .home = &world->box}};
    struct ks_stream_spec spec = {
        .name = name, .shard_count = shards, .retention_hours = 24, .record_bytes_max = 1u << 20};
    return admin_finish(world, ks_stream_create(world->engine, &spec, &waiting.admin, NULL));
}

enum ks_status world_delete(struct world *world, const char *name)
{
    static struct waiting_admin waiting;
    waiting = (struct waiting_admin){
        .world = world, .admin = {.mail = {.deliver = admin_delivered}, .home = &world->box}};
    return admin_finish(world, ks_stream_delete(world->engine, name, &waiting.admin, NULL));
}

struct ks_stream *world_stream(struct world *world, const char *name)
{
    struct ks_stream *stream = NULL;
    ck_assert_int_eq(ks_registry_find(world->engine, name, &stream), KS_OK);
    return stream;
}

static uint64_t stream_number(struct world *world, const char *name)
{
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = world_stream(world, name);
    return stream->number;
}

enum ks_status world_reshard(
    struct world *world, const char *name, const struct ks_reshard_spec *spec)
{
    static struct waiting_admin waiting;
    waiting = (struct waiting_admin){
        .world = world, .admin = {.mail = {.deliver = admin_delivered}, .home = &world->box}};
    return admin_finish(world,
        ks_stream_reshard(world->engine, stream_number(world, name), spec, &waiting.admin, NULL));
}

enum ks_status world_split(struct world *world, const char *name, uint32_t shard, ks_u128 key)
{
    const struct ks_reshard_spec spec = {
        .kind = KS_RESHARD_SPLIT, .shard_index = shard, .new_hash_first = key};
    return world_reshard(world, name, &spec);
}

enum ks_status world_merge(struct world *world, const char *name, uint32_t left, uint32_t right)
{
    const struct ks_reshard_spec spec = {
        .kind = KS_RESHARD_MERGE, .shard_index = left, .adjacent_index = right};
    return world_reshard(world, name, &spec);
}

enum ks_status world_remove_shard(struct world *world, const char *name, uint32_t shard)
{
    static struct waiting_admin waiting;
    waiting = (struct waiting_admin){
        .world = world, .admin = {.mail = {.deliver = admin_delivered}, .home = &world->box}};
    return admin_finish(world,
        ks_shard_remove(world->engine, stream_number(world, name), shard, &waiting.admin, NULL));
}

static struct ks_admin *world_admin(struct world *world)
{
    static struct waiting_admin waiting;
    waiting = (struct waiting_admin){
        .world = world, .admin = {.mail = {.deliver = admin_delivered}, .home = &world->box}};
    return &waiting.admin;
}

enum ks_status world_change_retention(
    struct world *world, const char *name, const struct ks_retention_spec *spec)
{
    uint64_t number = stream_number(world, name);
    return admin_finish(
        world, ks_stream_set_retention(world->engine, number, spec, world_admin(world), NULL));
}

enum ks_status world_set_retention(struct world *world, const char *name, uint32_t hours)
{
    const struct ks_retention_spec spec = {.hours = hours};
    return world_change_retention(world, name, &spec);
}

enum ks_status world_set_mode(struct world *world, const char *name, enum ks_stream_mode mode)
{
    uint64_t number = stream_number(world, name);
    return admin_finish(
        world, ks_stream_set_mode(world->engine, number, mode, world_admin(world), NULL));
}

enum ks_status world_delete_later(struct world *world, const char *name, uint64_t keep_ms)
{
    uint64_t number = stream_number(world, name);
    return admin_finish(
        world, ks_stream_delete_later(world->engine, number, keep_ms, world_admin(world), NULL));
}

enum ks_status world_restore(struct world *world, const char *name)
{
    uint64_t number = stream_number(world, name);
    return admin_finish(world, ks_stream_restore(world->engine, number, world_admin(world), NULL));
}

enum ks_status world_set_account(struct world *world, const struct ks_account *account)
{
    return admin_finish(world, ks_account_set(world->engine, account, world_admin(world), NULL));
}

enum ks_status world_set(struct world *world, const char *name, struct ks_setting_change *change)
{
    uint64_t number = stream_number(world, name);
    return admin_finish(
        world, ks_stream_set(world->engine, number, change, world_admin(world), NULL));
}

enum ks_status world_compact(struct world *world)
{
    return admin_finish(world, ks_compact_now(world->engine, world_admin(world), NULL));
}

enum ks_stream_status world_status(struct world *world, const char *name)
{
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = world_stream(world, name);
    return stream->status;
}

struct ks_log *world_log(struct world *world, const char *name, uint32_t shard)
{
    struct ks_stream *stream = NULL;
    ck_assert_int_eq(ks_registry_find(world->engine, name, &stream), KS_OK);
    struct ks_log *log = ks_stream_shard(stream, shard)->log;
    ks_stream_unref(stream);
    return log;
}

/* What record sequence of log holds. */
static size_t record_fill(uint64_t log_id, uint64_t sequence, uint32_t bytes, uint8_t *to)
{
    size_t used = (size_t)snprintf(
        (char *)to, 48, "%llu/%llu/", (unsigned long long)log_id, (unsigned long long)sequence);
    while (used < bytes) {
        to[used] = (uint8_t)('a' + (sequence + used) % 26);
        used++;
    }
    return used;
}

static void append_delivered(struct ks_mail *mail)
{
    ks_free(KS_CONTAINER_OF(mail, struct ks_append, mail));
}

enum ks_status world_append(
    struct world *world, struct ks_log *log, uint32_t count, uint32_t data_bytes)
{
    static uint8_t records[RECORD_BYTES_MAX];
    static uint8_t data[RECORD_BYTES_MAX];
    struct ks_append *append = ks_zalloc(sizeof *append);
    size_t at = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct ks_record record = {.key = ks_view_of_text("key"), .data = {.data = data}};
        record.data.bytes = record_fill(log->log_id, log->next_sequence + i, data_bytes, data);
        append->body_crc =
            ks_body_crc_extend(append->body_crc, ks_record_encode(&record, records + at));
        at += ks_record_encoded_bytes(3, record.data.bytes, false);
    }
    append->mail.deliver = append_delivered;
    append->home = &world->box;
    append->records = ks_view_of(records, at);
    append->record_count = count;
    enum ks_status st = ks_log_append(log, append, NULL);
    if (st)
        ks_free(append);
    return st;
}

static void check_batch(struct ks_log *log, const struct ks_batch_view *batch)
{
    static uint8_t expected[RECORD_BYTES_MAX];
    ck_assert_int_eq(ks_batch_verify(batch), KS_OK);
    struct ks_record_walk walk;
    struct ks_record_view record;
    ks_record_walk_init(&walk, batch->records);
    uint64_t sequence = batch->header.first_sequence;
    while (ks_record_walk_next(&walk, &record) == KS_OK) {
        size_t bytes = record_fill(log->log_id, sequence++, (uint32_t)record.data.bytes, expected);
        ck_assert_uint_eq(bytes, record.data.bytes);
        ck_assert_mem_eq(record.data.data, expected, bytes);
    }
}

/* Of one answer: intact records from from on; damaged ones by number. */
static uint64_t check_read(
    struct ks_log *log, const struct ks_read *read, uint64_t from, uint64_t *damaged)
{
    uint64_t intact = 0;
    uint64_t expected = from - read->skip;
    uint64_t end = from + read->take;
    ck_assert_uint_eq(read->next_sequence, end);
    for (uint32_t i = 0; i < read->extent_count; i++) {
        struct ks_view rest = read->extents[i];
        while (rest.bytes > 0) {
            struct ks_batch_view batch;
            ck_assert_int_eq(ks_batch_decode(rest, &batch), KS_OK);
            ck_assert_uint_eq(batch.header.first_sequence, expected);
            ck_assert_uint_eq(batch.header.log_id, log->log_id);
            uint64_t first = ks_max_u64(expected, from);
            expected += batch.header.record_count;
            uint64_t behind = ks_min_u64(expected, end);
            /* A changed byte of a body is the reader's to find: its checksums are end to end. */
            bool is_intact = batch.header.kind == KS_BATCH_DATA && ks_batch_verify(&batch) == KS_OK;
            if (is_intact)
                check_batch(log, &batch);
            *(is_intact ? &intact : damaged) += behind > first ? behind - first : 0;
            rest = ks_view_of(rest.data + batch.stored_bytes, rest.bytes - batch.stored_bytes);
        }
    }
    ck_assert_uint_ge(expected, end);
    return intact;
}

uint64_t world_read_all(
    struct world *world, struct ks_log *log, uint64_t from, uint64_t *out_damaged)
{
    (void)world;
    uint64_t intact = 0;
    uint64_t damaged = 0;
    struct ks_log_bounds bounds;
    ks_log_bounds(log, &bounds);
    while (from <= bounds.last_sequence) {
        struct ks_read read;
        struct ks_read_request request = {
            .from_sequence = from, .bytes_max = 4096, .records_max = 100, .may_block = true};
        struct ks_error error = KS_ERROR_INIT;
        enum ks_status st = ks_log_read(log, &request, &read, &error);
        ck_assert_msg(st == KS_OK, "%s: %s", ks_status_name(st), error.text);
        ck_assert_uint_gt(read.take, 0);
        intact += check_read(log, &read, from, &damaged);
        from = read.next_sequence;
        ks_read_release(&read);
    }
    ck_assert_uint_eq(from, bounds.last_sequence + 1);
    if (out_damaged)
        *out_damaged = damaged;
    return intact;
}
