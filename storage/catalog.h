/*
 * The catalog: the truth about streams, shards, files and flushpoints, behind the registry. One
 * writer (the catalog step) puts all pending changes into one durable commit. Values are
 * catalog.proto messages that end in a CRC32C over key and value.
 *
 * Threads: submit from any thread; rows are read only at open, before threads exist, and inside
 * apply.
 */
#ifndef KS_STORAGE_CATALOG_H
#define KS_STORAGE_CATALOG_H

#include "base/list.h"
#include "base/status.h"
#include "storage/kv.h"
#include "storage/step.h"

struct ks_engine;
struct ks_catalog;

enum ks_catalog_table {
    KS_TABLE_META,    /* "journal" {uuid, run id, named LSN, clean}, "high.log", "high.stream",
                         "high.file", "account" */
    KS_TABLE_STREAMS, /* stream number (u64 big-endian) -> stream */
    KS_TABLE_SHARDS,  /* stream number, shard index (u64 u32 be) -> shard with its log id */
    KS_TABLE_FILES,   /* file id -> segment file: state, generation, log, first and last sequence,
                         bytes */
    KS_TABLE_FLUSHPOINTS, /* log id -> file, generation, flushed bytes, last sequence, last arrival,
                             batches, producers */
    KS_TABLE_TOMBSTONES,  /* log id -> LSN at its deletion */
    KS_TABLE_COUNT,
};
extern const char *const ks_catalog_table_names[KS_TABLE_COUNT];

#define KS_CATALOG_ACCOUNT_KEY "account"

/* Of a shard in the catalog. Those that are planned belong to a reshard under way: they are not yet
 * in the snapshot. */
enum ks_shard_row_status {
    KS_SHARD_ROW_OPEN = 0,
    KS_SHARD_ROW_CLOSED = 1,
    KS_SHARD_ROW_PLANNED = 2,       /* will be open */
    KS_SHARD_ROW_PLANNED_SHORT = 3, /* will be closed from the start: between split and merge */
};

/*
 * A change under way: memory of the submitter, untouched by it until done has run. apply writes
 * rows into the open transaction; it may run again, for another change of the same commit was taken
 * out. A status other than KS_OK takes the whole change out of the commit and is what done gets;
 * but KS_WOULD_BLOCK puts it off to a later commit. done runs on the catalog step's thread after
 * the commit (or its refusal), without locks, in submission order. A failed commit other than
 * KS_STORAGE_FULL poisons the engine; done still runs.
 */
struct ks_change {
    struct ks_list link;
    enum ks_status (*apply)(struct ks_change *change, struct ks_kv_txn *txn, struct ks_error *err);
    void (*done)(struct ks_change *change, enum ks_status status, const struct ks_error *error);
    struct ks_error outcome; /* private to the catalog */
};

/* Keys of numbers are big-endian, so that rows lie in their order. */
struct ks_catalog_key {
    uint8_t bytes[12];
};
static inline struct ks_view ks_catalog_key_u64(struct ks_catalog_key *key, uint64_t number)
{
    ks_store_u64be(key->bytes, number);
    return ks_view_of(key->bytes, 8);
}
static inline struct ks_view ks_catalog_key_shard(
    struct ks_catalog_key *key, uint64_t stream_number, uint32_t shard_index)
{
    ks_store_u64be(key->bytes, stream_number);
    ks_store_u32be(key->bytes + 8, shard_index);
    return ks_view_of(key->bytes, 12);
}

/* After KS_POISONED or stop, done is called at once with that status by the step. */
void ks_catalog_submit(struct ks_catalog *catalog, struct ks_change *change);
struct ks_step *ks_catalog_step(struct ks_catalog *catalog);
/* Durable commits made by this run: nothing of the journal is recycled before the first. */
uint64_t ks_catalog_commits(struct ks_catalog *catalog);

/* Rows with their checksum. get: KS_NOT_FOUND; KS_CORRUPT (the text names table and key). message:
 * a protobuf-c message. */
struct ProtobufCMessage;
enum ks_status ks_catalog_put(struct ks_kv_txn *txn, enum ks_catalog_table table,
    struct ks_view key, const struct ProtobufCMessage *message, struct ks_error *err) KS_MUST_USE;
enum ks_status ks_catalog_remove(struct ks_kv_txn *txn, enum ks_catalog_table table,
    struct ks_view key, struct ks_error *err) KS_MUST_USE;
/* A row of the wanted message type, to be freed with protobuf_c_message_free_unpacked. Errors:
 * KS_NOT_FOUND; KS_CORRUPT. */
struct ProtobufCMessageDescriptor;
enum ks_status ks_catalog_get(struct ks_kv_txn *txn, enum ks_catalog_table table,
    struct ks_view key, const struct ProtobufCMessageDescriptor *type,
    struct ProtobufCMessage **out_message, struct ks_error *err) KS_MUST_USE;
/* A stored value of a scan, checked and unpacked as its table's message. Errors: KS_CORRUPT;
 * KS_NO_MEMORY. */
enum ks_status ks_catalog_unpack(enum ks_catalog_table table, struct ks_view key,
    struct ks_view stored, struct ProtobufCMessage **out_message, struct ks_error *err) KS_MUST_USE;
/* The row name of the meta table ("high.log"); 0 when there is none yet. */
enum ks_status ks_catalog_high_get(
    struct ks_kv_txn *txn, const char *name, uint64_t *out_high, struct ks_error *err) KS_MUST_USE;
enum ks_status ks_catalog_high_put(
    struct ks_kv_txn *txn, const char *name, uint64_t high, struct ks_error *err) KS_MUST_USE;
/* Checks and strips the checksum. */
enum ks_status ks_catalog_open_value(enum ks_catalog_table table, struct ks_view key,
    struct ks_view stored, struct ks_view *out_message, struct ks_error *err) KS_MUST_USE;
/* Walks every row of every table: checksums and decoding. For the forked check after an unclean
 * stop, and the inspector. on_rows (may be NULL) is called now and then, for whoever waits. */
enum ks_status ks_catalog_verify(struct ks_kv *kv, void (*on_rows)(void *arg, uint64_t rows),
    void *arg, uint64_t *out_rows, struct ks_error *err) KS_MUST_USE;

#endif
