#include "tests/unit/ks_check.h"
#include "tools/ctl_time.h"

#include <time.h>

#define NOW_MS 1795391190123ULL /* 2026-11-22T23:46:30.123Z */

static void local_zone(const char *zone)
{
    setenv("TZ", zone, 1);
    tzset();
}

struct time_case {
    const char *text;
    uint64_t unix_ms;
};

static const struct time_case times[] = {
    {"now", NOW_MS},
    {"NOW", NOW_MS},
    {"-2h", NOW_MS - 7200000},
    {"-90s", NOW_MS - 90000},
    {"-500ms", NOW_MS - 500},
    {"-99999d", 0},
    {"1795391190", 1795391190000},
    {"1795391190.5", 1795391190500},
    {"1795391190123", NOW_MS},
    {"0", 0},
    {"2026-11-22T23:46:30Z", 1795391190000},
    {"2026-11-22T23:46:30.123Z", NOW_MS},
    {"2026-11-22t23:46:30.123456789z", NOW_MS},
    {"2026-11-22 23:46:30Z", 1795391190000},
    {"2026-11-23T08:46:30+09:00", 1795391190000},
    {"2026-11-22T18:46:30-0500", 1795391190000},
    {"2026-11-22T23:46Z", 1795391160000},
    {"2016-12-31T23:59:60Z", 1483228800000},
    /* Without a zone: local time, here one hour east. */
    {"2026-11-23T00:46:30", 1795391190000},
    {"2026-11-23", 1795388400000},
};

START_TEST(times_are_read_in_every_form)
{
    local_zone("XXX-1");
    uint64_t unix_ms = 1;
    ck_assert_int_eq(ctl_time_from_text(times[_i].text, NOW_MS, &unix_ms, NULL), KS_OK);
    ck_assert_uint_eq(unix_ms, times[_i].unix_ms);
}
END_TEST

static const char *const no_times[] = {"", "x", "-", "-2x", "2026-13-01", "2026-02-30",
    "2026-11-22T25:00Z", "2026-11-22T10:60Z", "2026-11-22T10:00:00+25:00", "2026-11-22T10:00:00.Z",
    "2026-11-22T10:00:00ZZ", "99999999999999999999", "12x", "1.x", "1969-12-31T23:00:00Z"};

START_TEST(what_is_no_time_is_refused_with_an_example)
{
    struct ks_error err = KS_ERROR_INIT;
    uint64_t unix_ms = 0;
    ck_assert_int_eq(ctl_time_from_text(no_times[_i], NOW_MS, &unix_ms, &err), KS_USAGE);
    ck_assert_ptr_nonnull(strstr(err.text, "2026-11-22T10:00:00Z"));
}
END_TEST

START_TEST(durations_take_units)
{
    uint64_t ms = 0;
    ck_assert_int_eq(ctl_duration_from_text("90s", &ms, NULL), KS_OK);
    ck_assert_uint_eq(ms, 90000);
    ck_assert_int_eq(ctl_duration_from_text("500ms", &ms, NULL), KS_OK);
    ck_assert_uint_eq(ms, 500);
    ck_assert_int_eq(ctl_duration_from_text("15m", &ms, NULL), KS_OK);
    ck_assert_uint_eq(ms, 900000);
    ck_assert_int_eq(ctl_duration_from_text("7d", &ms, NULL), KS_OK);
    ck_assert_uint_eq(ms, 604800000);
    ck_assert_int_eq(ctl_duration_from_text("30", &ms, NULL), KS_OK);
    ck_assert_uint_eq(ms, 30000);
    ck_assert_int_eq(ctl_duration_from_text("18446744073709551615d", &ms, NULL), KS_USAGE);
    ck_assert_int_eq(ctl_duration_from_text("-1s", &ms, NULL), KS_USAGE);
    ck_assert_int_eq(ctl_duration_from_text("1.5h", &ms, NULL), KS_USAGE);
    ck_assert_int_eq(ctl_duration_from_text("", &ms, NULL), KS_USAGE);
}
END_TEST

START_TEST(sizes_take_units)
{
    uint64_t bytes = 0;
    ck_assert_int_eq(ctl_size_from_text("512", &bytes, NULL), KS_OK);
    ck_assert_uint_eq(bytes, 512);
    ck_assert_int_eq(ctl_size_from_text("64k", &bytes, NULL), KS_OK);
    ck_assert_uint_eq(bytes, 65536);
    ck_assert_int_eq(ctl_size_from_text("10MiB", &bytes, NULL), KS_OK);
    ck_assert_uint_eq(bytes, 10485760);
    ck_assert_int_eq(ctl_size_from_text("2GB", &bytes, NULL), KS_OK);
    ck_assert_uint_eq(bytes, 2147483648);
    ck_assert_int_eq(ctl_size_from_text("99999999999999g", &bytes, NULL), KS_USAGE);
    ck_assert_int_eq(ctl_size_from_text("10 MiB", &bytes, NULL), KS_USAGE);
}
END_TEST

START_TEST(times_are_printed_in_utc_and_in_local_time)
{
    char text[CTL_TIME_TEXT_BYTES];
    ctl_time_to_utc(NOW_MS, text);
    ck_assert_str_eq(text, "2026-11-22T23:46:30.123Z");
    local_zone("XXX-5:30");
    ctl_time_to_local(NOW_MS, text);
    ck_assert_str_eq(text, "2026-11-23T05:16:30.123+05:30");
    ctl_time_to_utc(UINT64_MAX, text);
    ck_assert_str_eq(text, "9999-12-31T23:59:59.999Z");
}
END_TEST

START_TEST(a_printed_local_time_can_be_read_again)
{
    char text[CTL_TIME_TEXT_BYTES];
    local_zone("XXX+3:30");
    ctl_time_to_local(NOW_MS, text);
    uint64_t unix_ms = 0;
    ck_assert_int_eq(ctl_time_from_text(text, 0, &unix_ms, NULL), KS_OK);
    ck_assert_uint_eq(unix_ms, NOW_MS);
}
END_TEST

START_TEST(sizes_are_printed_in_binary_units)
{
    char text[32];
    ctl_size_to_text(312, text, sizeof text);
    ck_assert_str_eq(text, "312 B");
    ctl_size_to_text(1572864, text, sizeof text);
    ck_assert_str_eq(text, "1.5 MiB");
    ctl_size_to_text(UINT64_MAX, text, sizeof text);
    ck_assert_str_eq(text, "16777216.0 TiB");
}
END_TEST

KS_SUITE("tools/ctl_time")
{
    KS_TEST_LOOP(times_are_read_in_every_form, (int)KS_COUNT_OF(times));
    KS_TEST_LOOP(what_is_no_time_is_refused_with_an_example, (int)KS_COUNT_OF(no_times));
    KS_TEST(durations_take_units);
    KS_TEST(sizes_take_units);
    KS_TEST(times_are_printed_in_utc_and_in_local_time);
    KS_TEST(a_printed_local_time_can_be_read_again);
    KS_TEST(sizes_are_printed_in_binary_units);
}
