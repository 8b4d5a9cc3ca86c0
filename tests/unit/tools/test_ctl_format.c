#include "tests/unit/ks_check.h"
#include "tools/ctl_format.h"

#include <time.h>

struct format_case {
    const char *format;
    const char *expected;
    size_t bytes;
};

#define CASE(format, expected)                                                                     \
    {                                                                                              \
        format, expected, sizeof(expected) - 1                                                     \
    }
static const struct format_case cases[] = {
    CASE("%d\\n", "da\0ta\n"),
    CASE("%k\\t%d", "key\tda\0ta"),
    CASE("%S %s", "shardId-000000000003 4961"),
    CASE("%t", "1970-01-01T00:00:01.000+00:00"),
    CASE("100%% %%d\\\\n\\0", "100% %d\\n\0"),
    CASE("plain", "plain"),
    CASE("", ""),
};

START_TEST(a_record_is_printed_as_the_format_says)
{
    setenv("TZ", "UTC", 1);
    tzset();
    struct ctl_format_fields fields = {
        .data = ks_view_of("da\0ta", 5),
        .key = ks_view_of_text("key"),
        .arrival_unix_ms = 1000,
        .sequence_number = "4961",
        .shard_id = "shardId-000000000003",
    };
    ck_assert_int_eq(ctl_format_check(cases[_i].format, NULL), KS_OK);
    char *text = NULL;
    size_t bytes = 0;
    FILE *to = open_memstream(&text, &bytes);
    ctl_format_print(cases[_i].format, &fields, to);
    fclose(to);
    ck_assert_uint_eq(bytes, cases[_i].bytes);
    ck_assert_mem_eq(text, cases[_i].expected, bytes);
    free(text);
}
END_TEST

static const char *const refused[] = {"%x", "%", "a%", "\\q", "\\", "%d\\", "%D"};

START_TEST(unknown_letters_are_refused_before_anything_is_read)
{
    struct ks_error err = KS_ERROR_INIT;
    ck_assert_int_eq(ctl_format_check(refused[_i], &err), KS_USAGE);
    ck_assert_ptr_nonnull(strstr(err.text, "known"));
}
END_TEST

START_TEST(a_letter_is_found_only_where_it_counts)
{
    ck_assert(ctl_format_has("%k %s", 's'));
    ck_assert(!ctl_format_has("%%s", 's'));
    ck_assert(!ctl_format_has("s %d", 's'));
    ck_assert(ctl_format_has("\\\\%s", 's'));
}
END_TEST

KS_SUITE("tools/ctl_format")
{
    KS_TEST_LOOP(a_record_is_printed_as_the_format_says, (int)KS_COUNT_OF(cases));
    KS_TEST_LOOP(unknown_letters_are_refused_before_anything_is_read, (int)KS_COUNT_OF(refused));
    KS_TEST(a_letter_is_found_only_where_it_counts);
}
