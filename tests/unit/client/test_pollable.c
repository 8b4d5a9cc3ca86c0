/* Producers and readers driven by one descriptor, with plain poll(2) and kstream_process alone. */
#include "tests/unit/client/sender.h"

#include <poll.h>

/* One turn of the program's own loop; false: nothing happened for a long time. */
static bool turn(struct kstream_client *client, int fd)
{
    struct pollfd poller = {.fd = fd, .events = kstream_events(client)};
    int got = poll(&poller, 1, 20000);
    KS_IGNORE(kstream_process(client), "the callbacks and the readers say");
    return got > 0;
}

static int watch(struct kstream_client *client)
{
    struct kstream_error err = KSTREAM_ERROR_INIT;
    int fd = kstream_fd(client, &err);
    ck_assert_msg(fd >= 0, "%s", err.text);
    ck_assert_int_eq(kstream_fd(client, &err), fd); /* the same for good */
    return fd;
}

static bool is_readable(int fd, int wait_ms)
{
    struct pollfd poller = {.fd = fd, .events = POLLIN};
    return poll(&poller, 1, wait_ms) > 0;
}

START_TEST(records_are_sent_and_acknowledged_by_turns_alone)
{
    struct sender sender;
    struct kstream_producer_options options = KSTREAM_PRODUCER_OPTIONS_INIT;
    options.linger_ms = 5; /* the descriptor's timer must end it */
    sender_open(&sender, 3, &options);
    int fd = watch(sender.client);
    fake_broker_plan(sender.broker, KS_OP_PUT_RECORDS, 1, FAKE_CLOSE_AFTER);
    fake_broker_plan(sender.broker, KS_OP_PUT_RECORDS, 3, FAKE_PART_ERROR);
    for (int round = 0; round < 5; round++) {
        sender_put(&sender, 20);
        while (sender_stats(&sender).records_waiting > 0)
            ck_assert(turn(sender.client, fd));
    }
    sender_check_all_stored(&sender);
    sender_close(&sender);
}
END_TEST

START_TEST(an_idle_client_keeps_quiet)
{
    struct sender sender;
    struct kstream_error err = KSTREAM_ERROR_INIT;
    struct kstream_reader *reader = NULL;
    struct kstream_batch *batch = NULL;
    sender_open(&sender, 3, NULL);
    ck_assert_int_eq(kstream_reader_open(sender.client, "clicks", NULL, kstream_from_trim_horizon(),
                         NULL, &reader, &err),
        KSTREAM_OK);
    int fd = watch(sender.client);
    fake_broker_long_poll(sender.broker);
    sender_put(&sender, 10);
    while (sender_stats(&sender).records_waiting > 0)
        ck_assert(turn(sender.client, fd));
    size_t read = 0;
    while (read < 10) {
        while (kstream_reader_take(reader, &batch, &err) == KSTREAM_OK) {
            read += kstream_batch_count(batch);
            kstream_batch_free(batch);
        }
        ck_assert_int_eq(err.status, KSTREAM_WOULD_BLOCK);
        if (read < 10)
            ck_assert(turn(sender.client, fd));
    }
    /* The questions of the reader wait in the broker; nothing else is to be done. */
    while (is_readable(fd, 50))
        KS_IGNORE(kstream_process(sender.client), "what was left");
    ck_assert_int_gt(kstream_timeout_ms(sender.client), 1000);
    kstream_reader_close(reader);
    sender_close(&sender);
}
END_TEST

START_TEST(a_reader_goes_on_when_the_broker_is_back)
{
    struct sender sender;
    struct kstream_error err = KSTREAM_ERROR_INIT;
    struct kstream_reader_options options = KSTREAM_READER_OPTIONS_INIT;
    struct kstream_reader *reader = NULL;
    sender_open(&sender, 2, NULL);
    sender_put(&sender, 300);
    sender_flush_all(&sender);
    fake_broker_away(sender.broker, true);
    options.open_in_background = 1;
    ck_assert_int_eq(kstream_reader_open(sender.client, "clicks", NULL, kstream_from_trim_horizon(),
                         &options, &reader, &err),
        KSTREAM_OK);
    int fd = watch(sender.client);
    struct kstream_batch *batch = NULL;
    for (int i = 0; i < 3; i++) {
        ck_assert(turn(sender.client, fd)); /* its attempts to connect */
        ck_assert_int_eq(kstream_reader_take(reader, &batch, &err), KSTREAM_WOULD_BLOCK);
    }
    fake_broker_away(sender.broker, false);
    fake_broker_plan(sender.broker, KS_OP_GET_RECORDS, 2, FAKE_CLOSE_BEFORE);
    fake_broker_plan(sender.broker, KS_OP_LIST_SHARDS, 1, FAKE_CLOSE_BEFORE);
    size_t read = 0;
    while (read < 300) {
        ck_assert(turn(sender.client, fd));
        while (kstream_reader_take(reader, &batch, &err) == KSTREAM_OK) {
            read += kstream_batch_count(batch);
            kstream_batch_free(batch);
        }
    }
    ck_assert_uint_eq(read, 300);
    kstream_reader_close(reader);
    sender_close(&sender);
}
END_TEST

START_TEST(a_client_that_has_not_connected_yet_does_so_by_itself)
{
    struct sender sender;
    struct kstream_error err = KSTREAM_ERROR_INIT;
    struct kstream_config *config = kstream_config_new();
    struct kstream_client *client = NULL;
    struct kstream_producer_options options = sender_quick_options();
    options.open_in_background = 1;
    sender_open(&sender, 2, NULL);
    ck_assert_int_eq(
        kstream_config_set(config, "endpoint", fake_broker_endpoint(sender.broker), &err),
        KSTREAM_OK);
    ck_assert_int_eq(kstream_connect(config, 0, &client, &err), KSTREAM_OK);
    struct sender second = {.broker = sender.broker, .client = client};
    second.records = calloc(SENDER_RECORDS_MAX, sizeof *second.records);
    ck_assert_int_eq(
        kstream_producer_open(client, "clicks", &options, &second.producer, &err), KSTREAM_OK);
    int fd = watch(client);
    while (second.count < 100) {
        if (sender_put_one(&second, &err) == KSTREAM_FULL)
            ck_assert(turn(client, fd));
    }
    while (sender_stats(&second).records_waiting > 0)
        ck_assert(turn(client, fd));
    sender_check_all_stored(&second);
    KS_IGNORE(kstream_producer_close(second.producer, 0, NULL, NULL), "all is answered");
    kstream_close(client);
    free(second.records);
    sender_close(&sender);
}
END_TEST

KS_SUITE("client/pollable")
{
    KS_TEST(records_are_sent_and_acknowledged_by_turns_alone);
    KS_TEST(an_idle_client_keeps_quiet);
    KS_TEST(a_reader_goes_on_when_the_broker_is_back);
    KS_TEST(a_client_that_has_not_connected_yet_does_so_by_itself);
}
