#include "storage/catalog.h"

#include "base/alloc.h"
#include "base/crc32c.h"
#include "proto/catalog.pb-c.h"
#include "storage/engine_priv.h"

#include <string.h>

#define CRC_BYTES 4u
#define FORMAT_VERSION 1u
/* Changes of one commit: bounds the time a submitter waits for the others. */
#define CHANGES_PER_COMMIT_MAX 4096u
/* While a change puts itself off: how soon it is asked again. */
#define DEFERRED_LOOK_MS 2u

const char *const ks_catalog_table_names[KS_TABLE_COUNT] = {
    [KS_TABLE_META] = "meta",
    [KS_TABLE_STREAMS] = "streams",
    [KS_TABLE_SHARDS] = "shards",
    [KS_TABLE_FILES] = "files",
    [KS_TABLE_FLUSHPOINTS] = "flushpoints",
    [KS_TABLE_TOMBSTONES] = "tombstones",
};

struct ks_catalog {
    struct ks_engine *engine; /* [const] */
    struct ks_kv *kv;         /* [const] borrowed */
    struct ks_step step;
    struct ks_wake wake;
    struct ks_mutex mu;     /* KS_RANK_CATALOG */
    struct ks_list pending; /* [mu] in submission order */
    _Atomic uint64_t commits;
    struct ks_catalog_journal_row row; /* [step] what every commit restates */
    struct ks_list batch;              /* [step] of the commit under way */
    struct ks_list deferred;           /* [step] put off by their apply, in order */
};

/* ---- values ---- */

static uint32_t value_crc(struct ks_view key, struct ks_view message)
{
    return ks_crc32c_extend(ks_crc32c(key.data, key.bytes), message.data, message.bytes);
}

/* Keys in a text: numbers as hex, names as they are. */
static void key_text(struct ks_view key, char text[2 * KS_KV_KEY_BYTES_MAX + 1])
{
    bool is_text = key.bytes > 0;
    for (size_t i = 0; i < key.bytes; i++)
        is_text = is_text && key.data[i] > 0x20 && key.data[i] < 0x7f;
    size_t at = 0;
    for (size_t i = 0; i < key.bytes && i < KS_KV_KEY_BYTES_MAX; i++) {
        static const char digits[] = "0123456789abcdef";
        if (is_text) {
            text[at++] = (char)key.data[i];
        } else {
            text[at++] = digits[key.data[i] >> 4];
            text[at++] = digits[key.data[i] & 15];
        }
    }
    text[at] = 0;
}

static enum ks_status row_is_damaged(
    enum ks_catalog_table table, struct ks_view key, const char *what, struct ks_error *err)
{
    char text[2 * KS_KV_KEY_BYTES_MAX + 1];
    key_text(key, text);
    return ks_fail(err, KS_CORRUPT, 0, "catalog table '%s', row '%.48s': %s",
        ks_catalog_table_names[table], text, what);
}

enum ks_status ks_catalog_put(struct ks_kv_txn *txn, enum ks_catalog_table table,
    struct ks_view key, const struct ProtobufCMessage *message, struct ks_error *err)
{
    size_t bytes = protobuf_c_message_get_packed_size(message);
    KS_AUTO_FREE uint8_t *value = ks_malloc(bytes + CRC_BYTES);
    if (!value)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot write to catalog table '%s'",
            ks_catalog_table_names[table]);
    size_t packed = protobuf_c_message_pack(message, value);
    KS_ASSERT(packed == bytes);
    ks_store_u32le(value + bytes, value_crc(key, ks_view_of(value, bytes)));
    return ks_kv_put(txn, table, key, ks_view_of(value, bytes + CRC_BYTES), err);
}

enum ks_status ks_catalog_remove(
    struct ks_kv_txn *txn, enum ks_catalog_table table, struct ks_view key, struct ks_error *err)
{
    return ks_kv_remove(txn, table, key, err);
}

enum ks_status ks_catalog_open_value(enum ks_catalog_table table, struct ks_view key,
    struct ks_view stored, struct ks_view *out_message, struct ks_error *err)
{
    if (stored.bytes < CRC_BYTES)
        return row_is_damaged(table, key, "too short", err);
    struct ks_view message = ks_view_of(stored.data, stored.bytes - CRC_BYTES);
    if (ks_load_u32le(stored.data + message.bytes) != value_crc(key, message))
        return row_is_damaged(table, key, "wrong checksum", err);
    *out_message = message;
    return KS_OK;
}

static const ProtobufCMessageDescriptor *row_type(enum ks_catalog_table table, struct ks_view key)
{
    switch (table) {
    case KS_TABLE_META:
        if (ks_view_equal(key, ks_view_of_text("journal")))
            return &kstream__catalog__journal_row__descriptor;
        return ks_view_equal(key, ks_view_of_text(KS_CATALOG_ACCOUNT_KEY))
                   ? &kstream__catalog__account_row__descriptor
                   : &kstream__catalog__high_water_row__descriptor;
    case KS_TABLE_STREAMS:
        return &kstream__catalog__stream_row__descriptor;
    case KS_TABLE_SHARDS:
        return &kstream__catalog__shard_row__descriptor;
    case KS_TABLE_FILES:
        return &kstream__catalog__file_row__descriptor;
    case KS_TABLE_FLUSHPOINTS:
        return &kstream__catalog__flushpoint_row__descriptor;
    case KS_TABLE_TOMBSTONES:
        return &kstream__catalog__tombstone_row__descriptor;
    case KS_TABLE_COUNT:
        break;
    }
    return NULL;
}

enum ks_status ks_catalog_unpack(enum ks_catalog_table table, struct ks_view key,
    struct ks_view stored, struct ProtobufCMessage **out_message, struct ks_error *err)
{
    size_t key_bytes = table == KS_TABLE_META ? key.bytes : table == KS_TABLE_SHARDS ? 12 : 8;
    if (key.bytes != key_bytes)
        return row_is_damaged(table, key, "key of a wrong length", err);
    struct ks_view message = ks_view_of(NULL, 0); /* gcc -O3 cannot see that success sets it */
    enum ks_status st = ks_catalog_open_value(table, key, stored, &message, err);
    if (st)
        return st;
    ProtobufCMessage *row =
        protobuf_c_message_unpack(row_type(table, key), NULL, message.bytes, message.data);
    if (!row)
        return row_is_damaged(table, key, "cannot be decoded (or no memory)", err);
    *out_message = row;
    return KS_OK;
}

enum ks_status ks_catalog_get(struct ks_kv_txn *txn, enum ks_catalog_table table,
    struct ks_view key, const struct ProtobufCMessageDescriptor *type,
    struct ProtobufCMessage **out_message, struct ks_error *err)
{
    KS_ASSERT(row_type(table, key) == type);
    struct ks_view stored;
    enum ks_status st = ks_kv_get(txn, table, key, &stored, err);
    if (st)
        return st;
    return ks_catalog_unpack(table, key, stored, out_message, err);
}

enum ks_status ks_catalog_high_get(
    struct ks_kv_txn *txn, const char *name, uint64_t *out_high, struct ks_error *err)
{
    ProtobufCMessage *message = NULL;
    enum ks_status st = ks_catalog_get(txn, KS_TABLE_META, ks_view_of_text(name),
        &kstream__catalog__high_water_row__descriptor, &message, err);
    if (st == KS_NOT_FOUND) {
        *out_high = 0;
        return KS_OK;
    }
    if (st)
        return st;
    *out_high = ((Kstream__Catalog__HighWaterRow *)message)->high;
    protobuf_c_message_free_unpacked(message, NULL);
    return KS_OK;
}

enum ks_status ks_catalog_high_put(
    struct ks_kv_txn *txn, const char *name, uint64_t high, struct ks_error *err)
{
    Kstream__Catalog__HighWaterRow row = KSTREAM__CATALOG__HIGH_WATER_ROW__INIT;
    row.high = high;
    return ks_catalog_put(txn, KS_TABLE_META, ks_view_of_text(name), &row.base, err);
}

/* ---- the whole environment ---- */

#define VERIFY_TELL_ROWS 8192

struct verify {
    enum ks_catalog_table table;
    uint64_t rows;
    void (*on_rows)(void *arg, uint64_t rows);
    void *arg;
};

static enum ks_status verify_row(
    void *arg, struct ks_view key, struct ks_view value, struct ks_error *err)
{
    struct verify *verify = arg;
    ProtobufCMessage *message = NULL;
    enum ks_status st = ks_catalog_unpack(verify->table, key, value, &message, err);
    if (st)
        return st;
    protobuf_c_message_free_unpacked(message, NULL);
    if (++verify->rows % VERIFY_TELL_ROWS == 0 && verify->on_rows)
        verify->on_rows(verify->arg, verify->rows);
    return KS_OK;
}

enum ks_status ks_catalog_verify(struct ks_kv *kv, void (*on_rows)(void *arg, uint64_t rows),
    void *arg, uint64_t *out_rows, struct ks_error *err)
{
    KS_CLEANUP(ks_kv_abortp) struct ks_kv_txn *txn = NULL;
    enum ks_status st = ks_kv_begin(kv, false, &txn, err);
    if (st)
        return st;
    struct verify verify = {.rows = 0, .on_rows = on_rows, .arg = arg};
    for (unsigned table = 0; table < KS_TABLE_COUNT; table++) {
        verify.table = (enum ks_catalog_table)table;
        st = ks_kv_scan(txn, table, verify_row, &verify, err);
        if (st)
            return st;
    }
    *out_rows = verify.rows;
    return KS_OK;
}

/* ---- the step ---- */

void ks_catalog_submit(struct ks_catalog *catalog, struct ks_change *change)
{
    {
        KS_LOCK_SCOPE(&catalog->mu);
        ks_list_push(&catalog->pending, &change->link);
    }
    ks_wake_set(&catalog->wake);
}

static bool catalog_begin(void *self)
{
    struct ks_catalog *catalog = self;
    KS_ASSERT(ks_list_is_empty(&catalog->batch));
    ks_list_splice(&catalog->batch, &catalog->deferred);
    KS_LOCK_SCOPE(&catalog->mu);
    for (uint32_t i = 0; i < CHANGES_PER_COMMIT_MAX; i++) {
        struct ks_list *node = ks_list_pop(&catalog->pending);
        if (!node)
            break;
        ks_list_push(&catalog->batch, node);
    }
    return !ks_list_is_empty(&catalog->batch);
}

static struct ks_change *change_of(struct ks_list *node)
{
    return KS_CONTAINER_OF(node, struct ks_change, link);
}

static void batch_fail(struct ks_catalog *catalog, const struct ks_error *error)
{
    KS_LIST_FOR_EACH(node, &catalog->batch)
    change_of(node)->outcome = *error;
}

static enum ks_status journal_row_put(
    struct ks_catalog *catalog, struct ks_kv_txn *txn, bool is_clean, struct ks_error *err)
{
    struct ks_journal_durable durable = {0};
    if (catalog->engine->journal)
        durable = ks_journal_durable(catalog->engine->journal);
    if (durable.lsn > 0) {
        catalog->row.named_run_id = durable.run_id;
        catalog->row.named_lsn = durable.lsn;
        catalog->row.named_ordinals = durable.ordinals;
    }
    Kstream__Catalog__JournalRow row = KSTREAM__CATALOG__JOURNAL_ROW__INIT;
    row.format_version = FORMAT_VERSION;
    row.uuid.data = catalog->row.uuid;
    row.uuid.len = sizeof catalog->row.uuid;
    row.run_id = catalog->row.run_id;
    row.named_run_id = catalog->row.named_run_id;
    row.named_lsn = catalog->row.named_lsn;
    row.named_ordinals = catalog->row.named_ordinals;
    row.is_clean = is_clean;
    return ks_catalog_put(txn, KS_TABLE_META, ks_view_of_text("journal"), &row.base, err);
}

/*
 * Applies every change that has not been taken out. There are no nested transactions, so a refused
 * change costs the whole attempt: *out_again asks for another one without it.
 */
static enum ks_status batch_apply(
    struct ks_catalog *catalog, struct ks_kv_txn *txn, uint32_t *out_applied, bool *out_again)
{
    *out_applied = 0;
    *out_again = false;
    KS_LIST_FOR_EACH(node, &catalog->batch)
    {
        struct ks_change *change = change_of(node);
        if (change->outcome.status)
            continue;
        struct ks_error error = KS_ERROR_INIT;
        enum ks_status st = change->apply(change, txn, &error);
        if (st) {
            error.status = st;
            change->outcome = error;
            *out_again = true;
            return KS_OK;
        }
        (*out_applied)++;
    }
    return KS_OK;
}

static enum ks_status batch_attempt(
    struct ks_catalog *catalog, bool *out_again, struct ks_error *err)
{
    *out_again = false;
    KS_CLEANUP(ks_kv_abortp) struct ks_kv_txn *txn = NULL;
    enum ks_status st = ks_kv_begin(catalog->kv, true, &txn, err);
    if (st)
        return st;
    uint32_t applied = 0;
    st = batch_apply(catalog, txn, &applied, out_again);
    if (st || *out_again || applied == 0)
        return st;
    st = journal_row_put(catalog, txn, false, err);
    if (st)
        return st;
    const struct ks_clock *clock = catalog->engine->options.clock;
    uint64_t begun_ns = ks_clock_mono_ns(clock);
    st = ks_kv_commit(KS_TAKE(txn), err);
    if (st && st != KS_STORAGE_FULL)
        ks_engine_poison(catalog->engine, err);
    if (st == KS_OK) {
        ks_latency_add(
            &catalog->engine->latencies.catalog_commit, begun_ns, ks_clock_mono_ns(clock), 1);
        atomic_fetch_add(&catalog->commits, 1);
        ks_engine_count(catalog->engine, KS_COUNT_CATALOG_COMMITS, 1);
    }
    return st;
}

static void catalog_run(void *self)
{
    struct ks_catalog *catalog = self;
    KS_LIST_FOR_EACH(node, &catalog->batch)
    change_of(node)->outcome = (struct ks_error)KS_ERROR_INIT;
    struct ks_error error = KS_ERROR_INIT;
    if (ks_engine_is_poisoned(catalog->engine)) {
        error.status = ks_fail(&error, KS_POISONED, 0, "%s", ks_status_info(KS_POISONED)->text);
        batch_fail(catalog, &error);
        return;
    }
    bool is_again = false;
    do {
        error.status = batch_attempt(catalog, &is_again, &error);
        if (error.status) {
            if (error.status != KS_STORAGE_FULL && ks_engine_is_poisoned(catalog->engine))
                error.status = KS_POISONED;
            KS_LIST_FOR_EACH(node, &catalog->batch)
            {
                struct ks_change *change = change_of(node);
                if (!change->outcome.status)
                    change->outcome = error;
            }
            return;
        }
    } while (is_again);
}

static void catalog_end(void *self)
{
    struct ks_catalog *catalog = self;
    struct ks_list *node;
    while ((node = ks_list_pop(&catalog->batch))) {
        struct ks_change *change = change_of(node);
        if (change->outcome.status == KS_WOULD_BLOCK) {
            ks_list_push(&catalog->deferred, node);
            continue;
        }
        struct ks_error error = change->outcome;
        change->done(change, error.status, &error);
    }
    catalog->step.idle_ms_max = ks_list_is_empty(&catalog->deferred) ? 0 : DEFERRED_LOOK_MS;
    KS_LOCK_SCOPE(&catalog->mu);
    if (!ks_list_is_empty(&catalog->pending))
        ks_wake_set(&catalog->wake);
}

struct ks_step *ks_catalog_step(struct ks_catalog *catalog)
{
    return &catalog->step;
}

uint64_t ks_catalog_commits(struct ks_catalog *catalog)
{
    return atomic_load(&catalog->commits);
}

enum ks_status ks_catalog_create(
    struct ks_engine *engine, struct ks_catalog **out, struct ks_error *err)
{
    struct ks_catalog *catalog = ks_zalloc(sizeof *catalog);
    if (!catalog)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot open the catalog");
    catalog->engine = engine;
    catalog->kv = engine->options.catalog;
    ks_wake_init(&catalog->wake, KS_RANK_WAKE);
    ks_mutex_init(&catalog->mu, KS_RANK_CATALOG);
    ks_list_init(&catalog->pending);
    ks_list_init(&catalog->batch);
    ks_list_init(&catalog->deferred);
    catalog->step = (struct ks_step){.name = "catalog",
        .self = catalog,
        .begin = catalog_begin,
        .run = catalog_run,
        .end = catalog_end,
        .wake = &catalog->wake};
    *out = catalog;
    return KS_OK;
}

/* Changes still waiting are told, so that their memory is given back; nothing is written. */
void ks_catalog_destroy(struct ks_catalog *catalog)
{
    if (!catalog)
        return;
    struct ks_error error = KS_ERROR_INIT;
    error.status = ks_fail(&error, KS_STOPPING, 0, "%s", ks_status_info(KS_STOPPING)->text);
    struct ks_list *lists[] = {&catalog->batch, &catalog->deferred, &catalog->pending};
    for (size_t i = 0; i < KS_COUNT_OF(lists); i++) {
        struct ks_list *node;
        while ((node = ks_list_pop(lists[i])))
            change_of(node)->done(change_of(node), KS_STOPPING, &error);
    }
    ks_mutex_fini(&catalog->mu);
    ks_wake_fini(&catalog->wake);
    ks_free(catalog);
}

/* ---- the beginning and the end of a run ---- */

static void note_entry(void *arg, const char *name)
{
    (void)name;
    (*(uint64_t *)arg)++;
}

/* A directory without a catalog must be a new one: what the catalog says of files is never
 * guessed, and nothing is deleted for want of it. */
static enum ks_status require_new_directory(
    struct ks_catalog *catalog, struct ks_kv_txn *txn, struct ks_error *err)
{
    struct ks_view key;
    struct ks_view value;
    for (unsigned table = 0; table < KS_TABLE_COUNT; table++) {
        enum ks_status st = ks_kv_at_or_after(txn, table, ks_view_of("", 0), &key, &value, err);
        if (st == KS_OK)
            return row_is_damaged(KS_TABLE_META, ks_view_of_text("journal"),
                "missing, but there are others; put back a backup: kstreamctl restore-catalog",
                err);
        if (st != KS_NOT_FOUND)
            return st;
    }
    uint64_t entries = 0;
    enum ks_status st =
        ks_io_list(catalog->engine->options.io, "journal", note_entry, &entries, err);
    if (st && st != KS_NOT_FOUND)
        return st;
    if (entries > 0)
        return ks_fail(err, KS_CORRUPT, 0,
            "the catalog is empty, but the directory has a journal of %llu files: put back a "
            "backup with kstreamctl restore-catalog, or start with another data directory",
            (unsigned long long)entries);
    return KS_OK;
}

static enum ks_status journal_row_get(
    struct ks_catalog *catalog, struct ks_kv_txn *txn, bool *out_is_new, struct ks_error *err)
{
    ProtobufCMessage *message = NULL;
    enum ks_status st = ks_catalog_get(txn, KS_TABLE_META, ks_view_of_text("journal"),
        &kstream__catalog__journal_row__descriptor, &message, err);
    *out_is_new = st == KS_NOT_FOUND;
    if (st == KS_NOT_FOUND)
        return require_new_directory(catalog, txn, err);
    if (st)
        return st;
    const Kstream__Catalog__JournalRow *row = (Kstream__Catalog__JournalRow *)message;
    if (row->format_version > FORMAT_VERSION) {
        st = ks_fail(err, KS_UNSUPPORTED, 0,
            "the data directory has format %u, this version knows %u: use a newer kstream",
            row->format_version, FORMAT_VERSION);
    } else if (row->uuid.len != sizeof catalog->row.uuid) {
        st = row_is_damaged(KS_TABLE_META, ks_view_of_text("journal"), "bad uuid", err);
    } else {
        memcpy(catalog->row.uuid, row->uuid.data, row->uuid.len);
        catalog->row.last_run_id = row->run_id;
        catalog->row.named_run_id = row->named_run_id;
        catalog->row.named_lsn = row->named_lsn;
        catalog->row.named_ordinals = row->named_ordinals;
        catalog->row.was_clean = row->is_clean;
    }
    protobuf_c_message_free_unpacked(message, NULL);
    return st;
}

static enum ks_status make_uuid(struct ks_catalog *catalog, struct ks_error *err)
{
    struct ks_engine *engine = catalog->engine;
    if (engine->options.random_seed == 0)
        return ks_random_bytes(catalog->row.uuid, sizeof catalog->row.uuid, err);
    ks_store_u64le(catalog->row.uuid, ks_prng_u64(&engine->prng));
    ks_store_u64le(catalog->row.uuid + 8, ks_prng_u64(&engine->prng));
    return KS_OK;
}

enum ks_status ks_catalog_begin_run(
    struct ks_catalog *catalog, struct ks_catalog_journal_row *out, struct ks_error *err)
{
    KS_CLEANUP(ks_kv_abortp) struct ks_kv_txn *txn = NULL;
    enum ks_status st = ks_kv_begin(catalog->kv, true, &txn, err);
    if (st)
        return st;
    bool is_new = false;
    st = journal_row_get(catalog, txn, &is_new, err);
    if (st)
        return st;
    if (is_new) {
        st = make_uuid(catalog, err);
        if (st)
            return st;
        catalog->row.was_clean = true;
    }
    catalog->row.run_id = catalog->row.last_run_id + 1;
    st = journal_row_put(catalog, txn, false, err);
    if (st)
        return st;
    st = ks_kv_commit(KS_TAKE(txn), err);
    if (st)
        return st;
    *out = catalog->row;
    return KS_OK;
}

enum ks_status ks_catalog_mark_clean(struct ks_catalog *catalog, struct ks_error *err)
{
    KS_CLEANUP(ks_kv_abortp) struct ks_kv_txn *txn = NULL;
    enum ks_status st = ks_kv_begin(catalog->kv, true, &txn, err);
    if (st)
        return st;
    st = journal_row_put(catalog, txn, true, err);
    if (st)
        return st;
    return ks_kv_commit(KS_TAKE(txn), err);
}
