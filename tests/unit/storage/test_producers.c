#include "base/alloc.h"
#include "storage/producers.h"
#include "tests/unit/ks_check.h"

static struct ks_producers *producers;

static void make(void)
{
    ck_assert_int_eq(ks_producers_create(&producers), KS_OK);
}

static void record(uint64_t id, uint64_t sequence, uint64_t first_sequence)
{
    struct ks_producer_batch batch = {.sequence = sequence,
        .first_sequence = first_sequence,
        .arrival_unix_ms = 5000 + sequence,
        .record_count = 3,
        .body_crc = (uint32_t)sequence * 17};
    ck_assert_int_eq(ks_producers_reserve(producers, id), KS_OK);
    ks_producers_record(producers, id, &batch);
}

static struct ks_producer_batch found;
static uint64_t expected;

static enum ks_status judge(uint64_t id, uint64_t sequence, bool is_first, uint32_t crc)
{
    enum ks_status st;
    enum ks_producer_verdict verdict =
        ks_producers_judge(producers, id, sequence, is_first, 3, crc, &found, &st, &expected);
    if (verdict == KS_PRODUCER_ACCEPT)
        return KS_OK;
    return verdict == KS_PRODUCER_DUPLICATE ? KS_EXISTS : st;
}

START_TEST(a_producer_is_accepted_in_order_and_only_once)
{
    producers = NULL;
    ck_assert_int_eq(judge(9, 1, false, 0), KS_PRODUCER_UNKNOWN);
    ck_assert_int_eq(judge(9, 40, true, 0), KS_OK);
    make();
    record(9, 40, 100);
    ck_assert_int_eq(judge(9, 40, true, 40 * 17), KS_EXISTS);
    ck_assert_uint_eq(found.first_sequence, 100);
    ck_assert_uint_eq(found.arrival_unix_ms, 5040);
    ck_assert_int_eq(judge(9, 40, true, 1), KS_PRODUCER_MISMATCH);
    ck_assert_int_eq(judge(9, 41, false, 1), KS_OK);
    ck_assert_int_eq(judge(9, 42, false, 1), KS_PRODUCER_GAP);
    ck_assert_uint_eq(expected, 41);
    ck_assert_int_eq(judge(9, 39, false, 1), KS_PRODUCER_UNKNOWN);
    ks_producers_destroy(producers);
}
END_TEST

START_TEST(a_batch_below_the_list_is_never_called_a_success)
{
    make();
    for (uint64_t s = 1; s <= 30; s++)
        record(1, s, s * 10);
    ck_assert_int_eq(judge(1, 20, false, 20 * 17), KS_PRODUCER_UNKNOWN);
    ck_assert_int_eq(judge(1, 21, false, 21 * 17), KS_EXISTS);
    ck_assert_int_eq(judge(1, 1, true, 17), KS_PRODUCER_UNKNOWN);
    ck_assert_uint_eq(ks_producers_last(producers, 1)->sequence, 30);
    ck_assert_ptr_null(ks_producers_last(producers, 2));
    ks_producers_destroy(producers);
}
END_TEST

START_TEST(a_full_table_forgets_the_producer_that_wrote_longest_ago)
{
    make();
    for (uint64_t id = 1; id <= KS_PRODUCERS_MAX; id++)
        record(id, 1, id * 10);
    record(1, 2, 10000); /* the first one is in use again */
    record(1000, 1, 10010);
    ck_assert_ptr_nonnull(ks_producers_last(producers, 1));
    ck_assert_ptr_null(ks_producers_last(producers, 2));
    ck_assert_ptr_nonnull(ks_producers_last(producers, 3));
    ck_assert_ptr_nonnull(ks_producers_last(producers, 1000));
    ks_producers_destroy(producers);
}
END_TEST

START_TEST(the_encoded_table_holds_nothing_above_its_sequence)
{
    make();
    record(1, 1, 10);
    record(1, 2, 20);
    record(1, 3, 30);
    record(2, 7, 40);
    struct ks_buf buf;
    ks_buf_init(&buf, 1 << 20);
    ck_assert(ks_producers_encode(producers, 22, &buf));
    ks_producers_destroy(producers);
    ck_assert_int_eq(ks_producers_decode(ks_view_of(buf.data, buf.bytes), &producers), KS_OK);
    ck_assert_uint_eq(ks_producers_last(producers, 1)->sequence, 2);
    ck_assert_uint_eq(ks_producers_last(producers, 1)->record_count, 3);
    ck_assert_uint_eq(ks_producers_last(producers, 1)->body_crc, 34);
    ck_assert_ptr_null(ks_producers_last(producers, 2));
    /* Any cut and any changed count is refused, never half a table. */
    for (size_t cut = 1; cut < buf.bytes; cut++) {
        struct ks_producers *none = NULL;
        ck_assert_int_eq(ks_producers_decode(ks_view_of(buf.data, cut), &none), KS_CORRUPT);
        ck_assert_ptr_null(none);
    }
    ks_buf_fini(&buf);
    ks_producers_destroy(producers);
}
END_TEST

START_TEST(an_empty_table_is_no_bytes)
{
    make();
    record(1, 1, 10);
    struct ks_buf buf;
    ks_buf_init(&buf, 1 << 20);
    ck_assert(ks_producers_encode(producers, 9, &buf));
    ck_assert(ks_producers_encode(NULL, 9, &buf));
    ck_assert_uint_eq(buf.bytes, 0);
    struct ks_producers *none = producers;
    ck_assert_int_eq(ks_producers_decode(ks_view_of(NULL, 0), &none), KS_OK);
    ck_assert_ptr_null(none);
    ks_buf_fini(&buf);
    ks_producers_destroy(producers);
}
END_TEST

START_TEST(a_failed_allocation_leaves_the_table_as_it_was)
{
    make();
    for (uint64_t id = 1; id <= 4; id++)
        record(id, 1, id * 10);
    for (uint64_t nth = 1; nth <= 2; nth++) {
        ks_alloc_fail_nth(nth, false);
        ck_assert_int_eq(ks_producers_reserve(producers, 5), KS_NO_MEMORY);
    }
    ks_alloc_fail_nth(0, false);
    record(5, 1, 50);
    for (uint64_t id = 1; id <= 5; id++)
        ck_assert_uint_eq(ks_producers_last(producers, id)->first_sequence, id * 10);
    ks_producers_destroy(producers);
}
END_TEST

KS_SUITE("storage/producers")
{
    KS_TEST(a_producer_is_accepted_in_order_and_only_once);
    KS_TEST(a_batch_below_the_list_is_never_called_a_success);
    KS_TEST(a_full_table_forgets_the_producer_that_wrote_longest_ago);
    KS_TEST(the_encoded_table_holds_nothing_above_its_sequence);
    KS_TEST(an_empty_table_is_no_bytes);
    KS_TEST(a_failed_allocation_leaves_the_table_as_it_was);
}
