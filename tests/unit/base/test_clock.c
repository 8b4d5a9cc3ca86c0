#include "base/clock.h"
#include "tests/unit/ks_check.h"

#include <time.h>

START_TEST(the_system_clock_tells_wall_time_and_never_goes_back)
{
    const struct ks_clock *clock = &ks_clock_system;
    uint64_t before_ms = (uint64_t)time(NULL) * 1000;
    uint64_t now_ms = ks_clock_unix_ms(clock);
    /* time() reads a coarser clock, up to one tick behind. */
    ck_assert_uint_ge(now_ms + 100, before_ms);
    ck_assert_uint_le(now_ms, before_ms + 60000);
    uint64_t last_ns = ks_clock_mono_ns(clock);
    for (int i = 0; i < 1000; i++) {
        uint64_t now_ns = ks_clock_mono_ns(clock);
        ck_assert_uint_ge(now_ns, last_ns);
        last_ns = now_ns;
    }
}
END_TEST

START_TEST(a_fake_clock_moves_only_when_told)
{
    struct ks_fake_clock fake;
    ks_fake_clock_init(&fake, 1700000000123);
    ck_assert_uint_eq(ks_clock_unix_ms(&fake.clock), 1700000000123);
    ck_assert_uint_eq(ks_clock_mono_ns(&fake.clock), 0);
    ks_fake_clock_advance_ms(&fake, 77);
    ck_assert_uint_eq(ks_clock_unix_ms(&fake.clock), 1700000000200);
    ck_assert_uint_eq(ks_clock_mono_ns(&fake.clock), 77000000);
    fake.unix_ms = 5; /* the wall jumps, the monotonic clock does not */
    ck_assert_uint_eq(ks_clock_unix_ms(&fake.clock), 5);
    ck_assert_uint_eq(ks_clock_mono_ns(&fake.clock), 77000000);
    ck_assert_uint_eq(ks_clock_retention_unix_ms(&fake.clock), 5);
    fake.retention_behind_ms = 2;
    ck_assert_uint_eq(ks_clock_retention_unix_ms(&fake.clock), 3);
    uint64_t before = ks_clock_unix_ms(&ks_clock_system);
    ck_assert_uint_ge(ks_clock_retention_unix_ms(&ks_clock_system), before);
}
END_TEST

KS_SUITE("base/clock")
{
    KS_TEST(the_system_clock_tells_wall_time_and_never_goes_back);
    KS_TEST(a_fake_clock_moves_only_when_told);
}
