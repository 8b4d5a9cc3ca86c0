#include "daemon/descriptors.h"
#include "tests/unit/ks_check.h"

#include <sys/resource.h>

static const struct ks_descriptors_wish wish = {
    .flush_files = 256, .journal_files = 10, .connections = 10000};

START_TEST(a_large_limit_leaves_everything_as_wished)
{
    struct ks_descriptors d;
    ks_descriptors_divide(&wish, 262144, &d);
    ck_assert_uint_eq(d.flush_files_max, 256);
    ck_assert_uint_ge(d.connections_max, 10000);
    ks_descriptors_divide(&wish, RLIM_INFINITY, &d);
    ck_assert_uint_eq(d.flush_files_max, 256);
    ck_assert_uint_ge(d.connections_max, 10000);
}
END_TEST

/* Whatever the limit, all together stay below it. */
START_TEST(a_small_limit_is_shared_out)
{
    for (uint64_t limit = 256; limit <= 4096; limit *= 2) {
        struct ks_descriptors d;
        ks_descriptors_divide(&wish, limit, &d);
        ck_assert_uint_ge(d.flush_files_max, 64);
        ck_assert_uint_ge(d.connections_max, 8);
        ck_assert_uint_le(
            d.flush_files_max + d.connections_max + wish.journal_files + ks_descriptors_http(limit),
            limit);
    }
    struct ks_descriptors d;
    ks_descriptors_divide(&wish, 1, &d);
    ck_assert_uint_ge(d.flush_files_max, 1);
}
END_TEST

struct seen {
    struct ks_events events; /* first member */
    unsigned warnings;
};

static void note(
    const struct ks_events *events, enum ks_level level, const char *name, const char *fields)
{
    struct seen *seen = KS_CONTAINER_OF((struct ks_events *)(uintptr_t)events, struct seen, events);
    ck_assert_str_eq(name, "daemon.few_descriptors");
    ck_assert(level == KS_LEVEL_WARNING && strstr(fields, "LimitNOFILE"));
    seen->warnings++;
}

START_TEST(the_soft_limit_is_raised_and_a_low_one_told)
{
    struct seen seen = {.events.emit = note};
    struct rlimit limit = {.rlim_cur = 300, .rlim_max = 700};
    struct ks_descriptors d;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    ks_descriptors_share(&wish, &seen.events, &d);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    ck_assert_uint_eq(limit.rlim_cur, 700);
    ck_assert_uint_eq(d.limit, 700);
    ck_assert_uint_eq(seen.warnings, 1);
    const struct ks_descriptors_wish modest = {.flush_files = 10, .connections = 100};
    ks_descriptors_share(&modest, &seen.events, &d);
    ck_assert_uint_eq(seen.warnings, 1);
}
END_TEST

KS_SUITE("daemon/descriptors")
{
    KS_TEST(a_large_limit_leaves_everything_as_wished);
    KS_TEST(a_small_limit_is_shared_out);
    KS_TEST(the_soft_limit_is_raised_and_a_low_one_told);
}
