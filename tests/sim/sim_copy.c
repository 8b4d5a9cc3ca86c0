/*
 * Copies of the catalog, and starts from one of them: the catalog is lost, journal and segments
 * went on. Put back is only a copy that has the streams and shards of today: then a start with it
 * must bring everything back, to the last record. What it does about newer streams is tested one by
 * one (tests/unit/storage/test_adopt.c).
 */
#include "proto/catalog.pb-c.h"
#include "tests/sim/sim_world.h"

#include <string.h>

/* Commits of their own, which never fail here: the simulated disk is not asked. */
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

static void copy_all(struct ks_kv *from, struct ks_kv *to)
{
    struct ks_kv_txn *reading = NULL;
    struct copying copying = {.to = NULL};
    KS_ASSERT(ks_kv_begin(from, false, &reading, NULL) == KS_OK);
    KS_ASSERT(ks_kv_begin(to, true, &copying.to, NULL) == KS_OK);
    for (copying.table = 0; copying.table < KS_TABLE_COUNT; copying.table++)
        KS_ASSERT(ks_kv_scan(reading, copying.table, copy_row, &copying, NULL) == KS_OK);
    KS_ASSERT(ks_kv_commit(copying.to, NULL) == KS_OK);
    ks_kv_abort(reading);
}

/* What backup-catalog does, at any moment. */
void sim_copy_catalog(struct sim_world *world)
{
    struct ks_kv *copy = NULL;
    if (ks_io_sim_is_cut(world->disk))
        return;
    ks_kv_model_erase(world->copy);
    KS_ASSERT(ks_kv_model_open(world->copy, &copy, NULL) == KS_OK);
    copy_all(world->catalog_handle, copy);
    ks_kv_close(copy);
    world->has_copy = true;
    world->totals->catalogs_copied++;
}

/* ---- is it fit? ---- */

struct comparing {
    struct ks_kv_txn *other;
    unsigned table;
    bool is_equal;
};

static enum ks_status compare_row(
    void *arg, struct ks_view key, struct ks_view value, struct ks_error *err)
{
    struct comparing *comparing = arg;
    struct ks_view there;
    if (ks_kv_get(comparing->other, comparing->table, key, &there, err) ||
        !ks_view_equal(there, value))
        comparing->is_equal = false;
    if (comparing->table != KS_TABLE_STREAMS || !comparing->is_equal)
        return KS_OK;
    ProtobufCMessage *message = NULL;
    KS_ASSERT(ks_catalog_unpack(KS_TABLE_STREAMS, key, value, &message, err) == KS_OK);
    comparing->is_equal =
        ((Kstream__Catalog__StreamRow *)message)->status == KS_STREAM_ACTIVE; /* no reshard */
    protobuf_c_message_free_unpacked(message, NULL);
    return KS_OK;
}

/* The settings of the account, too. */
static bool is_same_account(struct ks_kv_txn *old, struct ks_kv_txn *new)
{
    struct ks_view name = ks_view_of_text(KS_CATALOG_ACCOUNT_KEY);
    struct ks_view then = ks_view_of("", 0);
    struct ks_view now = ks_view_of("", 0);
    enum ks_status old_st = ks_kv_get(old, KS_TABLE_META, name, &then, NULL);
    enum ks_status new_st = ks_kv_get(new, KS_TABLE_META, name, &now, NULL);
    return old_st == new_st && ks_view_equal(then, now);
}

static bool is_fit(struct ks_kv *copy, struct ks_kv *today)
{
    static const unsigned tables[] = {KS_TABLE_STREAMS, KS_TABLE_SHARDS};
    struct ks_kv_txn *old = NULL;
    struct ks_kv_txn *new = NULL;
    KS_ASSERT(ks_kv_begin(copy, false, &old, NULL) == KS_OK);
    KS_ASSERT(ks_kv_begin(today, false, &new, NULL) == KS_OK);
    uint64_t old_high = 0;
    uint64_t new_high = 0;
    KS_ASSERT(ks_catalog_high_get(old, "high.log", &old_high, NULL) == KS_OK);
    KS_ASSERT(ks_catalog_high_get(new, "high.log", &new_high, NULL) == KS_OK);
    /* A stream made and deleted since may come back. */
    bool is_equal = old_high == new_high && is_same_account(old, new);
    for (size_t i = 0; i < KS_COUNT_OF(tables); i++) {
        struct comparing there = {.other = new, .table = tables[i], .is_equal = true};
        struct comparing back = {.other = old, .table = tables[i], .is_equal = true};
        KS_ASSERT(ks_kv_scan(old, tables[i], compare_row, &there, NULL) == KS_OK);
        KS_ASSERT(ks_kv_scan(new, tables[i], compare_row, &back, NULL) == KS_OK);
        is_equal = is_equal && there.is_equal && back.is_equal;
    }
    ks_kv_abort(old);
    ks_kv_abort(new);
    return is_equal;
}

/* The machine is down, with power. A flipped bit beside a lost catalog would be one bad day too
 * many. */
void sim_put_back_catalog(struct sim_world *world)
{
    struct ks_kv *copy = NULL;
    struct ks_kv *today = NULL;
    if (!world->has_copy || world->has_flips || !ks_prng_chance(&world->prng, 2, 3))
        return;
    KS_ASSERT(ks_kv_model_open(world->copy, &copy, NULL) == KS_OK);
    KS_ASSERT(ks_kv_model_open(world->catalog, &today, NULL) == KS_OK);
    bool is_right = is_fit(copy, today);
    ks_kv_close(today);
    if (is_right) {
        ks_kv_model_erase(world->catalog);
        KS_ASSERT(ks_kv_model_open(world->catalog, &today, NULL) == KS_OK);
        copy_all(copy, today);
        ks_kv_close(today);
        world->is_catalog_copy = true;
        world->totals->catalogs_put_back++;
    }
    ks_kv_close(copy);
}
