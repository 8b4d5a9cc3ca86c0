#include "base/alloc.h"
#include "daemon/config.h"
#include "daemon/conn.h"
#include "daemon/loop.h"
#include "tests/unit/daemon/temp.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

/* One loop without a thread: the test turns it. Frames are counted, and answered on demand. */
static struct ks_live live;
static struct ks_loop_shared shared;
static struct ks_loop loop;
static struct ks_conn *conn;
static int peer;
static uint32_t frames;
static size_t frame_bytes_last;
static uint32_t bad_inputs;
static size_t answer_bytes; /* of each frame's answer; 0: none */
static bool is_holding;     /* calls stay under way */
static uint32_t released;

struct test_output {
    struct ks_output output;
    uint8_t *bytes;
};

static void test_release(struct ks_output *output)
{
    struct test_output *test = KS_CONTAINER_OF(output, struct test_output, output);
    ks_free(test->bytes);
    ks_free(test);
    released++;
}

static void answer(struct ks_conn *to, size_t bytes)
{
    struct test_output *test = ks_zalloc(sizeof(*test));
    test->bytes = ks_zalloc(bytes);
    test->output.release = test_release;
    test->output.parts[0] = (struct iovec){test->bytes, bytes / 2};
    test->output.parts[1] = (struct iovec){test->bytes + bytes / 2, bytes - bytes / 2};
    test->output.part_count = 2;
    test->output.bytes = bytes;
    ks_conn_take_output(to, &test->output);
}

static enum ks_status on_frame(struct ks_conn *from, struct ks_view body, struct ks_error *err)
{
    (void)err;
    frames++;
    frame_bytes_last = body.bytes;
    size_t wrong = 0;
    for (size_t i = 0; i < body.bytes; i++)
        wrong += body.data[i] != (uint8_t)(i * 7);
    ck_assert_uint_eq(wrong, 0);
    ks_conn_call_begin(from, body.bytes);
    if (answer_bytes > 0)
        answer(from, answer_bytes);
    if (!is_holding)
        ks_conn_call_end(from, body.bytes);
    return KS_OK;
}

static void on_bad_input(struct ks_conn *from, const struct ks_error *error)
{
    (void)error;
    bad_inputs++;
    answer(from, 8);
}

static const struct ks_conn_protocol protocol = {
    .on_frame = on_frame, .on_bad_input = on_bad_input};

static void turn(void)
{
    for (int i = 0; i < 6; i++)
        event_base_loop(loop.base, EVLOOP_NONBLOCK);
}

static void set_up(void)
{
    int pair[2];
    memset(&shared, 0, sizeof(shared));
    shared.clock = &ks_clock_system;
    shared.events = &ks_events_ignore;
    live.limits_in_flight = 1u << 20;
    live.limits_output = 1u << 20;
    live.limits_frame_timeout = 60000;
    live.limits_frame_rate = 65536;
    live.limits_write_timeout = 60000;
    live.limits_connections = 10;
    shared.live = &live;
    ks_budget_init(&shared.input, 32u << 20);
    ks_budget_init(&shared.output, 32u << 20);
    ck_assert_int_eq(ks_loop_init(&loop, 0, &shared, NULL), KS_OK);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    peer = pair[1];
    atomic_fetch_add(&shared.connections, 1);
    ck_assert_int_eq(ks_conn_open(&loop, pair[0], &protocol, "test", &conn, NULL), KS_OK);
}

static void tear_down(void)
{
    KS_LIST_FOR_EACH_SAFE(node, &loop.conns)
    ks_conn_close(KS_CONTAINER_OF(node, struct ks_conn, link), "test");
    ks_loop_fini(&loop);
    close(peer);
    ck_assert_uint_eq(shared.input.used_bytes, 0);
    ck_assert_uint_eq(shared.output.used_bytes, 0);
    ck_assert_uint_eq(shared.connections, 0);
}

/* length, then bytes 0, 7, 14... */
static size_t frame_make(uint8_t *to, size_t body_bytes)
{
    ks_store_u32be(to, (uint32_t)body_bytes);
    for (size_t i = 0; i < body_bytes; i++)
        to[4 + i] = (uint8_t)(i * 7);
    return body_bytes + 4;
}

/* All of it, turning the loop whenever the socket is full. */
static void push(const uint8_t *data, size_t bytes)
{
    while (bytes > 0) {
        ssize_t n = write(peer, data, bytes);
        if (n < 0) {
            ck_assert_int_eq(errno, EAGAIN);
            turn();
            continue;
        }
        data += n;
        bytes -= (size_t)n;
    }
    turn();
}

static size_t pull(void)
{
    static uint8_t sink[1 << 16];
    size_t total = 0;
    for (int idle = 0; idle < 3;) {
        ssize_t n = read(peer, sink, sizeof(sink));
        if (n > 0)
            total += (size_t)n;
        else
            idle++;
        turn();
    }
    return total;
}

START_TEST(frames_arrive_whole_however_they_are_cut)
{
    uint8_t bytes[4096];
    set_up();
    size_t total = frame_make(bytes, 1);
    total += frame_make(bytes + total, 500);
    total += frame_make(bytes + total, 100);
    for (size_t cut = 1; cut < total; cut += 5) {
        frames = 0;
        push(bytes, cut);
        push(bytes + cut, total - cut);
        ck_assert_uint_eq(frames, 3);
        ck_assert_uint_eq(frame_bytes_last, 100);
    }
    frames = 0;
    for (size_t i = 0; i < total; i++)
        push(bytes + i, 1);
    ck_assert_uint_eq(frames, 3);
    ck_assert_ptr_null(conn->in);
    tear_down();
}
END_TEST

START_TEST(large_frame_is_reserved_whole_and_given_back)
{
    size_t bytes = 5u << 20;
    uint8_t *frame = ks_malloc(bytes + 4);
    set_up();
    frame_make(frame, bytes);
    push(frame, 300000);
    ck_assert_uint_eq(frames, 0);
    ck_assert_uint_eq(shared.input.used_bytes, bytes + 4);
    ck_assert(event_pending(&conn->frame_timer, EV_TIMEOUT, NULL));
    push(frame + 300000, bytes + 4 - 300000);
    ck_assert_uint_eq(frames, 1);
    ck_assert_uint_eq(shared.input.used_bytes, 0);
    ck_assert_ptr_null(conn->in);
    ck_assert(!event_pending(&conn->frame_timer, EV_TIMEOUT, NULL));
    ks_free(frame);
    tear_down();
}
END_TEST

START_TEST(frame_of_4_gib_costs_nothing_and_ends_the_connection)
{
    const uint8_t huge[8] = {0xff, 0xff, 0xff, 0xff};
    set_up();
    push(huge, sizeof(huge));
    ck_assert_uint_eq(bad_inputs, 1);
    ck_assert_uint_eq(frames, 0);
    ck_assert_uint_eq(pull(), 8); /* the last word */
    ck_assert(ks_list_is_empty(&loop.conns));
    tear_down();
}
END_TEST

START_TEST(half_a_frame_and_silence_ends_by_timeout)
{
    uint8_t frame[128];
    set_up();
    live.limits_frame_timeout = 1;
    size_t bytes = frame_make(frame, 100);
    push(frame, bytes / 2);
    /* Turns until the timer fires; bounded by the suite's own timeout. */
    while (!ks_list_is_empty(&loop.conns))
        event_base_loop(loop.base, EVLOOP_ONCE);
    ck_assert_uint_eq(frames, 0);
    tear_down();
}
END_TEST

START_TEST(peer_that_never_reads_is_read_no_further)
{
    uint8_t frame[64];
    set_up();
    answer_bytes = 100000;
    size_t bytes = frame_make(frame, 10);
    uint32_t sent = 0;
    while (sent < 5000 && write(peer, frame, bytes) == (ssize_t)bytes) {
        sent++;
        turn();
    }
    ck_assert_uint_lt(frames, 20);
    ck_assert_uint_lt(conn->out_bytes, (2u << 20));
    uint32_t before = frames;
    turn();
    ck_assert_uint_eq(frames, before);
    ck_assert(event_pending(&conn->write_timer, EV_TIMEOUT, NULL));
    /* It reads after all: everything it asked for arrives, nothing is lost. */
    size_t got = 0;
    for (int i = 0; i < 1000 && got < (size_t)sent * answer_bytes; i++)
        got += pull();
    ck_assert_uint_eq(frames, sent);
    ck_assert_uint_eq(got, (size_t)sent * answer_bytes);
    ck_assert_uint_eq(released, sent);
    ck_assert(!event_pending(&conn->write_timer, EV_TIMEOUT, NULL));
    tear_down();
}
END_TEST

START_TEST(unanswered_requests_hold_back_the_next_until_they_end)
{
    size_t bytes = 600000;
    uint8_t *frame = ks_malloc(3 * (bytes + 4));
    set_up();
    is_holding = true;
    size_t total = frame_make(frame, bytes);
    total += frame_make(frame + total, bytes);
    total += frame_make(frame + total, bytes);
    /* The third stays with us or in the socket: only two fit into the budget of 1 MiB. */
    size_t sent = 0;
    for (int i = 0; i < 100 && sent < total; i++) {
        ssize_t n = write(peer, frame + sent, total - sent);
        sent += n > 0 ? (size_t)n : 0;
        turn();
    }
    ck_assert_uint_eq(frames, 2);
    ks_conn_call_end(conn, bytes);
    push(frame + sent, total - sent);
    ck_assert_uint_eq(frames, 3);
    ks_conn_call_end(conn, bytes);
    ks_conn_call_end(conn, bytes);
    ks_free(frame);
    tear_down();
}
END_TEST

START_TEST(without_input_memory_a_large_frame_waits_and_others_go_on)
{
    size_t bytes = 4u << 20;
    uint8_t *frame = ks_malloc(bytes + 4);
    set_up();
    frame_make(frame, bytes);
    ks_budget_force(&shared.input, 31u << 20);
    for (size_t sent = 0; sent < 400000;) {
        ssize_t n = write(peer, frame + sent, 400000 - sent);
        sent += n > 0 ? (size_t)n : 0;
        turn();
        if (ks_list_is_linked(&conn->starve_link)) {
            ck_assert_uint_le(shared.input.used_bytes, (31u << 20) + 300000);
            ks_budget_release(&shared.input, 31u << 20);
            while (ks_list_is_linked(&conn->starve_link))
                event_base_loop(loop.base, EVLOOP_ONCE);
            push(frame + sent, bytes + 4 - sent);
            break;
        }
    }
    ck_assert_uint_eq(frames, 1);
    ks_free(frame);
    tear_down();
}
END_TEST

START_TEST(closing_under_way_keeps_the_memory_of_calls)
{
    uint8_t frame[128];
    set_up();
    is_holding = true;
    push(frame, frame_make(frame, 50));
    ck_assert_uint_eq(frames, 1);
    close(peer);
    peer = -1;
    ks_conn_close(conn, "test");
    answer(conn, 100); /* released at once */
    ck_assert_uint_eq(released, 1);
    ks_conn_call_end(conn, 50); /* frees it: the address sanitizer would tell */
    tear_down();
}
END_TEST

START_TEST(half_closed_peer_gets_its_answers)
{
    uint8_t frame[128];
    set_up();
    is_holding = true;
    push(frame, frame_make(frame, 50));
    shutdown(peer, SHUT_WR);
    turn();
    ck_assert(!ks_list_is_empty(&loop.conns));
    answer(conn, 1000);
    ks_conn_call_end(conn, 50);
    ck_assert_uint_eq(pull(), 1000);
    ck_assert(ks_list_is_empty(&loop.conns));
    tear_down();
}
END_TEST

KS_SUITE("daemon/conn")
{
    KS_TEST(frames_arrive_whole_however_they_are_cut);
    KS_TEST(large_frame_is_reserved_whole_and_given_back);
    KS_TEST(frame_of_4_gib_costs_nothing_and_ends_the_connection);
    KS_TEST(half_a_frame_and_silence_ends_by_timeout);
    KS_TEST(peer_that_never_reads_is_read_no_further);
    KS_TEST(unanswered_requests_hold_back_the_next_until_they_end);
    KS_TEST(without_input_memory_a_large_frame_waits_and_others_go_on);
    KS_TEST(closing_under_way_keeps_the_memory_of_calls);
    KS_TEST(half_closed_peer_gets_its_answers);
}
