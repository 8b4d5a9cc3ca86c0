/*
 * The key-value seam: ordered tables with atomic, durable transactions. LMDB in production (kv_lmdb.h), a map in memory
 * for tests (kv_model.h). Keys compare as byte strings; a shorter key that is a prefix comes first.
 *
 * Threads: one write transaction at a time (the second begin waits); read transactions are cheap, short (a long one
 * makes an LMDB file grow without bound) and belong to the thread that began them.
 * Views returned by get and seek stay valid until the transaction ends or, in a write transaction, its next change.
 */
#ifndef KS_STORAGE_KV_H
#define KS_STORAGE_KV_H

#include "base/bytes.h"
#include "base/status.h"

struct ks_kv;
struct ks_kv_txn;

/* Tables are small integers; each environment says how many it has and their names when it is opened. */
#define KS_KV_TABLES_MAX 16
#define KS_KV_KEY_BYTES_MAX 256 /* below LMDB's 511 */

struct ks_kv_ops {
    enum ks_status (*begin)(struct ks_kv *kv, bool is_write, struct ks_kv_txn **out_txn, struct ks_error *err);
    /* Both end the transaction, whatever they return. commit: KS_OK = durable (unless the environment is a cache);
     * KS_STORAGE_FULL = nothing changed, may be tried again later; anything else = unknown state, poison. */
    enum ks_status (*commit)(struct ks_kv_txn *txn, struct ks_error *err);
    void (*abort)(struct ks_kv_txn *txn);
    enum ks_status (*get)(
        struct ks_kv_txn *txn, unsigned table, struct ks_view key, struct ks_view *out_value, struct ks_error *err);
    enum ks_status (*put)(
        struct ks_kv_txn *txn, unsigned table, struct ks_view key, struct ks_view value, struct ks_error *err);
    /* Deleting a missing key is fine. */
    enum ks_status (*remove)(struct ks_kv_txn *txn, unsigned table, struct ks_view key, struct ks_error *err);
    /* The first key >= key (at_or_after), or the last key <= key (at_or_before). KS_NOT_FOUND: there is none. */
    enum ks_status (*at_or_after)(struct ks_kv_txn *txn, unsigned table, struct ks_view key, struct ks_view *out_key,
        struct ks_view *out_value, struct ks_error *err);
    enum ks_status (*at_or_before)(struct ks_kv_txn *txn, unsigned table, struct ks_view key, struct ks_view *out_key,
        struct ks_view *out_value, struct ks_error *err);
    /* Calls each(arg, key, value) for every row of the table in key order, until it returns a status other than KS_OK,
     * which is then returned. each must not change the table. */
    enum ks_status (*scan)(struct ks_kv_txn *txn, unsigned table,
        enum ks_status (*each)(void *arg, struct ks_view key, struct ks_view value, struct ks_error *err), void *arg,
        struct ks_error *err);
    void (*close)(struct ks_kv *kv);
};

struct ks_kv {
    const struct ks_kv_ops *ops;
};

struct ks_kv_options {
    const char *path;               /* directory, made if missing; copied */
    const char *const *table_names; /* borrowed; table_count of them */
    unsigned table_count;
    uint64_t map_bytes_max;         /* address space; the file grows as needed */
    uint64_t allocate_ahead_bytes;  /* keep the file allocated this far ahead of its use; 0 = no */
    bool is_cache;                  /* MDB_NOSYNC: lost or damaged by a power cut; deleted after an unclean stop */
};

/* Errors: KS_CORRUPT not a database or damaged; KS_STORAGE_FULL; KS_IO; KS_NO_MEMORY. */
enum ks_status ks_kv_lmdb_open(const struct ks_kv_options *options, struct ks_kv **out_kv, struct ks_error *err) KS_MUST_USE;

static inline void ks_kv_close(struct ks_kv *kv)
{
    if (kv)
        kv->ops->close(kv);
}

#endif
