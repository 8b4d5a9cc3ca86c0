#include "daemon/log.h"
#include "tests/unit/daemon/temp.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

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

START_TEST(json_stays_json_whatever_a_field_holds)
{
    set_up(KS_LOG_FORMAT_JSON);
    ks_emit(&logger.events, KS_LEVEL_INFO, "a.b", "why=\"cannot open 'a \"b\" c\\d'\" n=2");
    ck_assert_ptr_nonnull(
        strstr(written(), "\"why\":\"cannot open 'a \\\"b\\\" c\\\\d'\",\"n\":\"2\"}\n"));
    ks_emit(&logger.events, KS_LEVEL_INFO, "a.b", "no fields at all");
    ck_assert_ptr_nonnull(strstr(written(), "\"text\":\"no fields at all\"}\n"));
    ks_emit(&logger.events, KS_LEVEL_INFO, "a.b", "name=\xff\xfe%s", "\xc3\xa4");
    ck_assert_ptr_nonnull(strstr(written(), "\"name\":\"????\"}\n"));
    ks_emit(&logger.events, KS_LEVEL_INFO, "a.b", "name=%s", "\xc3\xa4");
    ck_assert_ptr_nonnull(strstr(written(), "\"name\":\"\xc3\xa4\"}\n"));
    ks_logger_fini(&logger);
}
END_TEST

/* A line that is full ends as a line, an object or a datagram all the same. */
START_TEST(lines_that_are_full_end_in_order)
{
    static char fields[8192];
    static struct ks_log_line line;
    const struct ks_log_event event = {
        .level = KS_LEVEL_INFO, .name = "a.b", .fields = fields, .id = ""};
    for (size_t bytes = 3900; bytes < 4300; bytes++) {
        memset(fields, '"', bytes);
        memcpy(fields, "a=\"", 3);
        fields[bytes] = '\0';
        strcat(fields, " b=1 c=2");
        ks_log_line_json(&line, &event, true);
        ck_assert_uint_le(line.bytes, sizeof(line.text));
        ck_assert_mem_eq(line.text + line.bytes - 3, "\"}\n", 3);
        /* No escape without what it escapes. */
        size_t slashes = 0;
        while (line.text[line.bytes - 4 - slashes] == '\\')
            slashes++;
        ck_assert_uint_eq(slashes % 2, 0);
        ks_log_line_text(&line, &event, false);
        ck_assert_uint_le(line.bytes, sizeof(line.text));
        ck_assert_int_eq(line.text[line.bytes - 1], '\n');
        ks_log_line_journal(&line, &event);
        ck_assert_uint_le(line.bytes, sizeof(line.text));
        ck_assert_int_eq(line.text[line.bytes - 1], '\n');
    }
}
END_TEST

/* ---- systemd's journal ---- */

static char journal_folder[64];
static char journal_path[100];

static int journal_open(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    temp_make(journal_folder);
    snprintf(journal_path, sizeof(journal_path), "%s/journal", journal_folder);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", journal_path);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static const char *received(int journal)
{
    static char text[1 << 13];
    ssize_t n = recv(journal, text, sizeof(text) - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

static void set_up_journal(bool is_stream)
{
    char stream[64] = "1:2";
    struct stat stat;
    ck_assert_int_eq(pipe2(ends, O_NONBLOCK), 0);
    ck_assert_int_eq(fstat(ends[1], &stat), 0);
    if (is_stream)
        snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)stat.st_dev,
            (unsigned long long)stat.st_ino);
    ks_fake_clock_init(&fake, 1421889600000);
    const struct ks_logger_options options = {.format = KS_LOG_FORMAT_AUTO,
        .level = KS_LEVEL_INFO,
        .clock = &fake.clock,
        .fd = ends[1],
        .journal_stream = stream,
        .journal_socket = journal_path};
    ks_logger_init(&logger, &options);
}

START_TEST(journal_gets_every_field_by_its_name)
{
    int journal = journal_open();
    set_up_journal(true);
    ks_emit(&logger.events, KS_LEVEL_WARNING, "a.b", "n=1 why=\"no\nroom\" x_y=z");
    ck_assert_str_eq(received(journal),
        "MESSAGE=a.b n=1 why=\"no?room\" x_y=z\nPRIORITY=4\nSYSLOG_IDENTIFIER=kstreamd\n"
        "MESSAGE_ID=9e3742b4204277d6ef9fe2cb934746e6\nKSTREAM_EVENT=a.b\nKSTREAM_N=1\n"
        "KSTREAM_WHY=no?room\nKSTREAM_X_Y=z\n");
    ck_assert_str_eq(written(), "");
    /* Text and JSON can be asked for; systemd then takes the level from the prefix. */
    ks_logger_set(&logger, KS_LOG_FORMAT_TEXT, KS_LEVEL_INFO);
    ks_emit(&logger.events, KS_LEVEL_ERROR, "a.b", "n=1");
    ck_assert_str_eq(written(), "<3>error a.b n=1\n");
    ck_assert_str_eq(received(journal), "");
    ks_logger_fini(&logger);
    close(journal);
    temp_remove(journal_folder);
}
END_TEST

START_TEST(stream_that_is_not_systemds_gets_text)
{
    int journal = journal_open();
    set_up_journal(false);
    ks_emit(&logger.events, KS_LEVEL_WARNING, "a.b", "n=1");
    ck_assert_str_eq(written(), "2015-01-22T01:20:00.000Z warning a.b n=1\n");
    ck_assert_str_eq(received(journal), "");
    ks_logger_set(&logger, KS_LOG_FORMAT_JOURNAL, KS_LEVEL_INFO);
    ks_emit(&logger.events, KS_LEVEL_WARNING, "a.b", "n=1");
    ck_assert_ptr_nonnull(strstr(received(journal), "KSTREAM_N=1"));
    ks_logger_fini(&logger);
    close(journal);
    temp_remove(journal_folder);
}
END_TEST

START_TEST(journal_that_takes_nothing_loses_no_event)
{
    int journal = journal_open();
    set_up_journal(true);
    unsigned told = 0;
    for (unsigned i = 0; i < 4 * KS_LOG_BURST; i++) {
        ks_emit(&logger.events, KS_LEVEL_INFO, "a.b", "i=%u", i);
        ks_fake_clock_advance_ms(&fake, 1000);
        told += strstr(written(), "<6>info a.b") != NULL;
    }
    /* Its queue held some, the stream got the others. */
    unsigned queued = 0;
    while (received(journal)[0])
        queued++;
    ck_assert_uint_gt(queued, 0);
    ck_assert_uint_eq(queued + told, 4 * KS_LOG_BURST);
    close(journal);
    ks_emit(&logger.events, KS_LEVEL_INFO, "a.b", "i=0");
    ck_assert_str_eq(written(), "<6>info a.b i=0\n");
    ks_logger_fini(&logger);
    temp_remove(journal_folder);
}
END_TEST

/* ---- a reader that has stopped ---- */

/* A pipe that blocks and holds a page. */
static void set_up_pipe(void)
{
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_gt(fcntl(ends[1], F_SETPIPE_SZ, 4096), 0);
    ks_fake_clock_init(&fake, 1421889600000);
    const struct ks_logger_options options = {
        .format = KS_LOG_FORMAT_TEXT, .level = KS_LEVEL_INFO, .clock = &fake.clock, .fd = ends[1]};
    ks_logger_init(&logger, &options);
    ck_assert_int_eq(ks_logger_start(&logger, NULL), KS_OK);
}

/* A second later each, so that none is held back. */
static void emit_numbers(unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        ks_emit(&logger.events, KS_LEVEL_INFO, "a.number", "i=%u text=\"%060d\"", i, 0);
        ks_fake_clock_advance_ms(&fake, 1000);
    }
}

struct seen {
    unsigned numbers; /* lines of a.number */
    unsigned next;    /* the number after the last one */
    unsigned told;    /* by log.dropped */
    unsigned wrong;   /* lines out of order, or before the line that tells of those missing */
};

static void *read_all(void *arg)
{
    struct seen *seen = arg;
    FILE *file = fdopen(ends[0], "r");
    char line[512];
    unsigned n;
    unsigned missing = 0;
    while (fgets(line, sizeof(line), file)) {
        const char *number = strstr(line, "a.number i=");
        const char *dropped = strstr(line, "warning log.dropped lines=");
        if (dropped && sscanf(dropped, "warning log.dropped lines=%u", &n) == 1) {
            seen->told += n;
        } else if (number && sscanf(number, "a.number i=%u", &n) == 1) {
            seen->wrong += n < seen->next;
            missing += n - seen->next;
            seen->wrong += missing != seen->told;
            seen->next = n + 1;
            seen->numbers++;
        } else {
            seen->wrong++;
        }
    }
    fclose(file);
    return NULL;
}

/* With the next event, or at the next look when there is none. */
START_TEST(who_logs_waits_for_nobody_and_the_reader_learns_what_he_missed)
{
    pthread_t reader;
    struct seen seen = {.next = 0};
    set_up_pipe();
    emit_numbers(0, 3000); /* more than pipe and ring hold: who waits would never come back */
    uint64_t dropped = logger.dropped;
    ck_assert_uint_gt(dropped, 0);
    ck_assert_uint_lt(dropped, 2999);
    ck_assert_int_eq(pthread_create(&reader, NULL, read_all, &seen), 0);
    ck_assert(ks_log_writer_flush(logger.writer, 60000));
    if (_i == 0)
        emit_numbers(3000, 3001);
    else
        ks_logger_tick(&logger);
    ck_assert_uint_eq(logger.dropped, 0);
    ks_logger_fini(&logger);
    close(ends[1]);
    pthread_join(reader, NULL);
    ck_assert_uint_eq(seen.wrong, 0);
    ck_assert_uint_eq(seen.told, dropped);
    ck_assert_uint_eq(seen.numbers + seen.told, _i == 0 ? 3001 : 3000);
}
END_TEST

START_TEST(the_end_does_not_wait_for_a_reader_that_has_stopped)
{
    set_up_pipe();
    emit_numbers(0, 100);
    ks_logger_fini(&logger);
    /* What left the ring before is whole. */
    static char text[8192];
    ssize_t n = read(ends[0], text, sizeof(text) - 1);
    ck_assert_int_gt(n, 0);
    ck_assert_int_eq(text[n - 1], '\n');
}
END_TEST

KS_SUITE("daemon/log")
{
    KS_TEST(json_stays_json_whatever_a_field_holds);
    KS_TEST(lines_that_are_full_end_in_order);
    KS_TEST_LOOP(who_logs_waits_for_nobody_and_the_reader_learns_what_he_missed, 2);
    KS_TEST(the_end_does_not_wait_for_a_reader_that_has_stopped);
    KS_TEST(journal_gets_every_field_by_its_name);
    KS_TEST(stream_that_is_not_systemds_gets_text);
    KS_TEST(journal_that_takes_nothing_loses_no_event);
    KS_TEST(line_has_time_level_event_and_fields);
    KS_TEST(json_line_has_a_member_per_field);
    KS_TEST(flood_is_held_back_and_counted);
}
