#include "tests/unit/ks_check.h"
#include "tools/ctl_lines.h"

#include <unistd.h>

/* A pipe with this text in it, closed behind it. */
static int pipe_of(const void *text, size_t bytes)
{
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(write(ends[1], text, bytes), (ssize_t)bytes);
    close(ends[1]);
    return ends[0];
}

static enum ctl_line next(struct ctl_lines *lines, struct ks_view *line)
{
    for (;;) {
        enum ctl_line what = ctl_lines_next(lines, line);
        if (what != CTL_LINE_WANTS)
            return what;
        ck_assert_int_eq(ctl_lines_fill(lines, NULL), KS_OK);
    }
}

static void expect_line(struct ctl_lines *lines, const char *expected)
{
    struct ks_view line;
    ck_assert_int_eq(next(lines, &line), CTL_LINE_OK);
    ck_assert(ks_view_equal(line, ks_view_of_text(expected)));
}

START_TEST(every_line_comes_once_also_empty_ones_and_a_last_one_without_newline)
{
    int fd = pipe_of("one\n\nthree\r\nlast", 16);
    struct ctl_lines lines;
    ctl_lines_init(&lines, fd, 100);
    expect_line(&lines, "one");
    expect_line(&lines, "");
    expect_line(&lines, "three\r");
    expect_line(&lines, "last");
    ck_assert_uint_eq(lines.number, 4);
    struct ks_view line;
    ck_assert_int_eq(next(&lines, &line), CTL_LINE_END);
    ck_assert_int_eq(next(&lines, &line), CTL_LINE_END);
    ctl_lines_fini(&lines);
    close(fd);
}
END_TEST

START_TEST(nothing_is_no_line)
{
    int fd = pipe_of("", 0);
    struct ctl_lines lines;
    ctl_lines_init(&lines, fd, 100);
    struct ks_view line;
    ck_assert_int_eq(next(&lines, &line), CTL_LINE_END);
    ctl_lines_fini(&lines);
    close(fd);
}
END_TEST

START_TEST(zero_bytes_are_bytes_like_others)
{
    int fd = pipe_of("a\0b\n", 4);
    struct ctl_lines lines;
    ctl_lines_init(&lines, fd, 100);
    struct ks_view line;
    ck_assert_int_eq(next(&lines, &line), CTL_LINE_OK);
    ck_assert(ks_view_equal(line, ks_view_of("a\0b", 3)));
    ctl_lines_fini(&lines);
    close(fd);
}
END_TEST

START_TEST(a_line_that_is_too_long_costs_only_itself)
{
    int fd = pipe_of("12345678901\nfits\n", 17);
    struct ctl_lines lines;
    ctl_lines_init(&lines, fd, 10);
    struct ks_view line;
    ck_assert_int_eq(next(&lines, &line), CTL_LINE_TOO_LONG);
    ck_assert_uint_eq(lines.number, 1);
    expect_line(&lines, "fits");
    ctl_lines_fini(&lines);
    close(fd);
}
END_TEST

/* A line of 3 MiB through a reader of 100 bytes: the buffer keeps its ceiling. */
START_TEST(an_endless_line_costs_bounded_memory)
{
    char path[] = "/tmp/ks-lines-XXXXXX";
    int fd = mkstemp(path);
    unlink(path);
    char block[4096];
    memset(block, 'x', sizeof block);
    for (int i = 0; i < 768; i++)
        ck_assert_int_eq(write(fd, block, sizeof block), (ssize_t)sizeof block);
    ck_assert_int_eq(write(fd, "\nafter", 6), 6);
    lseek(fd, 0, SEEK_SET);
    struct ctl_lines lines;
    ctl_lines_init(&lines, fd, 100);
    struct ks_view line;
    ck_assert_int_eq(next(&lines, &line), CTL_LINE_TOO_LONG);
    ck_assert_uint_le(lines.buf.capacity, 1 << 20);
    expect_line(&lines, "after");
    ck_assert_uint_eq(lines.number, 2);
    ctl_lines_fini(&lines);
    close(fd);
}
END_TEST

START_TEST(lines_that_arrive_in_pieces_are_put_together)
{
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    struct ctl_lines lines;
    ctl_lines_init(&lines, ends[0], 100);
    struct ks_view line;
    ck_assert_int_eq(write(ends[1], "first\nsec", 9), 9);
    ck_assert_int_eq(ctl_lines_fill(&lines, NULL), KS_OK);
    expect_line(&lines, "first");
    ck_assert_int_eq(ctl_lines_next(&lines, &line), CTL_LINE_WANTS);
    ck_assert_int_eq(write(ends[1], "ond\n", 4), 4);
    expect_line(&lines, "second");
    ctl_lines_fini(&lines);
    close(ends[0]);
    close(ends[1]);
}
END_TEST

/* ---- fields ---- */

struct field_case {
    const char *spec;
    const char *line;
    const char *field; /* NULL: not there */
    const char *from_there;
};

static const struct field_case fields[] = {
    {"1", "alpha beta gamma", "alpha", "alpha beta gamma"},
    {"2", "alpha  \t beta gamma", "beta", "beta gamma"},
    {"1", "  alpha", "alpha", "alpha"},
    {"3", "alpha beta ", NULL, NULL},
    {"1", "", NULL, NULL},
    {"1", "   ", NULL, NULL},
    {"1:,", "a,b,c", "a", "a,b,c"},
    {"2:,", "a,b,c", "b", "b,c"},
    {"3:,", "a,b,c", "c", "c"},
    {"4:,", "a,b,c", NULL, NULL},
    {"2:,", "a,,c", "", ",c"},
    {"2:,", "a,", "", ""},
    {"1:,", "", "", ""},
    {"2:::", "a::b::c", "b", "b::c"},
    {"2:\\t", "a b\tc d", "c d", "c d"},
    {"2::", "a:b", "b", "b"},
};

START_TEST(a_field_is_found_or_missing)
{
    struct ctl_field field;
    ck_assert_int_eq(ctl_field_from_text(fields[_i].spec, &field, NULL), KS_OK);
    struct ks_view found;
    struct ks_view rest;
    struct ks_view line = ks_view_of_text(fields[_i].line);
    bool is_there = ctl_field_find(&field, line, &found, &rest);
    ck_assert_int_eq(is_there, fields[_i].field != NULL);
    if (is_there) {
        ck_assert(ks_view_equal(found, ks_view_of_text(fields[_i].field)));
        ck_assert(ks_view_equal(rest, ks_view_of_text(fields[_i].from_there)));
    }
}
END_TEST

static const char *const no_fields[] = {
    "", "0", "x", "-1", "1x", "1:", ":", "99999999", "1:12345678901234567"};

START_TEST(what_names_no_field_is_refused)
{
    struct ctl_field field;
    ck_assert_int_eq(ctl_field_from_text(no_fields[_i], &field, NULL), KS_USAGE);
}
END_TEST

KS_SUITE("tools/ctl_lines")
{
    KS_TEST(every_line_comes_once_also_empty_ones_and_a_last_one_without_newline);
    KS_TEST(nothing_is_no_line);
    KS_TEST(zero_bytes_are_bytes_like_others);
    KS_TEST(a_line_that_is_too_long_costs_only_itself);
    KS_TEST(an_endless_line_costs_bounded_memory);
    KS_TEST(lines_that_arrive_in_pieces_are_put_together);
    KS_TEST_LOOP(a_field_is_found_or_missing, (int)KS_COUNT_OF(fields));
    KS_TEST_LOOP(what_names_no_field_is_refused, (int)KS_COUNT_OF(no_fields));
}
