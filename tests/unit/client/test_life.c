/* Closing in any order, fork, the log, an allocator of the program's own. */
#include "tests/unit/client/sender.h"

#include <stdatomic.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static struct kstream_reader *open_reader(struct kstream_client *client)
{
    struct kstream_error err = KSTREAM_ERROR_INIT;
    struct kstream_reader *reader = NULL;
    ck_assert_int_eq(kstream_reader_open(
                         client, "clicks", NULL, kstream_from_trim_horizon(), NULL, &reader, &err),
        KSTREAM_OK);
    return reader;
}

START_TEST(a_client_may_be_closed_before_what_was_opened_from_it)
{
    struct sender sender;
    struct kstream_error err = KSTREAM_ERROR_INIT;
    struct kstream_batch *batch = NULL;
    struct kstream_producer *producer = NULL;
    struct kstream_reader *another = NULL;
    sender_open(&sender, 2, NULL);
    struct kstream_reader *reader = open_reader(sender.client);
    kstream_close(sender.client);
    ck_assert_int_eq(kstream_reader_next(reader, 10, &batch, &err), KSTREAM_INVALID);
    ck_assert_int_eq(kstream_reader_take(reader, &batch, &err), KSTREAM_INVALID);
    ck_assert_int_eq(
        kstream_producer_open(sender.client, "clicks", NULL, &producer, &err), KSTREAM_INVALID);
    ck_assert_int_eq(kstream_reader_open(sender.client, "clicks", NULL, kstream_from_trim_horizon(),
                         NULL, &another, &err),
        KSTREAM_INVALID);
    ck_assert_int_eq(kstream_ping(sender.client, 10, NULL, &err), KSTREAM_INVALID);
    /* A producer has a connection of its own: what it took still goes out. */
    sender_put(&sender, 10);
    sender_flush_all(&sender);
    sender_check_all_stored(&sender);
    ck_assert_int_eq(kstream_producer_close(sender.producer, 1000, NULL, &err), KSTREAM_OK);
    kstream_reader_close(reader);
    fake_broker_stop(sender.broker);
    free(sender.records);
}
END_TEST

START_TEST(a_batch_outlives_its_reader)
{
    struct sender sender;
    struct kstream_error err = KSTREAM_ERROR_INIT;
    struct kstream_batch *batch = NULL;
    sender_open(&sender, 1, NULL);
    sender_put(&sender, 10);
    sender_flush_all(&sender);
    struct kstream_reader *reader = open_reader(sender.client);
    ck_assert_int_eq(kstream_reader_next(reader, 5000, &batch, &err), KSTREAM_OK);
    kstream_reader_close(reader);
    sender_close(&sender);
    ck_assert_uint_eq(kstream_batch_count(batch), 10);
    ck_assert_mem_eq(kstream_batch_record(batch, 9)->data, "k9-9", 4);
    kstream_batch_free(batch);
}
END_TEST

/* The child of a fork closes what it inherited: the parent's connections do not notice. */
START_TEST(a_child_frees_what_its_parent_opened_and_disturbs_nothing)
{
    struct sender sender;
    struct kstream_error err = KSTREAM_ERROR_INIT;
    struct kstream_producer_options options = KSTREAM_PRODUCER_OPTIONS_INIT;
    options.linger_ms = 60000;
    sender_open(&sender, 2, &options);
    struct kstream_reader *reader = open_reader(sender.client);
    ck_assert_int_ge(kstream_fd(sender.client, &err), 0);
    KS_IGNORE(kstream_process(sender.client), "its descriptors enter the set");
    sender_put(&sender, 20); /* wait in the producer */
    pid_t child = fork();
    if (child == 0) {
        uint64_t left = 0;
        KS_IGNORE(kstream_producer_close(sender.producer, 1000, &left, NULL), "sends nothing");
        kstream_reader_close(reader);
        kstream_close(sender.client);
        int acks = 0;
        for (size_t i = 0; i < sender.count; i++)
            acks += sender.records[i].acks;
        _exit(left == 20 && acks == 0 ? 0 : 1);
    }
    int status = 1;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    ck_assert_uint_eq(fake_broker_count(sender.broker, 0) + fake_broker_count(sender.broker, 1), 0);
    sender_flush_all(&sender);
    sender_check_all_stored(&sender);
    ck_assert_uint_eq(sender_stats(&sender).reconnects, 0);
    kstream_reader_close(reader);
    sender_close(&sender);
}
END_TEST

struct log {
    int lines;
    char text[4096];
};

static void log_line(enum kstream_log_level level, const char *text, void *arg)
{
    struct log *log = arg;
    ck_assert(level == KSTREAM_LOG_ERROR || level == KSTREAM_LOG_INFO);
    log->lines++;
    size_t used = strlen(log->text);
    snprintf(log->text + used, sizeof log->text - used, "%s\n", text);
}

START_TEST(what_the_library_does_by_itself_is_logged)
{
    struct sender sender;
    struct log log = {.lines = 0};
    struct kstream_error err = KSTREAM_ERROR_INIT;
    struct kstream_config *config = kstream_config_new();
    struct kstream_client *client = NULL;
    struct kstream_producer_options options = sender_quick_options();
    sender_open(&sender, 1, NULL);
    ck_assert_int_eq(
        kstream_config_set(config, "endpoint", fake_broker_endpoint(sender.broker), &err),
        KSTREAM_OK);
    kstream_config_set_log(config, log_line, &log);
    ck_assert_int_eq(kstream_connect(config, 5000, &client, &err), KSTREAM_OK);
    KS_IGNORE(kstream_producer_close(sender.producer, 0, NULL, NULL), "another client's instead");
    ck_assert_int_eq(
        kstream_producer_open(client, "clicks", &options, &sender.producer, &err), KSTREAM_OK);
    ck_assert_int_eq(log.lines, 0);
    fake_broker_plan(sender.broker, KS_OP_PUT_RECORDS, 1, FAKE_ERROR);
    fake_broker_plan(sender.broker, KS_OP_PUT_RECORDS, 2, FAKE_CLOSE_AFTER);
    fake_broker_plan(sender.broker, KS_OP_PUT_RECORDS, 4, FAKE_SPLIT);
    sender_put(&sender, 50);
    sender_flush_all(&sender);
    sender_check_all_stored(&sender);
    ck_assert_ptr_nonnull(strstr(log.text, "producer.refused"));
    ck_assert_ptr_nonnull(strstr(log.text, "connection.lost"));
    ck_assert_ptr_nonnull(strstr(log.text, "connection.back"));
    ck_assert_ptr_nonnull(strstr(log.text, "producer.routing"));
    KS_IGNORE(kstream_producer_close(sender.producer, 0, NULL, NULL), "flushed");
    sender.producer = NULL;
    kstream_close(client);
    sender_close(&sender);
}
END_TEST

static void log_debug(enum kstream_log_level level, const char *text, void *arg)
{
    if (level == KSTREAM_LOG_DEBUG)
        log_line(KSTREAM_LOG_INFO, text, arg);
}

START_TEST(every_answer_is_logged_if_that_is_wanted)
{
    static const char *const wanted[] = {"yes", "no"};
    for (size_t i = 0; i < KS_COUNT_OF(wanted); i++) {
        struct fake_broker *broker = fake_broker_start(1);
        struct log log = {.lines = 0};
        struct kstream_error err = KSTREAM_ERROR_INIT;
        struct kstream_config *config = kstream_config_new();
        struct kstream_client *client = NULL;
        ck_assert_int_eq(
            kstream_config_set(config, "log_requests", "maybe", &err), KSTREAM_INVALID);
        ck_assert_int_eq(kstream_config_set(config, "log_requests", wanted[i], &err), KSTREAM_OK);
        ck_assert_int_eq(
            kstream_config_set(config, "endpoint", fake_broker_endpoint(broker), &err), KSTREAM_OK);
        kstream_config_set_log(config, log_debug, &log);
        ck_assert_int_eq(kstream_connect(config, 5000, &client, &err), KSTREAM_OK);
        ck_assert_int_eq(log.lines, i == 0);
        ck_assert_int_eq(
            strstr(log.text, "request.answered op=Ping request=1 us=") != NULL, i == 0);
        kstream_close(client);
        fake_broker_stop(broker);
    }
}
END_TEST

static atomic_long blocks; /* the fake broker has a thread of its own */

static void *count_allocate(size_t bytes)
{
    blocks++;
    return malloc(bytes);
}

static void *count_resize(void *block, size_t bytes)
{
    blocks += block == NULL;
    return realloc(block, bytes);
}

static void count_release(void *block)
{
    blocks -= block != NULL;
    free(block);
}

START_TEST(a_programs_own_allocator_gets_everything_and_everything_back)
{
    struct kstream_allocator allocator = {count_allocate, count_resize, count_release};
    kstream_set_allocator(&allocator);
    struct sender sender;
    sender_open(&sender, 2, NULL);
    ck_assert_int_gt(atomic_load(&blocks), 10);
    sender_put(&sender, 100);
    sender_flush_all(&sender);
    struct kstream_reader *reader = open_reader(sender.client);
    struct kstream_error err = KSTREAM_ERROR_INIT;
    struct kstream_batch *batch = NULL;
    while (kstream_reader_next(reader, 0, &batch, &err) == KSTREAM_OK)
        kstream_batch_free(batch);
    kstream_reader_close(reader);
    sender_close(&sender);
    ck_assert_int_eq(atomic_load(&blocks), 0);
}
END_TEST

KS_SUITE("client/life")
{
    KS_TEST(a_client_may_be_closed_before_what_was_opened_from_it);
    KS_TEST(a_batch_outlives_its_reader);
    KS_TEST(a_child_frees_what_its_parent_opened_and_disturbs_nothing);
    KS_TEST(what_the_library_does_by_itself_is_logged);
    KS_TEST(every_answer_is_logged_if_that_is_wanted);
    KS_TEST(a_programs_own_allocator_gets_everything_and_everything_back);
}
