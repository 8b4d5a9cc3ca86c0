/* What every key-value store behind the seam must do alike: LMDB and the model. */
#include "base/prng.h"
#include "storage/kv.h"
#include "storage/kv_model.h"
#include "tests/unit/ks_check.h"
#include "tests/unit/storage/temp_dir.h"

#include <stdio.h>

enum { STORE_LMDB, STORE_MODEL, STORES };
enum { T_ONE, T_TWO, TABLES };

static const char *const table_names[TABLES] = {"one", "two"};
static struct ks_kv *kv;
static struct ks_kv_model *model;

static struct ks_kv *open_store(int which)
{
    struct ks_error err = KS_ERROR_INIT;
    struct ks_kv *out = NULL;
    struct ks_kv_options options = {
        .path = temp_path("kv"),
        .table_names = table_names,
        .table_count = TABLES,
        .map_bytes_max = 64 << 20,
        .is_cache = true, /* faster; what is durable is tested elsewhere */
    };
    if (which == STORE_MODEL) {
        struct ks_kv_model_options model_options = {.table_count = TABLES};
        if (!model)
            ck_assert_int_eq(ks_kv_model_create(&model_options, &model, NULL), KS_OK);
        ck_assert_int_eq(ks_kv_model_open(model, &out, NULL), KS_OK);
        return out;
    }
    ck_assert_msg(ks_kv_lmdb_open(&options, &out, &err) == KS_OK, "%s", err.text);
    return out;
}

static void use_store(int which)
{
    kv = open_store(which);
}

static void leave_store(void)
{
    ks_kv_close(kv);
    ks_kv_model_destroy(model);
    model = NULL;
}

static struct ks_kv_txn *begin(bool is_write)
{
    struct ks_kv_txn *txn = NULL;
    ck_assert_int_eq(ks_kv_begin(kv, is_write, &txn, NULL), KS_OK);
    return txn;
}

static struct ks_view text(const char *s)
{
    return ks_view_of_text(s);
}

static void put(struct ks_kv_txn *txn, unsigned table, const char *key, const char *value)
{
    ck_assert_int_eq(ks_kv_put(txn, table, text(key), text(value), NULL), KS_OK);
}

static void commit(struct ks_kv_txn *txn)
{
    ck_assert_int_eq(ks_kv_commit(txn, NULL), KS_OK);
}

static bool has(struct ks_kv_txn *txn, unsigned table, const char *key, const char *value)
{
    struct ks_view got;
    enum ks_status st = ks_kv_get(txn, table, text(key), &got, NULL);
    if (st == KS_NOT_FOUND)
        return false;
    ck_assert_int_eq(st, KS_OK);
    return ks_view_equal(got, text(value));
}

START_TEST(committed_rows_are_read_back_and_removed_ones_are_not)
{
    temp_dir_renew();
    use_store(_i);
    struct ks_kv_txn *txn = begin(true);
    put(txn, T_ONE, "a", "1");
    put(txn, T_ONE, "b", "");
    put(txn, T_TWO, "a", "other");
    ck_assert(has(txn, T_ONE, "a", "1")); /* its own changes */
    commit(txn);
    txn = begin(true);
    put(txn, T_ONE, "a", "2");
    ck_assert_int_eq(ks_kv_remove(txn, T_ONE, text("b"), NULL), KS_OK);
    ck_assert_int_eq(ks_kv_remove(txn, T_ONE, text("missing"), NULL), KS_OK);
    commit(txn);
    txn = begin(false);
    ck_assert(has(txn, T_ONE, "a", "2"));
    ck_assert(!has(txn, T_ONE, "b", ""));
    ck_assert(has(txn, T_TWO, "a", "other"));
    uint64_t rows = 77;
    ck_assert_int_eq(ks_kv_count(txn, T_ONE, &rows, NULL), KS_OK);
    ck_assert_uint_eq(rows, 1);
    ks_kv_abort(txn);
    ck_assert_int_eq(ks_kv_sync(kv, NULL), KS_OK);
    leave_store();
}
END_TEST

START_TEST(an_aborted_change_never_was)
{
    temp_dir_renew();
    use_store(_i);
    struct ks_kv_txn *txn = begin(true);
    put(txn, T_ONE, "a", "1");
    commit(txn);
    txn = begin(true);
    put(txn, T_ONE, "a", "2");
    put(txn, T_ONE, "b", "2");
    ks_kv_abort(txn);
    txn = begin(false);
    ck_assert(has(txn, T_ONE, "a", "1"));
    ck_assert(!has(txn, T_ONE, "b", "2"));
    commit(txn); /* of a reader: the same as abort */
    leave_store();
}
END_TEST

START_TEST(a_reader_sees_the_state_at_its_begin)
{
    temp_dir_renew();
    use_store(_i);
    struct ks_kv_txn *txn = begin(true);
    put(txn, T_ONE, "a", "old");
    commit(txn);
    struct ks_kv_txn *reader = begin(false);
    struct ks_view view;
    ck_assert_int_eq(ks_kv_get(reader, T_ONE, text("a"), &view, NULL), KS_OK);
    for (int i = 0; i < 5; i++) {
        txn = begin(true);
        put(txn, T_ONE, "a", "new");
        put(txn, T_ONE, "b", "new");
        commit(txn);
    }
    ck_assert(ks_view_equal(view, text("old"))); /* valid until the transaction ends */
    ck_assert(has(reader, T_ONE, "a", "old"));
    ck_assert(!has(reader, T_ONE, "b", "new"));
    ks_kv_abort(reader);
    reader = begin(false);
    ck_assert(has(reader, T_ONE, "a", "new"));
    ks_kv_abort(reader);
    leave_store();
}
END_TEST

static void expect_seek(struct ks_kv_txn *txn, bool is_after, const char *key, const char *expected)
{
    struct ks_view k = {0}, v = {0};
    enum ks_status st = is_after ? ks_kv_at_or_after(txn, T_ONE, text(key), &k, &v, NULL)
                                 : ks_kv_at_or_before(txn, T_ONE, text(key), &k, &v, NULL);
    if (!expected) {
        ck_assert_int_eq(st, KS_NOT_FOUND);
        return;
    }
    ck_assert_int_eq(st, KS_OK);
    ck_assert_msg(ks_view_equal(k, text(expected)), "%s: %.*s", key, (int)k.bytes, k.data);
    ck_assert(ks_view_equal(v, text(expected)));
}

START_TEST(seeks_find_the_neighbour_on_their_side)
{
    temp_dir_renew();
    use_store(_i);
    struct ks_kv_txn *txn = begin(true);
    expect_seek(txn, true, "", NULL);
    expect_seek(txn, true, "a", NULL);
    expect_seek(txn, false, "a", NULL);
    static const char *const keys[] = {"b", "bb", "d"};
    for (size_t i = 0; i < KS_COUNT_OF(keys); i++)
        put(txn, T_ONE, keys[i], keys[i]);
    put(txn, T_TWO, "c", "c"); /* of another table: never in the way */
    commit(txn);
    txn = begin(false);
    expect_seek(txn, true, "", "b");
    expect_seek(txn, true, "a", "b");
    expect_seek(txn, true, "b", "b");
    expect_seek(txn, true, "ba", "bb");
    expect_seek(txn, true, "c", "d");
    expect_seek(txn, true, "e", NULL);
    expect_seek(txn, false, "", NULL);
    expect_seek(txn, false, "a", NULL);
    expect_seek(txn, false, "b", "b");
    expect_seek(txn, false, "ba", "b");
    expect_seek(txn, false, "c", "bb");
    expect_seek(txn, false, "e", "d");
    ks_kv_abort(txn);
    leave_store();
}
END_TEST

struct walk {
    unsigned count;
    unsigned stop_at; /* 0 = never */
    char last[KS_KV_KEY_BYTES_MAX];
    size_t last_bytes;
    uint64_t sum;
};

static int compare(struct ks_view a, struct ks_view b)
{
    int order = memcmp(a.data, b.data, KS_MIN(a.bytes, b.bytes));
    return order ? order : (a.bytes > b.bytes) - (a.bytes < b.bytes);
}

static enum ks_status walk_one(
    void *arg, struct ks_view key, struct ks_view value, struct ks_error *err)
{
    struct walk *walk = arg;
    if (walk->count > 0)
        ck_assert_int_lt(compare(ks_view_of(walk->last, walk->last_bytes), key), 0);
    memcpy(walk->last, key.data, key.bytes);
    walk->last_bytes = key.bytes;
    for (size_t i = 0; i < key.bytes; i++)
        walk->sum = walk->sum * 31 + key.data[i];
    for (size_t i = 0; i < value.bytes; i++)
        walk->sum = walk->sum * 31 + value.data[i];
    walk->count++;
    return walk->count == walk->stop_at ? ks_fail(err, KS_LIMIT, 0, "enough") : KS_OK;
}

START_TEST(a_scan_goes_in_key_order_until_told_to_stop)
{
    temp_dir_renew();
    use_store(_i);
    struct ks_kv_txn *txn = begin(true);
    for (unsigned i = 0; i < 300; i++) {
        uint8_t key[2] = {(uint8_t)(i * 77), (uint8_t)(i >> 3)};
        ck_assert_int_eq(
            ks_kv_put(txn, T_TWO, ks_view_of(key, 1 + i % 2), ks_view_of(&i, sizeof i), NULL),
            KS_OK);
    }
    struct walk walk = {0};
    ck_assert_int_eq(ks_kv_scan(txn, T_TWO, walk_one, &walk, NULL), KS_OK);
    ck_assert_uint_gt(walk.count, 200);
    struct walk first = {.stop_at = 7};
    struct ks_error err = KS_ERROR_INIT;
    ck_assert_int_eq(ks_kv_scan(txn, T_TWO, walk_one, &first, &err), KS_LIMIT);
    ck_assert_uint_eq(first.count, 7);
    ck_assert_str_eq(err.text, "enough");
    struct walk none = {0};
    ck_assert_int_eq(ks_kv_scan(txn, T_ONE, walk_one, &none, NULL), KS_OK);
    ck_assert_uint_eq(none.count, 0);
    ks_kv_abort(txn);
    leave_store();
}
END_TEST

START_TEST(content_outlives_the_handle)
{
    temp_dir_renew();
    use_store(_i);
    struct ks_kv_txn *txn = begin(true);
    put(txn, T_ONE, "a", "1");
    commit(txn);
    ks_kv_close(kv);
    kv = open_store(_i);
    txn = begin(false);
    ck_assert(has(txn, T_ONE, "a", "1"));
    ks_kv_abort(txn);
    leave_store();
}
END_TEST

START_TEST(long_keys_and_large_values_fit)
{
    temp_dir_renew();
    use_store(_i);
    static uint8_t key[KS_KV_KEY_BYTES_MAX], value[100000];
    memset(key, 0xff, sizeof key);
    memset(value, 'v', sizeof value);
    struct ks_kv_txn *txn = begin(true);
    struct ks_view k = ks_view_of(key, sizeof key), v = ks_view_of(value, sizeof value), got;
    ck_assert_int_eq(ks_kv_put(txn, T_ONE, k, v, NULL), KS_OK);
    commit(txn);
    txn = begin(false);
    ck_assert_int_eq(ks_kv_get(txn, T_ONE, k, &got, NULL), KS_OK);
    ck_assert(ks_view_equal(got, v));
    ks_kv_abort(txn);
    leave_store();
}
END_TEST

/* The same random changes to both; after each transaction both give the same answers. */
static struct ks_view random_key(struct ks_prng *prng, uint8_t key[4])
{
    size_t bytes = 1 + ks_prng_below(prng, 3);
    for (size_t i = 0; i < bytes; i++)
        key[i] = (uint8_t)(ks_prng_below(prng, 6) * 51);
    return ks_view_of(key, bytes);
}

static void change_both(struct ks_prng *prng, struct ks_kv_txn *txns[STORES])
{
    uint8_t key_bytes[4], value_bytes[300];
    struct ks_view key = random_key(prng, key_bytes);
    bool is_remove = ks_prng_chance(prng, 1, 3);
    size_t bytes = ks_prng_below(prng, sizeof value_bytes);
    unsigned table = (unsigned)ks_prng_below(prng, TABLES);
    memset(value_bytes, (int)bytes, sizeof value_bytes);
    for (int i = 0; i < STORES; i++) {
        enum ks_status st =
            is_remove ? ks_kv_remove(txns[i], table, key, NULL)
                      : ks_kv_put(txns[i], table, key, ks_view_of(value_bytes, bytes), NULL);
        ck_assert_int_eq(st, KS_OK);
    }
}

static void ask_both(struct ks_prng *prng, struct ks_kv_txn *txns[STORES])
{
    uint8_t key_bytes[4];
    struct ks_view key = random_key(prng, key_bytes);
    unsigned table = (unsigned)ks_prng_below(prng, TABLES);
    enum ks_status st[STORES][3];
    struct ks_view k[STORES][2], v[STORES][3];
    for (int i = 0; i < STORES; i++) {
        st[i][0] = ks_kv_at_or_after(txns[i], table, key, &k[i][0], &v[i][0], NULL);
        st[i][1] = ks_kv_at_or_before(txns[i], table, key, &k[i][1], &v[i][1], NULL);
        st[i][2] = ks_kv_get(txns[i], table, key, &v[i][2], NULL);
    }
    for (int q = 0; q < 3; q++) {
        ck_assert_int_eq(st[0][q], st[1][q]);
        if (st[0][q])
            continue;
        ck_assert(ks_view_equal(v[0][q], v[1][q]));
        ck_assert(q == 2 || ks_view_equal(k[0][q], k[1][q]));
    }
}

START_TEST(the_model_and_lmdb_never_disagree)
{
    temp_dir_renew();
    struct ks_kv *stores[STORES] = {open_store(STORE_LMDB), open_store(STORE_MODEL)};
    struct ks_prng prng;
    ks_prng_seed(&prng, (uint64_t)_i);
    for (int round = 0; round < 60; round++) {
        struct ks_kv_txn *txns[STORES];
        for (int i = 0; i < STORES; i++)
            ck_assert_int_eq(ks_kv_begin(stores[i], true, &txns[i], NULL), KS_OK);
        for (uint64_t n = ks_prng_below(&prng, 20); n > 0; n--) {
            change_both(&prng, txns);
            ask_both(&prng, txns);
        }
        bool is_kept = ks_prng_chance(&prng, 3, 4);
        for (int i = 0; i < STORES; i++) {
            if (is_kept)
                ck_assert_int_eq(ks_kv_commit(txns[i], NULL), KS_OK);
            else
                ks_kv_abort(txns[i]);
        }
        struct walk walks[STORES][TABLES] = {0};
        for (int i = 0; i < STORES; i++) {
            ck_assert_int_eq(ks_kv_begin(stores[i], false, &txns[i], NULL), KS_OK);
            for (unsigned t = 0; t < TABLES; t++)
                ck_assert_int_eq(ks_kv_scan(txns[i], t, walk_one, &walks[i][t], NULL), KS_OK);
        }
        ask_both(&prng, txns);
        for (unsigned t = 0; t < TABLES; t++) {
            ck_assert_uint_eq(walks[0][t].count, walks[1][t].count);
            ck_assert_uint_eq(walks[0][t].sum, walks[1][t].sum);
        }
        for (int i = 0; i < STORES; i++)
            ks_kv_abort(txns[i]);
    }
    for (int i = 0; i < STORES; i++)
        ks_kv_close(stores[i]);
    ks_kv_model_destroy(model);
    model = NULL;
}
END_TEST

KS_SUITE("storage/kv")
{
    KS_TEST_LOOP(committed_rows_are_read_back_and_removed_ones_are_not, STORES);
    KS_TEST_LOOP(an_aborted_change_never_was, STORES);
    KS_TEST_LOOP(a_reader_sees_the_state_at_its_begin, STORES);
    KS_TEST_LOOP(seeks_find_the_neighbour_on_their_side, STORES);
    KS_TEST_LOOP(a_scan_goes_in_key_order_until_told_to_stop, STORES);
    KS_TEST_LOOP(content_outlives_the_handle, STORES);
    KS_TEST_LOOP(long_keys_and_large_values_fit, STORES);
    KS_TEST_LOOP(the_model_and_lmdb_never_disagree, 10);
}
