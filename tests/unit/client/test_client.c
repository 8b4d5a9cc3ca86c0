/* The client against peers that behave badly: a thread plays the broker with bytes of its own. */
#include "client/kstream.h"
#include "tests/unit/ks_check.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* What the peer does with the one connection it takes. */
struct peer {
    pthread_t thread;
    int listener;
    char endpoint[32];
    const char *answer; /* sent after the first bytes have come; NULL: silence */
    size_t answer_bytes;
    bool hangs_up; /* closes behind the answer, else waits for the client to */
};

static void *peer_main(void *arg)
{
    struct peer *peer = arg;
    int fd = accept(peer->listener, NULL, NULL);
    if (fd < 0)
        return NULL;
    shutdown(peer->listener, SHUT_RDWR); /* a second attempt is refused */
    char bytes[4096];
    ssize_t got = read(fd, bytes, sizeof bytes);
    if (got > 0 && peer->answer)
        got = write(fd, peer->answer, peer->answer_bytes);
    while (!peer->hangs_up && got > 0)
        got = read(fd, bytes, sizeof bytes);
    close(fd);
    return NULL;
}

static void peer_start(struct peer *peer)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    peer->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(peer->listener, 0);
    ck_assert_int_eq(bind(peer->listener, (struct sockaddr *)&address, length), 0);
    ck_assert_int_eq(listen(peer->listener, 4), 0);
    ck_assert_int_eq(getsockname(peer->listener, (struct sockaddr *)&address, &length), 0);
    snprintf(peer->endpoint, sizeof peer->endpoint, "127.0.0.1:%u", ntohs(address.sin_port));
    ck_assert_int_eq(pthread_create(&peer->thread, NULL, peer_main, peer), 0);
}

static void peer_end(struct peer *peer)
{
    shutdown(peer->listener, SHUT_RDWR);
    close(peer->listener);
    pthread_join(peer->thread, NULL);
}

static enum kstream_status try_connect(
    const char *endpoint, uint32_t timeout_ms, struct kstream_error *err)
{
    struct kstream_config *config = kstream_config_new();
    struct kstream_client *client = NULL;
    ck_assert_ptr_nonnull(config);
    ck_assert_int_eq(kstream_config_set(config, "endpoint", endpoint, err), KSTREAM_OK);
    enum kstream_status st = kstream_connect(config, timeout_ms, &client, err);
    kstream_close(client);
    return st;
}

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

START_TEST(a_refused_connection_is_said_at_once)
{
    struct peer peer = {0};
    peer_start(&peer);
    peer_end(&peer); /* nobody listens there any more */
    struct kstream_error err = KSTREAM_ERROR_INIT;
    uint64_t began = now_ms();
    ck_assert_int_eq(try_connect(peer.endpoint, 30000, &err), KSTREAM_UNAVAILABLE);
    ck_assert_uint_lt(now_ms() - began, 10000);
    ck_assert_ptr_nonnull(strstr(err.text, peer.endpoint));
    ck_assert_int_eq(err.retryable, 1);
}
END_TEST

START_TEST(a_silent_peer_costs_the_timeout_and_no_more)
{
    struct peer peer = {.answer = NULL};
    peer_start(&peer);
    struct peer talker = peer;
    struct kstream_error err = KSTREAM_ERROR_INIT;
    /* The peer's thread reads the hello and answers nothing: it waits for us to go. */
    enum kstream_status st = try_connect(talker.endpoint, 100, &err);
    ck_assert_int_eq(st, KSTREAM_TIMEOUT);
    peer_end(&peer);
}
END_TEST

struct bad_answer {
    const char *bytes;
    size_t length;
};

/* A frame of 4 GiB, text of another protocol, a frame that is no message, an empty one. */
static const struct bad_answer bad_answers[] = {
    {"\xff\xff\xff\xff", 4},
    {"HTTP/1.1 400 Bad Request\r\n\r\n", 28},
    {"\x00\x00\x00\x04\xff\xff\xff\xff", 8},
    {"\x00\x00\x00\x00", 4},
};

START_TEST(garbage_is_refused_and_said)
{
    struct peer peer = {
        .answer = bad_answers[_i].bytes, .answer_bytes = bad_answers[_i].length, .hangs_up = true};
    peer_start(&peer);
    struct kstream_error err = KSTREAM_ERROR_INIT;
    enum kstream_status st = try_connect(peer.endpoint, 5000, &err);
    ck_assert_msg(st == KSTREAM_PROTOCOL || st == KSTREAM_UNAVAILABLE, "%s: %s",
        kstream_status_name(st), err.text);
    ck_assert_uint_gt(strlen(err.text), 0);
    peer_end(&peer);
}
END_TEST

START_TEST(an_answer_cut_in_the_middle_is_a_lost_connection)
{
    struct peer peer = {.answer = "\x00\x00\x00\x20half", .answer_bytes = 8, .hangs_up = true};
    peer_start(&peer);
    struct kstream_error err = KSTREAM_ERROR_INIT;
    ck_assert_int_eq(try_connect(peer.endpoint, 5000, &err), KSTREAM_UNAVAILABLE);
    peer_end(&peer);
}
END_TEST

START_TEST(endpoints_are_judged_when_they_are_set)
{
    static const char *const good[] = {"127.0.0.1:7420", "kstream://127.0.0.1:7420", "localhost",
        "[::1]:7420", "unix:/run/kstream/native.sock"};
    static const char *const bad[] = {
        "", ":", "127.0.0.1:", "127.0.0.1:99999", "127.0.0.1:x", "unix:", "http://127.0.0.1:1"};
    struct kstream_config *config = kstream_config_new();
    struct kstream_error err = KSTREAM_ERROR_INIT;
    for (size_t i = 0; i < KS_COUNT_OF(good); i++)
        ck_assert_msg(
            kstream_config_set(config, "endpoint", good[i], &err) == KSTREAM_OK, "%s", good[i]);
    for (size_t i = 0; i < KS_COUNT_OF(bad); i++)
        ck_assert_msg(
            kstream_config_set(config, "endpoint", bad[i], &err) == KSTREAM_INVALID, "%s", bad[i]);
    ck_assert_int_eq(kstream_config_set(config, "endpint", "x", &err), KSTREAM_INVALID);
    kstream_config_free(config);
}
END_TEST

START_TEST(a_position_survives_its_text)
{
    struct kstream_position positions[] = {kstream_from_trim_horizon(), kstream_from_latest(),
        kstream_from_time_ms(1790000000123), kstream_from_sequence_number("495903382714902566085"),
        kstream_after_sequence_number("495903382714902566085")};
    for (size_t i = 0; i < KS_COUNT_OF(positions); i++) {
        char text[KSTREAM_POSITION_BYTES];
        struct kstream_position back;
        struct kstream_error err = KSTREAM_ERROR_INIT;
        kstream_position_to_text(&positions[i], text);
        ck_assert_int_eq(kstream_position_from_text(text, &back, &err), KSTREAM_OK);
        ck_assert_int_eq(back.type, positions[i].type);
        ck_assert_uint_eq(back.timestamp_unix_ms, positions[i].timestamp_unix_ms);
        ck_assert_str_eq(back.sequence_number, positions[i].sequence_number);
    }
    static const char *const bad[] = {"", "at:", "at:x", "time:", "time:-1", "oldest"};
    for (size_t i = 0; i < KS_COUNT_OF(bad); i++) {
        struct kstream_position out;
        ck_assert_msg(
            kstream_position_from_text(bad[i], &out, NULL) == KSTREAM_INVALID, "%s", bad[i]);
    }
}
END_TEST

KS_SUITE("client")
{
    KS_TEST(a_refused_connection_is_said_at_once);
    KS_TEST(a_silent_peer_costs_the_timeout_and_no_more);
    KS_TEST_LOOP(garbage_is_refused_and_said, (int)KS_COUNT_OF(bad_answers));
    KS_TEST(an_answer_cut_in_the_middle_is_a_lost_connection);
    KS_TEST(endpoints_are_judged_when_they_are_set);
    KS_TEST(a_position_survives_its_text);
}
