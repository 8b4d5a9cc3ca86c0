/* What a power cut, a kill and a failed commit leave in the model. */
#include "base/prng.h"
#include "storage/kv_model.h"
#include "tests/unit/ks_check.h"

#define SEEDS 200
#define ROWS 12u

static struct ks_io_sim *sim;
static struct ks_kv_model *model;
static struct ks_kv *kv;

static void open_model(void)
{
    ck_assert_int_eq(ks_kv_model_open(model, &kv, NULL), KS_OK);
}

static void close_model(void)
{
    ks_kv_close(kv);
    kv = NULL;
}

static void use_model(uint64_t seed, bool is_cache)
{
    ck_assert_int_eq(
        ks_io_sim_create(&(struct ks_io_sim_options){.seed = seed}, &sim, NULL), KS_OK);
    struct ks_kv_model_options options = {.table_count = 1, .is_cache = is_cache, .disk = sim};
    ck_assert_int_eq(ks_kv_model_create(&options, &model, NULL), KS_OK);
    open_model();
}

static void leave_model(void)
{
    ks_kv_close(kv);
    ks_kv_model_destroy(model);
    ks_io_sim_destroy(sim);
}

/* Row n gets the value round * 1000 + n, for all rows. */
static enum ks_status put_round(uint32_t round)
{
    struct ks_kv_txn *txn = NULL;
    enum ks_status st = ks_kv_begin(kv, true, &txn, NULL);
    if (st)
        return st;
    for (uint32_t n = 0; n < ROWS && !st; n++) {
        uint32_t value = round * 1000 + n;
        st = ks_kv_put(txn, 0, ks_view_of(&n, sizeof n), ks_view_of(&value, sizeof value), NULL);
    }
    if (st) {
        ks_kv_abort(txn);
        return st;
    }
    return ks_kv_commit(txn, NULL);
}

/* How many rows have exactly their value of that round. */
static unsigned rows_of_round(uint32_t round)
{
    struct ks_kv_txn *txn = NULL;
    unsigned count = 0;
    ck_assert_int_eq(ks_kv_begin(kv, false, &txn, NULL), KS_OK);
    for (uint32_t n = 0; n < ROWS; n++) {
        struct ks_view value;
        uint32_t expected = round * 1000 + n;
        count += ks_kv_get(txn, 0, ks_view_of(&n, sizeof n), &value, NULL) == KS_OK &&
                 ks_view_equal(value, ks_view_of(&expected, sizeof expected));
    }
    ks_kv_abort(txn);
    return count;
}

static void restart(enum ks_sim_survive survive)
{
    close_model();
    ks_io_sim_power_on(sim, survive);
    ks_kv_model_power_on(model, survive);
    open_model();
}

START_TEST(an_answered_commit_survives_every_cut)
{
    use_model((uint64_t)_i, false);
    ck_assert_int_eq(put_round(1), KS_OK);
    restart(KS_SIM_NOTHING);
    ck_assert_uint_eq(rows_of_round(1), ROWS);
    ck_assert_int_eq(put_round(2), KS_OK);
    restart(KS_SIM_RANDOM);
    ck_assert_uint_eq(rows_of_round(2), ROWS);
    leave_model();
}
END_TEST

START_TEST(an_interrupted_commit_happened_whole_or_not)
{
    unsigned happened = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        use_model(seed, false);
        ck_assert_int_eq(put_round(1), KS_OK);
        ks_io_sim_cut_after(sim, 1);
        ck_assert_int_eq(put_round(2), KS_IO);
        ck_assert(ks_io_sim_is_cut(sim));
        ck_assert_int_eq(put_round(3), KS_IO); /* nothing works without power */
        restart(seed % 2 ? KS_SIM_RANDOM : KS_SIM_PROCESS);
        unsigned fresh = rows_of_round(2);
        ck_assert(fresh == 0 || fresh == ROWS);
        ck_assert_uint_eq(fresh + rows_of_round(1), ROWS);
        happened += fresh > 0;
        leave_model();
    }
    ck_assert(happened > SEEDS / 10 && happened < SEEDS);
}
END_TEST

/* After a kill a commit may be seen that the next power cut takes back, unless it is made durable
 * first. */
START_TEST(what_is_seen_after_a_kill_is_durable_only_after_a_sync)
{
    unsigned undone = 0, seen = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        use_model(seed, false);
        ck_assert_int_eq(put_round(1), KS_OK);
        ks_io_sim_cut_after(sim, 1);
        ck_assert_int_eq(put_round(2), KS_IO);
        restart(KS_SIM_PROCESS);
        bool was_seen = rows_of_round(2) == ROWS;
        if (_i)
            ck_assert_int_eq(ks_kv_sync(kv, NULL), KS_OK);
        restart(KS_SIM_RANDOM);
        seen += was_seen;
        undone += was_seen && rows_of_round(2) == 0;
        leave_model();
    }
    ck_assert_uint_gt(seen, 0);
    ck_assert(_i ? undone == 0 : undone > 0 && undone < seen);
}
END_TEST

START_TEST(a_cache_is_garbage_after_a_cut_unless_synced)
{
    unsigned wrong = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        use_model(seed, true);
        for (uint32_t round = 1; round < 6; round++)
            ck_assert_int_eq(put_round(round), KS_OK);
        if (_i == 1)
            ck_assert_int_eq(ks_kv_sync(kv, NULL), KS_OK);
        restart(_i == 2 ? KS_SIM_PROCESS : KS_SIM_RANDOM);
        bool is_garbage = _i == 0;
        ck_assert_int_eq(ks_kv_model_was_cut(model), is_garbage);
        if (!is_garbage)
            ck_assert_uint_eq(rows_of_round(5), ROWS);
        wrong += rows_of_round(5) < ROWS;
        close_model();
        ks_kv_model_erase(model);
        open_model();
        ck_assert(!ks_kv_model_was_cut(model));
        ck_assert_uint_eq(rows_of_round(5), 0);
        leave_model();
    }
    ck_assert(_i ? wrong == 0 : wrong > SEEDS * 9 / 10);
}
END_TEST

START_TEST(a_full_store_changes_nothing_and_recovers)
{
    use_model(1, false);
    ck_assert_int_eq(put_round(1), KS_OK);
    ks_kv_model_fail_commit_after(model, 2, KS_STORAGE_FULL, true);
    ck_assert_int_eq(put_round(2), KS_OK);
    ck_assert_int_eq(put_round(3), KS_STORAGE_FULL);
    ck_assert_int_eq(put_round(4), KS_STORAGE_FULL);
    ck_assert_uint_eq(rows_of_round(2), ROWS);
    ks_kv_model_fail_commit_after(model, 0, KS_OK, false);
    ck_assert_int_eq(put_round(5), KS_OK);
    ck_assert_uint_eq(ks_kv_model_counts(model)->failed, 2);
    leave_model();
}
END_TEST

START_TEST(a_failed_commit_happened_or_not)
{
    unsigned happened = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        use_model(seed, false);
        ck_assert_int_eq(put_round(1), KS_OK);
        ks_kv_model_fail_commit_after(model, 1, KS_IO, false);
        ck_assert_int_eq(put_round(2), KS_IO);
        ck_assert(!ks_io_sim_is_cut(sim));
        restart(KS_SIM_RANDOM);
        unsigned fresh = rows_of_round(2);
        ck_assert_uint_eq(fresh + rows_of_round(1), ROWS);
        happened += fresh > 0;
        leave_model();
    }
    ck_assert(happened > 0 && happened < SEEDS);
}
END_TEST

START_TEST(reading_transactions_are_no_changing_calls)
{
    use_model(1, false);
    ck_assert_int_eq(put_round(1), KS_OK);
    uint64_t steps = ks_io_sim_steps(sim);
    ck_assert_uint_eq(rows_of_round(1), ROWS);
    ck_assert_uint_eq(ks_io_sim_steps(sim), steps);
    leave_model();
}
END_TEST

START_TEST(closing_under_a_transaction_is_a_mistake)
{
    use_model(1, false);
    struct ks_kv_txn *txn = NULL;
    KS_IGNORE(ks_kv_begin(kv, false, &txn, NULL), "it works");
    ks_kv_close(kv);
}
END_TEST

KS_SUITE("storage/kv_model")
{
    KS_TEST_LOOP(an_answered_commit_survives_every_cut, 50);
    KS_TEST(an_interrupted_commit_happened_whole_or_not);
    KS_TEST_LOOP(what_is_seen_after_a_kill_is_durable_only_after_a_sync, 2);
    KS_TEST_LOOP(a_cache_is_garbage_after_a_cut_unless_synced, 3);
    KS_TEST(a_full_store_changes_nothing_and_recovers);
    KS_TEST(a_failed_commit_happened_or_not);
    KS_TEST(reading_transactions_are_no_changing_calls);
    KS_TEST_ABORTS(closing_under_a_transaction_is_a_mistake);
}
