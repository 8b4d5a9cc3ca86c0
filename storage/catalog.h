/*
 * The catalog: the truth about streams, shards, files and flushpoints, behind the registry. One writer (the catalog step)
 * puts all pending changes into one durable commit. Values are catalog.proto messages that end in a CRC32C over key and value.
 *
 * Threads: submit from any thread; rows are read only at open, before threads exist, and inside apply.
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
    KS_TABLE_META,        /* "journal" {uuid, run id, named LSN, clean}, "ids" {log, stream and file id high-water marks} */
    KS_TABLE_STREAMS,     /* stream number (u64 big-endian) -> stream */
    KS_TABLE_SHARDS,      /* stream number, shard index (u64 u32 be) -> shard with its log id */
    KS_TABLE_FILES,       /* file id -> segment file: state, generation, log, first and last sequence, bytes */
    KS_TABLE_FLUSHPOINTS, /* log id -> file, generation, flushed bytes, last sequence, last arrival, batches, producers */
    KS_TABLE_TOMBSTONES,  /* log id -> LSN at its deletion */
    KS_TABLE_COUNT,
};
extern const char *const ks_catalog_table_names[KS_TABLE_COUNT];

/*
 * A change under way: memory of the submitter, untouched by it until done has run. apply writes rows into the open
 * transaction (it may run again when the commit was refused for want of space); a status other than KS_OK takes the whole change out of the commit. done
 * runs on the catalog step's thread after the commit (or its refusal), without locks, in submission order.
 * A failed commit other than KS_STORAGE_FULL poisons the engine; done still runs.
 */
struct ks_change {
    struct ks_list link;
    enum ks_status (*apply)(struct ks_change *change, struct ks_kv_txn *txn, struct ks_error *err);
    void (*done)(struct ks_change *change, enum ks_status status, const struct ks_error *error);
};

/* After KS_POISONED or stop, done is called at once with that status by the step. */
void ks_catalog_submit(struct ks_catalog *catalog, struct ks_change *change);
struct ks_step *ks_catalog_step(struct ks_catalog *catalog);
/* Durable commits made by this run: nothing of the journal is recycled before the first. */
uint64_t ks_catalog_commits(struct ks_catalog *catalog);

/* Rows with their checksum. get: KS_NOT_FOUND; KS_CORRUPT (the text names table and key). message: a protobuf-c message. */
struct ProtobufCMessage;
enum ks_status ks_catalog_put(struct ks_kv *kv, struct ks_kv_txn *txn, enum ks_catalog_table table, struct ks_view key,
    const struct ProtobufCMessage *message, struct ks_error *err) KS_MUST_USE;
enum ks_status ks_catalog_remove(struct ks_kv *kv, struct ks_kv_txn *txn, enum ks_catalog_table table, struct ks_view key,
    struct ks_error *err) KS_MUST_USE;
/* Checks and strips the checksum. */
enum ks_status ks_catalog_open_value(
    enum ks_catalog_table table, struct ks_view key, struct ks_view stored, struct ks_view *out_message, struct ks_error *err) KS_MUST_USE;
/* Walks every row of every table: checksums and decoding. For the forked check after an unclean stop, and the inspector. */
enum ks_status ks_catalog_verify(struct ks_kv *kv, uint64_t *out_rows, struct ks_error *err) KS_MUST_USE;

#endif
