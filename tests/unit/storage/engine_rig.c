#include "tests/unit/storage/engine_rig.h"

#include "base/alloc.h"
#include "base/map_copy.h"
#include "tests/unit/ks_check.h"

#include <stdio.h>

static void rig_emit(
    const struct ks_events *events, enum ks_level level, const char *name, const char *fields)
{
    (void)level;
    struct rig_events *seen = (struct rig_events *)(uintptr_t)events;
    if (getenv("RIG_VERBOSE"))
        fprintf(stderr, "event %s %s\n", name, fields);
    unsigned i = 0;
    while (i < seen->name_count && strcmp(seen->names[i], name) != 0)
        i++;
    ck_assert_uint_lt(i, 64);
    if (i == seen->name_count)
        snprintf(seen->names[seen->name_count++], sizeof seen->names[0], "%s", name);
    seen->counts[i]++;
}

unsigned rig_saw(const struct rig *rig, const char *event)
{
    for (unsigned i = 0; i < rig->seen.name_count; i++) {
        if (strcmp(rig->seen.names[i], event) == 0)
            return rig->seen.counts[i];
    }
    return 0;
}

static enum ks_status rig_open_index(
    void *arg, bool erase_first, struct ks_kv **out_kv, struct ks_error *err)
{
    (void)err;
    struct rig *rig = arg;
    rig->index_erased += erase_first;
    *out_kv = NULL;
    return KS_OK;
}

static void rig_on_poison(void *arg, const struct ks_error *error)
{
    (void)error;
    ((struct rig *)arg)->poisons++;
}

void rig_init(struct rig *rig, uint64_t seed)
{
    *rig = (struct rig){0};
    ks_map_guard_install();
    struct ks_io_sim_options disk = {.seed = seed};
    ck_assert_int_eq(ks_io_sim_create(&disk, &rig->disk, NULL), KS_OK);
    struct ks_kv_model_options catalog = {.table_count = KS_TABLE_COUNT, .disk = rig->disk};
    ck_assert_int_eq(ks_kv_model_create(&catalog, &rig->catalog, NULL), KS_OK);
    ks_fake_clock_init(&rig->clock, 1700000000000);
    rig->seen.events.emit = rig_emit;
    ck_assert_int_eq(ks_mailbox_init(&rig->mailbox, false, NULL), KS_OK);
    rig->options = (struct ks_engine_options){.io = ks_io_sim_io(rig->disk),
        .open_index = rig_open_index,
        .open_index_arg = rig,
        .clock = &rig->clock.clock,
        .events = &rig->seen.events,
        .random_seed = seed + 1,
        .on_poison = rig_on_poison,
        .on_poison_arg = rig};
    ks_engine_limits_small(&rig->options.limits);
}

enum ks_status rig_open(struct rig *rig)
{
    ck_assert_int_eq(ks_kv_model_open(rig->catalog, &rig->catalog_kv, &rig->error), KS_OK);
    rig->options.catalog = rig->catalog_kv;
    enum ks_status st = ks_engine_open(&rig->options, &rig->engine, &rig->error);
    if (st) {
        ks_kv_close(rig->catalog_kv);
        rig->catalog_kv = NULL;
    }
    return st;
}

void rig_must_open(struct rig *rig)
{
    enum ks_status st = rig_open(rig);
    ck_assert_msg(st == KS_OK, "open: %s: %s", ks_status_name(st), rig->error.text);
}

static void rig_forget(struct rig *rig)
{
    ks_engine_destroy(KS_TAKE(rig->engine));
    ks_kv_close(KS_TAKE(rig->catalog_kv));
    ks_mailbox_deliver(&rig->mailbox);
}

void rig_crash(struct rig *rig, enum ks_sim_survive survive)
{
    if (rig->engine)
        rig_forget(rig);
    ks_io_sim_power_on(rig->disk, survive);
    ks_kv_model_power_on(rig->catalog, survive);
}

enum ks_status rig_stop(struct rig *rig)
{
    enum ks_status st = ks_engine_stop(rig->engine, 1000, &rig->error);
    rig_forget(rig);
    return st;
}

void rig_fini(struct rig *rig)
{
    if (rig->engine)
        rig_forget(rig);
    ks_mailbox_fini(&rig->mailbox);
    ks_kv_model_destroy(rig->catalog);
    ks_io_sim_destroy(rig->disk);
}

bool rig_step(struct rig *rig, const char *name)
{
    struct ks_step *steps[8];
    size_t count = ks_engine_steps(rig->engine, steps, 8);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(steps[i]->name, name) != 0 || !steps[i]->begin(steps[i]->self))
            continue;
        steps[i]->run(steps[i]->self);
        steps[i]->end(steps[i]->self);
        ks_mailbox_deliver(&rig->mailbox);
        return true;
    }
    return false;
}

void rig_run(struct rig *rig)
{
    static const char *const names[] = {"commit", "flush", "catalog", "files", "index", "journal"};
    bool is_any = true;
    for (int pass = 0; is_any; pass++) {
        ck_assert_int_lt(pass, 10000);
        is_any = false;
        for (size_t i = 0; i < KS_COUNT_OF(names); i++)
            is_any = rig_step(rig, names[i]) || is_any;
    }
}

struct rig_admin {
    struct ks_admin admin; /* first member */
    bool is_delivered;
};

static void admin_deliver(struct ks_mail *mail)
{
    ((struct rig_admin *)KS_CONTAINER_OF(mail, struct ks_admin, mail))->is_delivered = true;
}

void rig_create_stream(struct rig *rig, const char *name)
{
    struct rig_admin admin = {.admin = {.mail = {.deliver = admin_deliver}, .home = &rig->mailbox}};
    struct ks_stream_spec spec = {
        .name = name, .shard_count = 1, .retention_hours = 24, .record_bytes_max = 1 << 20};
    ck_assert_int_eq(ks_stream_create(rig->engine, &spec, &admin.admin, &rig->error), KS_OK);
    rig_run(rig);
    ck_assert(admin.is_delivered);
    ck_assert_int_eq(admin.admin.status, KS_OK);
    ks_stream_unref(admin.admin.stream);
}

void rig_delete_stream(struct rig *rig, const char *name)
{
    struct rig_admin admin = {.admin = {.mail = {.deliver = admin_deliver}, .home = &rig->mailbox}};
    ck_assert_int_eq(ks_stream_delete(rig->engine, name, &admin.admin, &rig->error), KS_OK);
    rig_run(rig);
    ck_assert(admin.is_delivered);
    ck_assert_int_eq(admin.admin.status, KS_OK);
}

struct ks_log *rig_log(struct rig *rig, const char *name)
{
    struct ks_stream *stream;
    enum ks_status st = ks_registry_find(rig->engine, name, &stream);
    ck_assert_msg(st == KS_OK, "no stream %s", name);
    struct ks_log *log = stream->shards[0].log;
    ks_stream_unref(stream);
    return log;
}

static void put_deliver(struct ks_mail *mail)
{
    ((struct rig_put *)KS_CONTAINER_OF(mail, struct ks_append, mail))->is_delivered = true;
}

static size_t record_text(const char *name, uint64_t ordinal, char text[64])
{
    return (size_t)snprintf(text, 64, "%s/%llu", name, (unsigned long long)ordinal);
}

enum ks_status rig_append(
    struct rig *rig, struct rig_put *put, const char *name, uint32_t count, uint32_t data_bytes)
{
    struct ks_log *log = rig_log(rig, name);
    size_t used = 0;
    uint32_t body_crc = 0;
    static uint8_t data[32768];
    for (uint32_t i = 0; i < count; i++) {
        char text[64];
        size_t text_bytes = record_text(name, log->next_sequence + i, text);
        size_t bytes = KS_MAX(text_bytes, (size_t)data_bytes);
        memset(data, '.', bytes);
        memcpy(data, text, text_bytes);
        struct ks_record record = {.key = ks_view_of_text("key"), .data = ks_view_of(data, bytes)};
        size_t encoded = ks_record_encoded_bytes(3, bytes, false);
        ck_assert_uint_le(used + encoded, sizeof put->records);
        body_crc = ks_body_crc_extend(body_crc, ks_record_encode(&record, put->records + used));
        used += encoded;
    }
    put->is_delivered = false;
    put->append.mail = (struct ks_mail){.deliver = put_deliver};
    put->append.commit_link = (struct ks_list){0};
    put->append.home = &rig->mailbox;
    put->append.records = ks_view_of(put->records, used);
    put->append.record_count = count;
    put->append.body_crc = body_crc;
    return ks_log_append(log, &put->append, &rig->error);
}

void rig_put(struct rig *rig, const char *name, uint32_t count, uint32_t data_bytes)
{
    static struct rig_put put;
    put.append = (struct ks_append){0};
    enum ks_status st = rig_append(rig, &put, name, count, data_bytes);
    ck_assert_msg(st == KS_OK, "append: %s", rig->error.text);
    ck_assert(!put.is_delivered);
    ck_assert(rig_step(rig, "commit"));
    ck_assert(put.is_delivered);
    ck_assert_int_eq(put.append.status, KS_OK);
}

/* Checks the records of one batch; returns the ordinal behind it. */
static uint64_t batch_check(
    const char *name, const struct ks_batch_view *batch, uint64_t expected, uint64_t *damaged)
{
    ck_assert_uint_eq(batch->header.first_sequence, expected);
    if (batch->header.kind == KS_BATCH_DAMAGED) {
        *damaged += batch->header.record_count;
        return expected + batch->header.record_count;
    }
    ck_assert_int_eq(ks_batch_verify(batch), KS_OK);
    struct ks_record_walk walk;
    ks_record_walk_init(&walk, batch->records);
    struct ks_record_view record;
    while (ks_record_walk_next(&walk, &record) == KS_OK) {
        char text[64];
        size_t bytes = record_text(name, expected, text);
        ck_assert_uint_ge(record.data.bytes, bytes);
        ck_assert_mem_eq(record.data.data, text, bytes);
        expected++;
    }
    return expected;
}

uint64_t rig_read_all(struct rig *rig, const char *name, uint64_t *out_damaged)
{
    struct ks_log *log = rig_log(rig, name);
    struct ks_read_request request = {
        .from_sequence = 1, .bytes_max = 1 << 20, .records_max = 1000, .may_block = true};
    uint64_t expected = 1;
    *out_damaged = 0;
    for (;;) {
        struct ks_read read;
        request.from_sequence = expected;
        enum ks_status st = ks_log_read(log, &request, &read, &rig->error);
        ck_assert_msg(st == KS_OK, "read: %s", rig->error.text);
        uint64_t before = expected;
        for (uint32_t i = 0; i < read.extent_count; i++) {
            struct ks_view left = read.extents[i];
            struct ks_batch_view batch;
            while (left.bytes > 0) {
                ck_assert_int_eq(ks_batch_decode(left, &batch), KS_OK);
                if (batch.header.first_sequence >= expected)
                    expected = batch_check(name, &batch, expected, out_damaged);
                left = ks_view_of(left.data + batch.stored_bytes, left.bytes - batch.stored_bytes);
            }
        }
        ks_read_release(&read);
        if (expected == before)
            return expected - 1;
    }
}

void rig_flip(struct rig *rig, const char *path, uint64_t offset)
{
    struct ks_io *io = ks_io_sim_io(rig->disk);
    struct ks_file *file;
    uint8_t byte;
    ck_assert_int_eq(ks_io_open(io, path, KS_OPEN_WRITE, &file, NULL), KS_OK);
    ck_assert_int_eq(ks_file_read_exactly(file, &byte, 1, offset, NULL), KS_OK);
    byte ^= 0x10;
    ck_assert_int_eq(ks_file_write_one(file, &byte, 1, offset, KS_WRITE_DURABLE, NULL), KS_OK);
    ks_file_close(file);
}
