/*
 * The key-value seam: ordered tables with atomic, durable transactions. LMDB in production
 * (kv_lmdb.h), a map in memory for tests (kv_model.h). Keys compare as byte strings; a shorter key
 * that is a prefix comes first.
 *
 * Threads: one write transaction at a time (the second begin waits); read transactions are cheap,
 * short (a long one makes an LMDB file grow without bound) and belong to the thread that uses them.
 * Views returned by get and seek stay valid until the transaction ends or, in a write transaction,
 * its next change.
 */
#ifndef KS_STORAGE_KV_H
#define KS_STORAGE_KV_H

#include "base/bytes.h"
#include "base/status.h"

struct ks_kv;

/* A transaction under way: the first member of the implementation's own struct. */
struct ks_kv_txn {
    struct ks_kv *kv;
};

/* Tables are small integers; each environment says how many it has and their names when it is
 * opened. */
#define KS_KV_TABLES_MAX 16
#define KS_KV_KEY_BYTES_MAX 256 /* below LMDB's 511; the least is 1 */

struct ks_kv_ops {
    enum ks_status (*begin)(
        struct ks_kv *kv, bool is_write, struct ks_kv_txn **out_txn, struct ks_error *err);
    /* Both end the transaction, whatever they return. commit: KS_OK = durable (unless the
     * environment is a cache); KS_STORAGE_FULL = nothing changed, may be tried again later;
     * anything else = unknown state, poison. After a failed put or remove nothing is committed and
     * commit returns that failure's status again. */
    enum ks_status (*commit)(struct ks_kv_txn *txn, struct ks_error *err);
    void (*abort)(struct ks_kv_txn *txn);
    enum ks_status (*get)(struct ks_kv_txn *txn, unsigned table, struct ks_view key,
        struct ks_view *out_value, struct ks_error *err);
    enum ks_status (*put)(struct ks_kv_txn *txn, unsigned table, struct ks_view key,
        struct ks_view value, struct ks_error *err);
    /* Deleting a missing key is fine. */
    enum ks_status (*remove)(
        struct ks_kv_txn *txn, unsigned table, struct ks_view key, struct ks_error *err);
    /* The first key >= key (at_or_after; an empty key: the first of all), or the last key <= key
     * (at_or_before). KS_NOT_FOUND: there is none. */
    enum ks_status (*at_or_after)(struct ks_kv_txn *txn, unsigned table, struct ks_view key,
        struct ks_view *out_key, struct ks_view *out_value, struct ks_error *err);
    enum ks_status (*at_or_before)(struct ks_kv_txn *txn, unsigned table, struct ks_view key,
        struct ks_view *out_key, struct ks_view *out_value, struct ks_error *err);
    /* Calls each(arg, key, value) for every row of the table in key order, until it returns a
     * status other than KS_OK, which is then returned. each must not change the table. */
    enum ks_status (*scan)(struct ks_kv_txn *txn, unsigned table,
        enum ks_status (*each)(
            void *arg, struct ks_view key, struct ks_view value, struct ks_error *err),
        void *arg, struct ks_error *err);
    /* How many rows the table says that it has. */
    enum ks_status (*count)(
        struct ks_kv_txn *txn, unsigned table, uint64_t *out_rows, struct ks_error *err);
    /* Everything committed and visible becomes durable: a cache before its owner marks a clean
     * stop; any environment after an unclean stop, before it is believed (a killed process may have
     * left a commit half way to the disk). Never repeated after a failure. */
    enum ks_status (*sync)(struct ks_kv *kv, struct ks_error *err);
    void (*close)(struct ks_kv *kv); /* no transaction may be open */
};

struct ks_kv {
    const struct ks_kv_ops *ops;
};

struct ks_kv_options {
    const char *path;               /* directory, made if missing; copied */
    const char *const *table_names; /* borrowed; table_count of them */
    unsigned table_count;
    uint64_t map_bytes_max;        /* address space; the file grows as needed */
    uint64_t allocate_ahead_bytes; /* keep the file allocated this far ahead of its use; 0 = no */
    bool is_cache; /* MDB_NOSYNC: lost or damaged by a power cut; deleted after an unclean stop */
    /* Read only: the lock file is neither made nor written to. Only when nobody has the environment
     * open for writing. */
    bool is_unlocked;
};

/* Errors: KS_CORRUPT not a database or damaged; KS_STORAGE_FULL; KS_IO; KS_NO_MEMORY. */
enum ks_status ks_kv_lmdb_open(
    const struct ks_kv_options *options, struct ks_kv **out_kv, struct ks_error *err) KS_MUST_USE;
/*
 * For the forked checker and the offline inspector: changes no data, makes no environment, refuses
 * write transactions. Reading a damaged environment can kill the process, so only a process that
 * may die should do it, and never one that has the same environment open: LMDB's locks would end
 * with the first close.
 * Errors: as above; KS_NOT_FOUND there is none at the path.
 */
enum ks_status ks_kv_lmdb_open_read_only(
    const struct ks_kv_options *options, struct ks_kv **out_kv, struct ks_error *err) KS_MUST_USE;
/*
 * A copy of what is committed, without unused pages, as a new environment at path (a directory,
 * made here, whose parent exists and is synced by the caller); durable when this returns. Others go
 * on reading and writing meanwhile. What a failure leaves at path is of no use. Errors:
 * KS_STORAGE_FULL; KS_IO.
 */
enum ks_status ks_kv_lmdb_copy(
    struct ks_kv *kv, const char *path, uint64_t *out_bytes, struct ks_error *err) KS_MUST_USE;
/* Deletes the environment unopened (an unclean cache). None at the path is fine. Errors: KS_IO. */
enum ks_status ks_kv_lmdb_erase(const char *path, struct ks_error *err) KS_MUST_USE;

/*
 * What engine code calls.
 */
static inline void ks_kv_close(struct ks_kv *kv)
{
    if (kv)
        kv->ops->close(kv);
}
KS_DEFINE_CLEANUP(struct ks_kv, ks_kv_close)

static inline enum ks_status KS_MUST_USE ks_kv_sync(struct ks_kv *kv, struct ks_error *err)
{
    return kv->ops->sync(kv, err);
}

static inline enum ks_status KS_MUST_USE ks_kv_begin(
    struct ks_kv *kv, bool is_write, struct ks_kv_txn **out_txn, struct ks_error *err)
{
    return kv->ops->begin(kv, is_write, out_txn, err);
}

/* Consumes txn: with a KS_CLEANUP(ks_kv_abortp) variable write ks_kv_commit(KS_TAKE(txn), err). */
static inline enum ks_status KS_MUST_USE ks_kv_commit(struct ks_kv_txn *txn, struct ks_error *err)
{
    return txn->kv->ops->commit(txn, err);
}

/* NULL is fine. Also the way to end a read transaction. */
static inline void ks_kv_abort(struct ks_kv_txn *txn)
{
    if (txn)
        txn->kv->ops->abort(txn);
}
KS_DEFINE_CLEANUP(struct ks_kv_txn, ks_kv_abort)

static inline enum ks_status KS_MUST_USE ks_kv_get(struct ks_kv_txn *txn, unsigned table,
    struct ks_view key, struct ks_view *out_value, struct ks_error *err)
{
    return txn->kv->ops->get(txn, table, key, out_value, err);
}

static inline enum ks_status KS_MUST_USE ks_kv_put(struct ks_kv_txn *txn, unsigned table,
    struct ks_view key, struct ks_view value, struct ks_error *err)
{
    return txn->kv->ops->put(txn, table, key, value, err);
}

static inline enum ks_status KS_MUST_USE ks_kv_remove(
    struct ks_kv_txn *txn, unsigned table, struct ks_view key, struct ks_error *err)
{
    return txn->kv->ops->remove(txn, table, key, err);
}

static inline enum ks_status KS_MUST_USE ks_kv_at_or_after(struct ks_kv_txn *txn, unsigned table,
    struct ks_view key, struct ks_view *out_key, struct ks_view *out_value, struct ks_error *err)
{
    return txn->kv->ops->at_or_after(txn, table, key, out_key, out_value, err);
}

static inline enum ks_status KS_MUST_USE ks_kv_at_or_before(struct ks_kv_txn *txn, unsigned table,
    struct ks_view key, struct ks_view *out_key, struct ks_view *out_value, struct ks_error *err)
{
    return txn->kv->ops->at_or_before(txn, table, key, out_key, out_value, err);
}

static inline enum ks_status KS_MUST_USE ks_kv_scan(struct ks_kv_txn *txn, unsigned table,
    enum ks_status (*each)(
        void *arg, struct ks_view key, struct ks_view value, struct ks_error *err),
    void *arg, struct ks_error *err)
{
    return txn->kv->ops->scan(txn, table, each, arg, err);
}

static inline enum ks_status KS_MUST_USE ks_kv_count(
    struct ks_kv_txn *txn, unsigned table, uint64_t *out_rows, struct ks_error *err)
{
    return txn->kv->ops->count(txn, table, out_rows, err);
}

#endif
