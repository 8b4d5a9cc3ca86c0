#include "tests/unit/ks_check.h"
#include "tools/ctl_progress.h"

#include <jansson.h>

#define SECOND_NS 1000000000ULL

static struct ctl_progress progress;
static char *text;
static size_t text_bytes;
static FILE *to;

static void begin(enum ctl_progress_mode mode, uint64_t input_bytes_max)
{
    to = open_memstream(&text, &text_bytes);
    ctl_progress_init(&progress, mode, to, input_bytes_max, 0);
}

static void end(void)
{
    fclose(to);
    free(text);
}

static int lines(void)
{
    fflush(to);
    int count = 0;
    for (size_t i = 0; i < text_bytes; i++)
        count += text[i] == '\n';
    return count;
}

START_TEST(a_bar_shows_share_rate_and_after_three_seconds_the_time_left)
{
    begin(CTL_PROGRESS_BAR, 1000);
    struct ctl_progress_state state = {
        .records = 500, .bytes = 2048, .input_bytes = 500, .trouble = ""};
    char line[CTL_PROGRESS_LINE_BYTES];
    ctl_progress_line(&progress, &state, 2 * SECOND_NS, line);
    ck_assert_str_eq(line, " 50 % [##########----------] 500 records, 2.0 KiB, 250/s");
    ctl_progress_line(&progress, &state, 4 * SECOND_NS, line);
    ck_assert_str_eq(line, " 50 % [##########----------] 500 records, 2.0 KiB, 125/s, 4 s left");
    end();
}
END_TEST

START_TEST(without_a_known_length_there_is_no_bar)
{
    begin(CTL_PROGRESS_BAR, 0);
    struct ctl_progress_state state = {.records = 10, .bytes = 10, .trouble = ""};
    char line[CTL_PROGRESS_LINE_BYTES];
    ctl_progress_line(&progress, &state, 5 * SECOND_NS, line);
    ck_assert_str_eq(line, "10 records, 10 B, 2/s");
    end();
}
END_TEST

START_TEST(plain_says_a_line_each_ten_seconds)
{
    begin(CTL_PROGRESS_PLAIN, 0);
    struct ctl_progress_state state = {.records = 1, .trouble = ""};
    for (uint64_t second = 0; second <= 35; second++)
        ctl_progress_show(&progress, &state, second * SECOND_NS);
    ck_assert_int_eq(lines(), 3);
    end();
}
END_TEST

START_TEST(json_tells_every_percent_and_stays_parsable)
{
    begin(CTL_PROGRESS_JSON, 100);
    struct ctl_progress_state state = {.trouble = ""};
    for (uint64_t i = 0; i <= 100; i++) {
        state.input_bytes = i;
        state.records = i;
        ctl_progress_show(&progress, &state, i);
        ctl_progress_show(&progress, &state, i);
    }
    ck_assert_int_eq(lines(), 101);
    json_t *first = json_loads(text, JSON_DISABLE_EOF_CHECK, NULL);
    ck_assert_str_eq(json_string_value(json_object_get(first, "event")), "progress");
    ck_assert_int_eq(json_integer_value(json_object_get(first, "percent")), 0);
    json_decref(first);
    end();
}
END_TEST

START_TEST(trouble_is_told_once_when_it_begins_and_once_when_it_ends)
{
    begin(CTL_PROGRESS_JSON, 0);
    struct ctl_progress_state state = {.trouble = ""};
    ctl_progress_show(&progress, &state, 1);
    state.trouble = "cannot connect";
    ctl_progress_show(&progress, &state, 2 * 1000000);
    ctl_progress_show(&progress, &state, 3 * 1000000);
    state.trouble = "";
    ctl_progress_show(&progress, &state, 52 * 1000000);
    fflush(to);
    ck_assert_ptr_nonnull(strstr(text, "\"event\":\"waiting\""));
    ck_assert_ptr_nonnull(strstr(text, "\"reason\":\"cannot connect\""));
    ck_assert_ptr_nonnull(strstr(text, "\"event\":\"resumed\""));
    ck_assert_ptr_nonnull(strstr(text, "\"waited_ms\":50"));
    char *first = strstr(text, "waiting");
    ck_assert_ptr_null(strstr(first + 1, "waiting"));
    end();
}
END_TEST

START_TEST(none_says_nothing)
{
    begin(CTL_PROGRESS_NONE, 100);
    struct ctl_progress_state state = {.trouble = "x"};
    ctl_progress_show(&progress, &state, 100 * SECOND_NS);
    ctl_progress_end(&progress);
    fflush(to);
    ck_assert_uint_eq(text_bytes, 0);
    end();
}
END_TEST

START_TEST(auto_depends_on_the_terminal)
{
    enum ctl_progress_mode mode;
    ck_assert_int_eq(ctl_progress_mode_from_text("auto", true, &mode, NULL), KS_OK);
    ck_assert_int_eq(mode, CTL_PROGRESS_BAR);
    ck_assert_int_eq(ctl_progress_mode_from_text("auto", false, &mode, NULL), KS_OK);
    ck_assert_int_eq(mode, CTL_PROGRESS_PLAIN);
    ck_assert_int_eq(ctl_progress_mode_from_text("json", true, &mode, NULL), KS_OK);
    ck_assert_int_eq(mode, CTL_PROGRESS_JSON);
    ck_assert_int_eq(ctl_progress_mode_from_text("fancy", true, &mode, NULL), KS_USAGE);
}
END_TEST

KS_SUITE("tools/ctl_progress")
{
    KS_TEST(a_bar_shows_share_rate_and_after_three_seconds_the_time_left);
    KS_TEST(without_a_known_length_there_is_no_bar);
    KS_TEST(plain_says_a_line_each_ten_seconds);
    KS_TEST(json_tells_every_percent_and_stays_parsable);
    KS_TEST(trouble_is_told_once_when_it_begins_and_once_when_it_ends);
    KS_TEST(none_says_nothing);
    KS_TEST(auto_depends_on_the_terminal);
}
