#include "base/bytes.h"
#include "base/status.h"
#include "tests/unit/ks_check.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

START_TEST(every_status_has_its_own_row)
{
#define KS_STATUS(status, value, type, code, exit, again, words)                                   \
    ck_assert_int_eq(status, value);                                                               \
    ck_assert_str_eq(ks_status_name(status), #status);                                             \
    ck_assert_int_eq(ks_status_from_wire(value), status);                                          \
    ck_assert_str_eq(ks_status_info(status)->exception, type);                                     \
    ck_assert_str_eq(ks_status_info(status)->text, words);                                         \
    ck_assert_int_eq(ks_status_info(status)->http, code);                                          \
    ck_assert_int_eq(ks_status_info(status)->exit_code, exit);                                     \
    ck_assert_int_eq(ks_status_info(status)->retryable, again);
#include "base/status.def"
#undef KS_STATUS
}
END_TEST

START_TEST(every_error_has_text_exception_and_exit_code)
{
#define KS_STATUS(status, value, type, code, exit, again, words)                                   \
    ck_assert(ks_status_info(status)->text[0] >= 'a' && ks_status_info(status)->text[0] <= 'z');   \
    ck_assert((value) == 0 || ks_status_info(status)->exception[0] != '\0');                       \
    ck_assert((value) == 0 || ks_status_info(status)->exit_code != 0);
#include "base/status.def"
#undef KS_STATUS
}
END_TEST

START_TEST(unknown_values_become_internal)
{
    ck_assert_int_eq(ks_status_from_wire(100000), KS_INTERNAL);
    ck_assert_int_eq(ks_status_from_wire(UINT32_MAX), KS_INTERNAL);
    ck_assert_str_eq(ks_status_name((enum ks_status)4096), "KS_INTERNAL");
}
END_TEST

START_TEST(fail_fills_the_error_and_returns_the_status)
{
    struct ks_error err = KS_ERROR_INIT;
    errno = EINTR;
    ck_assert_int_eq(ks_fail(&err, KS_IO, ENOENT, "cannot open '%s'", "x.seg"), KS_IO);
    ck_assert_int_eq(errno, EINTR);
    ck_assert_int_eq(err.status, KS_IO);
    ck_assert_int_eq(err.errnum, ENOENT);
    ck_assert_str_eq(err.text, "cannot open 'x.seg': No such file or directory");
}
END_TEST

START_TEST(fail_without_errno_adds_nothing)
{
    struct ks_error err = KS_ERROR_INIT;
    ck_assert_int_eq(ks_fail(&err, KS_CORRUPT, 0, "bad header"), KS_CORRUPT);
    ck_assert_str_eq(err.text, "bad header");
}
END_TEST

START_TEST(fail_accepts_no_error)
{
    ck_assert_int_eq(ks_fail(NULL, KS_LIMIT, 0, "too many"), KS_LIMIT);
}
END_TEST

START_TEST(fail_may_quote_the_text_it_replaces)
{
    struct ks_error err = KS_ERROR_INIT;
    KS_IGNORE(ks_fail(&err, KS_IO, 0, "inner"), "the text is the result");
    KS_IGNORE(ks_fail(&err, KS_IO, 0, "outer: %s", err.text), "the text is the result");
    ck_assert_str_eq(err.text, "outer: inner");
}
END_TEST

/* Two-, three- and four-byte characters, shifted so that the cut falls on each of their bytes. */
START_TEST(a_long_text_is_cut_between_characters)
{
    static const char *const characters[] = {"\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
    for (size_t which = 0; which < KS_COUNT_OF(characters); which++) {
        size_t character_bytes = strlen(characters[which]);
        for (int shift = 0; shift < 4; shift++) {
            char long_text[1024];
            int length = snprintf(long_text, sizeof long_text, "%.*s", shift, "abc");
            while (length < 500)
                length += snprintf(
                    long_text + length, sizeof long_text - (size_t)length, "%s", characters[which]);
            struct ks_error err = KS_ERROR_INIT;
            KS_IGNORE(ks_fail(&err, KS_IO, EIO, "%s", long_text), "the text is the result");
            size_t bytes = strlen(err.text);
            ck_assert(ks_view_is_utf8(ks_view_of_text(err.text)));
            ck_assert_uint_lt(bytes, KS_ERROR_TEXT_BYTES);
            ck_assert_uint_gt(bytes, KS_ERROR_TEXT_BYTES - 1 - character_bytes);
            ck_assert_int_eq(memcmp(err.text, long_text, bytes), 0);
        }
    }
}
END_TEST

KS_SUITE("base/status")
{
    KS_TEST(every_status_has_its_own_row);
    KS_TEST(every_error_has_text_exception_and_exit_code);
    KS_TEST(unknown_values_become_internal);
    KS_TEST(fail_fills_the_error_and_returns_the_status);
    KS_TEST(fail_without_errno_adds_nothing);
    KS_TEST(fail_accepts_no_error);
    KS_TEST(fail_may_quote_the_text_it_replaces);
    KS_TEST(a_long_text_is_cut_between_characters);
}
