/* Buckets that go into debt, quotas of a day, and what is remembered of them. */
#include "daemon/stream_limits.h"
#include "tests/unit/ks_check.h"

enum { MIB = 1 << 20 };

static struct ks_fake_clock fake;
static struct ks_limits *limits;
static struct ks_stream stream;
static struct ks_limit_refusal refusal;

static void set_up(void)
{
    ks_fake_clock_init(&fake, 1421884800000); /* midnight, UTC */
    ks_fake_clock_advance_ms(&fake, 5000);
    limits = ks_limits_create(&fake.clock);
    stream = (struct ks_stream){.number = 7, .record_bytes_max = KS_RECORD_BYTES_DEFAULT};
}

static bool put_of(uint32_t shard, uint64_t client, uint64_t records, uint64_t bytes)
{
    const struct ks_limit_use use = {&stream, shard, client, records, bytes};
    return ks_limits_take_put(limits, &use, &refusal);
}

static bool get(void)
{
    const struct ks_limit_use use = {.stream = &stream};
    return ks_limits_take_get(limits, &use, &refusal);
}

static void give(uint64_t bytes)
{
    const struct ks_limit_use use = {.stream = &stream, .bytes = bytes};
    ks_limits_add_read(limits, &use);
}

static void expect_refusal(const char *name, uint64_t limit, uint64_t current, uint64_t ms)
{
    ck_assert_str_eq(refusal.name, name);
    ck_assert_uint_eq(refusal.limit, limit);
    ck_assert_uint_eq(refusal.current, current);
    ck_assert_uint_eq(refusal.retry_after_ms, ms);
}

/* Whoever comes while there is something gets all of it. */
START_TEST(a_bucket_goes_into_debt_and_comes_out_of_it)
{
    set_up();
    stream.limits.write_bytes_per_s = MIB;
    ck_assert(put_of(0, 1, 1, MIB - 1));
    ck_assert(put_of(0, 1, 1, MIB)); /* a byte was left */
    ck_assert(!put_of(0, 1, 1, 1));
    expect_refusal("write_bytes_per_second", MIB, 2 * MIB - 1, 1000);
    ck_assert(refusal.is_of_shard);
    ck_assert(put_of(1, 1, 1, MIB)); /* another shard is another bucket */
    ks_fake_clock_advance_ms(&fake, 999);
    ck_assert(!put_of(0, 1, 1, 1));
    ks_fake_clock_advance_ms(&fake, 2);
    ck_assert(put_of(0, 1, 1, 1));
    ks_limits_destroy(limits);
}
END_TEST

START_TEST(a_refusal_takes_nothing)
{
    set_up();
    stream.limits = (struct ks_stream_limits){.write_bytes_per_s = MIB, .write_records_per_s = 10};
    ck_assert(put_of(0, 1, 10, 100));
    for (int i = 0; i < 5; i++) {
        ck_assert(!put_of(0, 1, 1, MIB));
        expect_refusal("write_records_per_second", 10, 10, 1);
    }
    ks_fake_clock_advance_ms(&fake, 500);
    ck_assert(put_of(0, 1, 5, MIB / 2));
    ks_limits_destroy(limits);
}
END_TEST

START_TEST(the_long_run_has_the_rate)
{
    set_up();
    stream.limits.write_records_per_s = 100;
    unsigned taken = 0;
    for (int ms = 0; ms < 20000; ms++) {
        taken += put_of(0, 1, 7, 1) ? 7 : 0;
        ks_fake_clock_advance_ms(&fake, 1);
    }
    ck_assert_uint_ge(taken, 2000); /* 20 s */
    ck_assert_uint_le(taken, 2000 + 100 + 7);
    ks_limits_destroy(limits);
}
END_TEST

START_TEST(large_records_have_a_large_bucket)
{
    set_up();
    stream.limits.write_bytes_per_s = MIB;
    stream.record_bytes_max = 10 * MIB;
    for (int i = 0; i < 10; i++)
        ck_assert(put_of(0, 1, 1, MIB));
    ck_assert(!put_of(0, 1, 1, 1));
    expect_refusal("write_bytes_per_second", MIB, 10 * MIB, 1);
    ks_limits_destroy(limits);
}
END_TEST

START_TEST(ten_mebibytes_close_a_shard_for_five_seconds)
{
    set_up();
    stream.limits = (struct ks_stream_limits){.read_bytes_per_s = 2 * MIB, .read_calls_per_s = 5};
    ck_assert(get());
    give(10 * MIB);
    ck_assert(!get());
    expect_refusal("read_bytes_per_second", 2 * MIB, 10 * MIB, 5001);
    ks_fake_clock_advance_ms(&fake, 4999);
    ck_assert(!get());
    ks_fake_clock_advance_ms(&fake, 1);
    for (int i = 0; i < 5; i++)
        ck_assert(get());
    ck_assert(!get());
    expect_refusal("read_calls_per_second", 5, 5, 1);
    ks_fake_clock_advance_ms(&fake, 200);
    ck_assert(get());
    ck_assert(!get());
    ks_limits_destroy(limits);
}
END_TEST

START_TEST(a_day_has_its_quota_and_ends_at_midnight)
{
    set_up();
    stream.limits.records_per_day = 100;
    ck_assert(put_of(0, 1, 60, 1));
    ck_assert(!put_of(1, 2, 41, 1)); /* of the stream, whatever the shard */
    expect_refusal("records_per_day", 100, 60, 24 * 3600 * 1000 - 5000);
    ck_assert(!refusal.is_of_shard && !refusal.is_of_client);
    ck_assert(put_of(1, 2, 40, 1));
    ck_assert(!put_of(0, 1, 1, 1));
    ks_fake_clock_advance_ms(&fake, refusal.retry_after_ms - 1);
    ck_assert(!put_of(0, 1, 1, 1));
    ks_fake_clock_advance_ms(&fake, 1);
    ck_assert(put_of(0, 1, 100, 1));
    ks_limits_destroy(limits);
}
END_TEST

START_TEST(each_client_has_its_own_rate)
{
    set_up();
    stream.limits =
        (struct ks_stream_limits){.client_bytes_per_s = 1000, .client_records_per_s = 10};
    ck_assert(put_of(0, 1, 10, 10));
    ck_assert(!put_of(1, 1, 1, 1));
    expect_refusal("client_records_per_second", 10, 10, 1);
    ck_assert(refusal.is_of_client && !refusal.is_of_shard);
    ck_assert(put_of(0, 2, 1, 2000));
    ck_assert(!put_of(0, 2, 1, 1));
    expect_refusal("client_bytes_per_second", 1000, 2000, 1001);
    ks_limits_destroy(limits);
}
END_TEST

START_TEST(what_was_not_stored_is_given_back)
{
    set_up();
    stream.limits = (struct ks_stream_limits){.write_bytes_per_s = 1000,
        .write_records_per_s = 10,
        .records_per_day = 30,
        .client_bytes_per_s = 1000,
        .client_records_per_s = 10};
    const struct ks_limit_use use = {&stream, 0, 1, 20, 2000};
    for (int i = 0; i < 100; i++) {
        ck_assert(ks_limits_take_put(limits, &use, &refusal));
        ck_assert(!put_of(0, 1, 1, 1));
        ks_limits_give_back_put(limits, &use);
    }
    ck_assert(put_of(0, 1, 20, 2000));
    ck_assert(!put_of(0, 2, 1, 1)); /* what others have taken is not */
    ks_fake_clock_advance_ms(&fake, 10000);
    ck_assert(!put_of(0, 1, 11, 1));
    expect_refusal("records_per_day", 30, 20, 24 * 3600 * 1000 - 15000);
    ck_assert(put_of(0, 1, 10, 1));
    const struct ks_limit_use unknown = {&stream, 9, 9, 5, 5};
    ks_limits_give_back_put(limits, &unknown);
    ck_assert(!put_of(9, 9, 6, 1)); /* 25 are taken */
    ks_limits_destroy(limits);
}
END_TEST

/* A bucket that is full says nothing. */
START_TEST(what_is_full_is_forgotten)
{
    set_up();
    stream.limits = (struct ks_stream_limits){.client_records_per_s = 10};
    for (uint64_t client = 1; client <= 10000; client++) {
        ck_assert(put_of(0, client, 1, 1));
        ks_fake_clock_advance_ms(&fake, 10); /* a record is paid for in 100 ms */
        ck_assert_uint_le(ks_limits_remembered(limits), 70);
    }
    for (uint64_t i = 1; i <= 1000; i++) { /* and streams */
        stream.number = 100 + i;
        ck_assert(put_of(0, 1, 1, 1));
        ks_fake_clock_advance_ms(&fake, 10);
    }
    ck_assert(put_of(0, 1, 20, 1));
    ck_assert(!put_of(0, 1, 1, 1)); /* what is owed is not */
    ks_limits_destroy(limits);
}
END_TEST

START_TEST(no_limit_is_none)
{
    set_up();
    for (int i = 0; i < 1000; i++) {
        ck_assert(put_of(0, 1, 500, 10 * MIB));
        ck_assert(get());
        give(10 * MIB);
    }
    ks_limits_destroy(limits);
}
END_TEST

KS_SUITE("daemon/stream_limits")
{
    KS_TEST(a_bucket_goes_into_debt_and_comes_out_of_it);
    KS_TEST(a_refusal_takes_nothing);
    KS_TEST(the_long_run_has_the_rate);
    KS_TEST(large_records_have_a_large_bucket);
    KS_TEST(ten_mebibytes_close_a_shard_for_five_seconds);
    KS_TEST(a_day_has_its_quota_and_ends_at_midnight);
    KS_TEST(each_client_has_its_own_rate);
    KS_TEST(what_was_not_stored_is_given_back);
    KS_TEST(what_is_full_is_forgotten);
    KS_TEST(no_limit_is_none);
}
