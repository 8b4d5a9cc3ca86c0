#include "base/prng.h"
#include "tests/unit/ks_check.h"
#include "tools/bench_histogram.h"

#include <stdlib.h>

static struct bench_histogram histogram;

static void fresh(void)
{
    memset(&histogram, 0, sizeof histogram);
}

START_TEST(small_values_are_exact)
{
    fresh();
    for (uint64_t i = 1; i <= 100; i++)
        bench_histogram_add(&histogram, i);
    ck_assert_uint_eq(histogram.total, 100);
    ck_assert_uint_eq(bench_histogram_permille(&histogram, 500), 50);
    ck_assert_uint_eq(bench_histogram_permille(&histogram, 990), 99);
    ck_assert_uint_eq(bench_histogram_permille(&histogram, 991), 100);
    ck_assert_uint_eq(bench_histogram_permille(&histogram, 1), 1);
    ck_assert_uint_eq(bench_histogram_permille(&histogram, 1000), 100);
}
END_TEST

static int by_value(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

/* Against the values themselves, sorted, over all magnitudes. */
START_TEST(a_quantile_is_within_a_hundredth)
{
    enum { VALUES = 20000 };
    static uint64_t values[VALUES];
    struct ks_prng prng;
    fresh();
    ks_prng_seed(&prng, 5);
    for (size_t i = 0; i < VALUES; i++) {
        values[i] = ks_prng_u64(&prng) >> ks_prng_below(&prng, 64);
        bench_histogram_add(&histogram, values[i]);
    }
    qsort(values, VALUES, sizeof values[0], by_value);
    for (unsigned permille = 1; permille <= 1000; permille++) {
        uint64_t exact = values[(VALUES * permille + 999) / 1000 - 1];
        uint64_t found = bench_histogram_permille(&histogram, permille);
        ck_assert_msg(found >= exact && found - exact <= exact / 100, "%u: %llu for %llu", permille,
            (unsigned long long)found, (unsigned long long)exact);
    }
    ck_assert_uint_eq(bench_histogram_permille(&histogram, 1000), values[VALUES - 1]);
}
END_TEST

START_TEST(the_ends_of_the_range_have_buckets)
{
    fresh();
    ck_assert_uint_eq(bench_histogram_permille(&histogram, 500), 0);
    bench_histogram_add(&histogram, 0);
    ck_assert_uint_eq(bench_histogram_permille(&histogram, 500), 0);
    bench_histogram_add(&histogram, UINT64_MAX);
    ck_assert_uint_eq(bench_histogram_permille(&histogram, 1000), UINT64_MAX);
    ck_assert_uint_lt(bench_histogram_bucket(UINT64_MAX), BENCH_HISTOGRAM_BUCKETS);
}
END_TEST

START_TEST(merging_is_adding)
{
    static struct bench_histogram other;
    fresh();
    memset(&other, 0, sizeof other);
    for (uint64_t i = 0; i < 1000; i++)
        bench_histogram_add(i % 2 ? &histogram : &other, i * i);
    bench_histogram_merge(&histogram, &other);
    ck_assert_uint_eq(histogram.total, 1000);
    ck_assert_uint_eq(histogram.max, 998001);
    uint64_t middle = bench_histogram_permille(&histogram, 500);
    ck_assert(middle >= 249001 && middle <= 251491);
}
END_TEST

KS_SUITE("tools/bench_histogram")
{
    KS_TEST(small_values_are_exact);
    KS_TEST(a_quantile_is_within_a_hundredth);
    KS_TEST(the_ends_of_the_range_have_buckets);
    KS_TEST(merging_is_adding);
}
