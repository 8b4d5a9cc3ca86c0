#include "daemon/log.h"
#include "tests/unit/daemon/temp.h"

#include <fcntl.h>

static struct ks_fake_clock fake;
static struct ks_logger logger;
static int ends[2];

static void set_up(enum ks_log_format format)
{
    ck_assert_int_eq(pipe2(ends, O_NONBLOCK), 0);
    ks_fake_clock_init(&fake, 1421889600000);
    const struct ks_logger_options options = {
        .format = format, .level = KS_LEVEL_INFO, .clock = &fake.clock, .fd = ends[1]};
    ks_logger_init(&logger, &options);
}

static const char *written(void)
{
    static char text[1 << 16];
    ssize_t n = read(ends[0], text, sizeof(text) - 1);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

START_TEST(line_has_time_level_event_and_fields)
{
    set_up(KS_LOG_FORMAT_TEXT);
    ks_emit(&logger.events, KS_LEVEL_WARNING, "journal.torn_tail", "lsn=%d name=\"a\nb\"", 12);
    ck_assert_str_eq(
        written(), "2015-01-22T01:20:00.000Z warning journal.torn_tail lsn=12 name=\"a?b\"\n");
    ks_emit(&logger.events, KS_LEVEL_DEBUG, "x.y", "z=1");
    ck_assert_str_eq(written(), "");
    ks_logger_fini(&logger);
}
END_TEST

START_TEST(json_line_has_a_member_per_field)
{
    set_up(KS_LOG_FORMAT_JSON);
    ks_emit(&logger.events, KS_LEVEL_INFO, "a.b", "n=1 why=\"no room\" path=c\\d");
    ck_assert_str_eq(written(), "{\"time\":\"2015-01-22T01:20:00.000Z\",\"level\":\"info\","
                                "\"event\":\"a.b\",\"n\":\"1\",\"why\":\"no room\","
                                "\"path\":\"c\\\\d\"}\n");
    ks_logger_fini(&logger);
}
END_TEST

START_TEST(flood_is_held_back_and_counted)
{
    set_up(KS_LOG_FORMAT_TEXT);
    for (int i = 0; i < 1000; i++)
        ks_emit(&logger.events, KS_LEVEL_INFO, "a.flood", "i=%d", i);
    ks_emit(&logger.events, KS_LEVEL_INFO, "b.other", "i=1");
    const char *text = written();
    unsigned lines = 0;
    for (const char *p = text; (p = strchr(p, '\n')); p++)
        lines++;
    ck_assert_uint_eq(lines, KS_LOG_BURST + 1);
    ck_assert_ptr_nonnull(strstr(text, "b.other"));
    ks_fake_clock_advance_ms(&fake, 1500);
    ks_emit(&logger.events, KS_LEVEL_INFO, "a.flood", "i=1000");
    text = written();
    ck_assert_ptr_nonnull(strstr(text, "log.suppressed event=a.flood count=980"));
    ck_assert_ptr_nonnull(strstr(text, "i=1000"));
    ks_logger_fini(&logger);
}
END_TEST

KS_SUITE("daemon/log")
{
    KS_TEST(line_has_time_level_event_and_fields);
    KS_TEST(json_line_has_a_member_per_field);
    KS_TEST(flood_is_held_back_and_counted);
}
