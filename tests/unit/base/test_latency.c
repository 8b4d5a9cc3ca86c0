#include "base/latency.h"
#include "tests/unit/ks_check.h"

START_TEST(bounds_rise_and_belong_to_their_bucket)
{
    struct ks_latency latency = {.sum_ns = 0};
    for (unsigned i = 0; i < KS_LATENCY_BOUNDS; i++) {
        ck_assert(i == 0 || ks_latency_bounds_ns[i] > ks_latency_bounds_ns[i - 1]);
        ks_latency_add(&latency, 0, ks_latency_bounds_ns[i], 1);
        ck_assert_uint_eq(latency.counts[i], 1);
        ks_latency_add(&latency, 0, ks_latency_bounds_ns[i] + 1, 2);
        ck_assert_uint_eq(latency.counts[i + 1], 2);
        latency.counts[i + 1] = 0;
    }
    ks_latency_add(&latency, 0, UINT64_MAX / 4, 1);
    ck_assert_uint_eq(latency.counts[KS_LATENCY_BOUNDS], 1);
    /* A clock that went back is no time at all. */
    ks_latency_add(&latency, 100, 50, 1);
    ck_assert_uint_eq(latency.counts[0], 2);
}
END_TEST

START_TEST(sums_of_several_are_put_together)
{
    struct ks_latency a = {.sum_ns = 0};
    struct ks_latency b = {.sum_ns = 0};
    struct ks_latency_sum sum = {.sum_ns = 0};
    ks_latency_add(&a, 500, 1500, 3);
    ks_latency_add(&a, 1, 2000001, 1);
    ks_latency_add(&b, 0, 1000, 4);
    ks_latency_sum_add(&sum, &a);
    ks_latency_sum_add(&sum, &b);
    ck_assert_uint_eq(sum.counts[0], 7);
    ck_assert_uint_eq(sum.counts[5], 1);
    ck_assert_uint_eq(sum.sum_ns, 2007000);
}
END_TEST

KS_SUITE("base/latency")
{
    KS_TEST(bounds_rise_and_belong_to_their_bucket);
    KS_TEST(sums_of_several_are_put_together);
}
