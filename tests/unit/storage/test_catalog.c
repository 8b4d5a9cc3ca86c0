#include "proto/catalog.pb-c.h"
#include "storage/catalog.h"
#include "tests/unit/ks_check.h"
#include "tests/unit/storage/store_world.h"

static struct world world;

static struct ks_kv_txn *begin(bool is_write)
{
    struct ks_kv_txn *txn = NULL;
    ck_assert_int_eq(ks_kv_begin(world.catalog, is_write, &txn, NULL), KS_OK);
    return txn;
}

START_TEST(a_row_under_another_key_or_with_a_changed_byte_is_damage)
{
    world_init(&world);
    world_open(&world);
    struct ks_kv_txn *txn = begin(true);
    ck_assert_int_eq(ks_catalog_high_put(txn, "high.test", 42, NULL), KS_OK);
    struct ks_view stored;
    ck_assert_int_eq(
        ks_kv_get(txn, KS_TABLE_META, ks_view_of_text("high.test"), &stored, NULL), KS_OK);
    uint8_t bytes[64];
    size_t length = stored.bytes;
    memcpy(bytes, stored.data, length);
    struct ks_view message;
    for (size_t bit = 0; bit < 8 * length; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        ck_assert_int_eq(ks_catalog_open_value(KS_TABLE_META, ks_view_of_text("high.test"),
                             ks_view_of(bytes, length), &message, NULL),
            KS_CORRUPT);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    ck_assert_int_eq(ks_catalog_open_value(KS_TABLE_META, ks_view_of_text("high.tess"),
                         ks_view_of(bytes, length), &message, NULL),
        KS_CORRUPT);
    uint64_t high = 0;
    ck_assert_int_eq(ks_catalog_high_get(txn, "high.test", &high, NULL), KS_OK);
    ck_assert_uint_eq(high, 42);
    ks_kv_abort(txn);
    world_fini(&world);
}
END_TEST

START_TEST(a_damaged_row_is_found_by_the_walk_and_refuses_the_start)
{
    world_init(&world);
    world_open(&world);
    ck_assert_int_eq(world_create(&world, "orders", 3), KS_OK);
    uint64_t rows = 0;
    ck_assert_int_eq(ks_catalog_verify(world.catalog, NULL, NULL, &rows, NULL), KS_OK);
    ck_assert_uint_gt(rows, 4);
    struct ks_kv_txn *txn = begin(true);
    struct ks_catalog_key key;
    ck_assert_int_eq(ks_kv_put(txn, KS_TABLE_SHARDS, ks_catalog_key_shard(&key, 1, 2),
                         ks_view_of("garbage", 7), NULL),
        KS_OK);
    ck_assert_int_eq(ks_kv_commit(txn, NULL), KS_OK);
    struct ks_error error = KS_ERROR_INIT;
    ck_assert_int_eq(ks_catalog_verify(world.catalog, NULL, NULL, &rows, &error), KS_CORRUPT);
    ck_assert_ptr_nonnull(strstr(error.text, "shards"));
    world_fini(&world);
}
END_TEST

struct counted {
    struct ks_change change;
    enum ks_status applied; /* what apply answers */
    enum ks_status done;
    int order;
};

static int finished;

static enum ks_status counted_apply(
    struct ks_change *change, struct ks_kv_txn *txn, struct ks_error *err)
{
    struct counted *counted = KS_CONTAINER_OF(change, struct counted, change);
    enum ks_status st = ks_catalog_high_put(txn, "high.test", (uint64_t)counted->order, err);
    enum ks_status answer = counted->applied;
    if (answer == KS_WOULD_BLOCK)
        counted->applied = KS_OK;
    return st ? st : answer;
}

static void counted_done(
    struct ks_change *change, enum ks_status status, const struct ks_error *error)
{
    (void)error;
    struct counted *counted = KS_CONTAINER_OF(change, struct counted, change);
    counted->done = status;
    counted->order = ++finished;
}

START_TEST(a_refused_change_costs_only_itself)
{
    world_init(&world);
    world_open(&world);
    finished = 0;
    struct counted changes[3] = {{.order = 10}, {.order = 20, .applied = KS_INVALID},
        {.order = 30, .applied = KS_WOULD_BLOCK}};
    for (size_t i = 0; i < 3; i++) {
        changes[i].change = (struct ks_change){.apply = counted_apply, .done = counted_done};
        ks_catalog_submit(world.engine->catalog, &changes[i].change);
    }
    uint64_t commits = ks_catalog_commits(world.engine->catalog);
    world_pump(&world);
    ck_assert_int_eq(changes[0].done, KS_OK);
    ck_assert_int_eq(changes[1].done, KS_INVALID);
    ck_assert_int_eq(changes[2].done, KS_OK);
    ck_assert_int_eq(changes[2].order, 3);
    ck_assert_uint_eq(ks_catalog_commits(world.engine->catalog), commits + 2);
    struct ks_kv_txn *txn = begin(false);
    uint64_t high = 0;
    ck_assert_int_eq(ks_catalog_high_get(txn, "high.test", &high, NULL), KS_OK);
    ck_assert_uint_eq(high, 30);
    ks_kv_abort(txn);
    world_fini(&world);
}
END_TEST

START_TEST(a_failed_commit_is_poison_and_tells_everybody)
{
    world_init(&world);
    world_open(&world);
    ks_kv_model_fail_commit_after(world.catalog_model, 1, KS_IO, true);
    ck_assert_int_eq(world_create(&world, "orders", 1), KS_POISONED);
    ck_assert(ks_engine_is_poisoned(world.engine));
    ck_assert_int_eq(world_create(&world, "others", 1), KS_POISONED);
    world_fini(&world);
}
END_TEST

START_TEST(a_journal_without_its_catalog_is_not_taken_for_a_new_directory)
{
    world_init(&world);
    world_open(&world);
    ck_assert_int_eq(world_create(&world, "orders", 1), KS_OK);
    ck_assert_int_eq(ks_engine_stop(world.engine, 1000, NULL), KS_OK);
    ks_engine_destroy(world.engine);
    world.engine = NULL;
    ks_kv_close(world.catalog);
    ks_kv_model_erase(world.catalog_model);
    struct ks_error error = KS_ERROR_INIT;
    ck_assert_int_eq(world_try_open(&world, &error), KS_CORRUPT);
    ck_assert_ptr_nonnull(strstr(error.text, "backup"));
    world_fini(&world);
}
END_TEST

KS_SUITE("storage/catalog")
{
    KS_TEST(a_row_under_another_key_or_with_a_changed_byte_is_damage);
    KS_TEST(a_damaged_row_is_found_by_the_walk_and_refuses_the_start);
    KS_TEST(a_refused_change_costs_only_itself);
    KS_TEST(a_failed_commit_is_poison_and_tells_everybody);
    KS_TEST(a_journal_without_its_catalog_is_not_taken_for_a_new_directory);
}
