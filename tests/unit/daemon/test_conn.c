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
static struct ks_fake_clock clock_of_conn; /* timers run in real time, what they see is up to us */
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

static char event_last[64];

static void event_seen(
    const struct ks_events *events, enum ks_level level, const char *name, const char *fields)
{
    (void)events, (void)fields;
    if (level > KS_LEVEL_DEBUG)
        snprintf(event_last, sizeof(event_last), "%s", name);
}

static const struct ks_events events_of_conn = {.emit = event_seen};

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
    ks_fake_clock_init(&clock_of_conn, 1790000000000u);
    shared.clock = &clock_of_conn.clock;
    shared.events = &events_of_conn;
    event_last[0] = '\0';
    live.limits_in_flight = 1u << 20;
    live.limits_output = 1u << 20;
    live.limits_frame_timeout = 60000;
    live.limits_frame_rate = 65536;
    live.limits_write_timeout = 60000;
    live.limits_write_rate = 1024;
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
    ck_assert_ptr_null(conn->in.bytes);
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
    ck_assert_ptr_null(conn->in.bytes);
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
    live.limits_frame_timeout = 2;
    size_t bytes = frame_make(frame, 100);
    push(frame, bytes / 2);
    /* Turns until the timer fires; bounded by the suite's own timeout. */
    while (!ks_list_is_empty(&loop.conns)) {
        ks_fake_clock_advance_ms(&clock_of_conn, 2);
        event_base_loop(loop.base, EVLOOP_ONCE);
    }
    ck_assert_uint_eq(frames, 0);
    tear_down();
}
END_TEST

/* What was announced buys no time, what has come does. */
START_TEST(half_a_frame_lives_as_long_as_it_comes_at_the_rate)
{
    size_t bytes = 1u << 20;
    uint8_t *frame = ks_malloc(bytes + 4);
    set_up();
    live.limits_frame_timeout = 2;
    live.limits_frame_rate = 100000; /* 1 ms for 100 bytes */
    frame_make(frame, bytes);
    size_t sent = 0;
    for (int i = 0; i < 50; i++) {
        push(frame + sent, 1000);
        sent += 1000;
        ks_fake_clock_advance_ms(&clock_of_conn, 10);
        event_base_loop(loop.base, EVLOOP_ONCE);
        ck_assert_msg(!ks_list_is_empty(&loop.conns), "cut off after %zu bytes", sent);
    }
    while (!ks_list_is_empty(&loop.conns)) {
        ks_fake_clock_advance_ms(&clock_of_conn, 2);
        event_base_loop(loop.base, EVLOOP_ONCE);
        ck_assert_uint_lt(ks_clock_mono_ns(shared.clock), 1000000000000000ull);
    }
    ck_assert_uint_eq(frames, 0);
    ks_free(frame);
    tear_down();
}
END_TEST

/* An answer that the socket does not take at once; the peer takes bytes now and then. */
static bool drip_until_closed(size_t bytes_a_round, int rounds)
{
    static uint8_t sink[65536];
    uint8_t frame[64];
    answer_bytes = 900000;
    push(frame, frame_make(frame, 10));
    ck_assert(event_pending(&conn->write_timer, EV_TIMEOUT, NULL));
    for (int i = 0; i < rounds; i++) {
        if (read(peer, sink, bytes_a_round) < 0)
            ck_assert_int_eq(errno, EAGAIN);
        ks_fake_clock_advance_ms(&clock_of_conn, 3);
        turn();
        if (!ks_list_is_empty(&loop.conns) && ks_list_is_empty(&conn->out))
            return false; /* it has taken everything */
        event_base_loop(loop.base, EVLOOP_ONCE);
        if (ks_list_is_empty(&loop.conns))
            return true;
    }
    return false;
}

START_TEST(peer_that_reads_too_slowly_is_cut_off)
{
    set_up();
    live.limits_write_timeout = 60;
    live.limits_write_rate = 100u << 20; /* 6 MiB in that time */
    ck_assert(drip_until_closed(30000, 28));
    ck_assert_str_eq(event_last, "connection.reads_too_slowly");
    tear_down();
}
END_TEST

START_TEST(peer_that_reads_slowly_but_enough_is_not)
{
    set_up();
    live.limits_write_timeout = 60;
    live.limits_write_rate = 1024;
    ck_assert(!drip_until_closed(30000, 28));
    ck_assert_str_eq(event_last, "");
    tear_down();
}
END_TEST

/* The memory it holds is what others wait for. */
START_TEST(peer_that_does_not_read_goes_first_when_memory_is_short)
{
    set_up();
    live.limits_write_timeout = 1000000;
    ck_assert(!drip_until_closed(0, 1));
    atomic_store(&shared.is_memory_short, true);
    ks_fake_clock_advance_ms(&clock_of_conn, 5000);
    while (!ks_list_is_empty(&loop.conns))
        event_base_loop(loop.base, EVLOOP_ONCE);
    ck_assert_str_eq(event_last, "connection.holds_memory");
    tear_down();
}
END_TEST

START_TEST(idle_connections_go_and_busy_ones_stay)
{
    uint8_t frame[128];
    set_up();
    is_holding = true;
    push(frame, frame_make(frame, 50));
    ks_fake_clock_advance_ms(&clock_of_conn, 5000);
    ks_conn_sweep_idle(&loop, 4000);
    ck_assert(!ks_list_is_empty(&loop.conns)); /* its request is under way */
    ks_conn_call_end(conn, 50);
    is_holding = false;
    push(frame, frame_make(frame, 50));
    ks_fake_clock_advance_ms(&clock_of_conn, 3000);
    ks_conn_sweep_idle(&loop, 4000);
    ck_assert(!ks_list_is_empty(&loop.conns));
    ks_fake_clock_advance_ms(&clock_of_conn, 1000);
    ks_conn_sweep_idle(&loop, 4000);
    ck_assert(ks_list_is_empty(&loop.conns));
    tear_down();
}
END_TEST

/* Ten thousand requests of one connection come before one of another: it does not wait for them. */
START_TEST(a_flood_of_small_requests_takes_turns_with_others)
{
    enum { FLOOD = 10000 };
    static uint8_t flood[FLOOD * 5];
    uint8_t frame[64];
    struct ks_conn *other;
    int pair[2];
    set_up();
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    atomic_fetch_add(&shared.connections, 1);
    ck_assert_int_eq(ks_conn_open(&loop, pair[0], &protocol, "other", &other, NULL), KS_OK);
    size_t bytes = 0;
    for (int i = 0; i < FLOOD; i++)
        bytes += frame_make(flood + bytes, 1);
    ck_assert_int_eq(write(peer, flood, bytes), (ssize_t)bytes);
    size_t one = frame_make(frame, 40);
    ck_assert_int_eq(write(pair[1], frame, one), (ssize_t)one);
    uint32_t before = 0;
    frame_bytes_last = 0;
    while (frame_bytes_last != 40 && frames < FLOOD) {
        before = frames;
        event_base_loop(loop.base, EVLOOP_NONBLOCK);
    }
    ck_assert_uint_le(before, 1024);
    while (frames < FLOOD + 1)
        event_base_loop(loop.base, EVLOOP_NONBLOCK);
    ck_assert_ptr_null(conn->in.bytes);
    close(pair[1]);
    tear_down();
}
END_TEST

struct wish {
    struct ks_conn_room room; /* first member */
    bool is_granted;
};

static void wish_granted(struct ks_conn_room *room)
{
    KS_CONTAINER_OF(room, struct wish, room)->is_granted = true;
}

START_TEST(room_for_answers_is_given_in_order_as_it_comes_free)
{
    static struct wish wishes[4];
    set_up();
    memset(wishes, 0, sizeof(wishes));
    for (int i = 0; i < 4; i++)
        wishes[i].room.granted = wish_granted;
    live.limits_in_flight = 1000; /* so that a second one waits */
    ck_assert(ks_conn_room_take(conn, &wishes[0].room, 1000));
    for (int i = 1; i < 4; i++)
        ck_assert(!ks_conn_room_take(conn, &wishes[i].room, 1000));
    ks_conn_feed_starved(&loop);
    ck_assert(!wishes[1].is_granted);
    ks_conn_room_end(conn, &wishes[2].room); /* gives up waiting */
    ks_conn_room_end(conn, &wishes[0].room);
    while (!wishes[1].is_granted)
        event_base_loop(loop.base, EVLOOP_ONCE);
    ck_assert(!wishes[3].is_granted);
    ks_conn_room_end(conn, &wishes[1].room);
    while (!wishes[3].is_granted)
        event_base_loop(loop.base, EVLOOP_ONCE);
    ck_assert(!wishes[2].is_granted);
    ck_assert_uint_eq(shared.output.used_bytes, 1000);
    ks_conn_room_end(conn, &wishes[3].room);
    tear_down();
}
END_TEST

START_TEST(room_waits_for_others_to_give_up_theirs)
{
    static struct wish wish;
    set_up();
    memset(&wish, 0, sizeof(wish));
    wish.room.granted = wish_granted;
    ks_budget_force(&shared.output, 32u << 20);
    ck_assert(ks_conn_is_output_short(conn));
    ck_assert(!ks_conn_room_take(conn, &wish.room, 1000));
    ks_budget_release(&shared.output, 32u << 20);
    while (!wish.is_granted)
        event_base_loop(loop.base, EVLOOP_ONCE);
    ks_conn_room_end(conn, &wish.room);
    tear_down();
}
END_TEST

/* Half of the memory for requests is shared by who is busy. */
START_TEST(busy_connections_share_the_memory_of_requests)
{
    uint8_t *frame = ks_malloc(2 * (400000 + 4));
    set_up();
    live.limits_in_flight = 16u << 20;
    is_holding = true;
    size_t bytes = frame_make(frame, 400000);
    bytes += frame_make(frame + bytes, 400000);
    atomic_fetch_add(&shared.busy, 63); /* each gets 256 KiB */
    size_t sent = 0;
    for (int i = 0; i < 100 && sent < bytes; i++) {
        ssize_t n = write(peer, frame + sent, bytes - sent);
        sent += n > 0 ? (size_t)n : 0;
        turn();
    }
    ck_assert_uint_eq(frames, 1);
    atomic_fetch_sub(&shared.busy, 63);
    while (frames < 2) { /* looked at again without an end of its own requests */
        ssize_t n = write(peer, frame + sent, bytes - sent);
        sent += n > 0 ? (size_t)n : 0;
        event_base_loop(loop.base, EVLOOP_ONCE);
    }
    ks_conn_call_end(conn, 400000);
    ks_conn_call_end(conn, 400000);
    ck_assert_uint_eq(shared.busy, 0);
    ks_free(frame);
    tear_down();
}
END_TEST

START_TEST(large_frames_leave_a_quarter_of_the_memory_alone)
{
    size_t bytes = 2u << 20;
    uint8_t *frame = ks_malloc(bytes + 4);
    set_up();
    ks_budget_force(&shared.input, 24u << 20);
    frame_make(frame, bytes);
    for (size_t sent = 0; sent < 300000 && !ks_list_is_linked(&conn->starve_link);) {
        ssize_t n = write(peer, frame + sent, 300000 - sent);
        sent += n > 0 ? (size_t)n : 0;
        turn();
    }
    ck_assert(ks_list_is_linked(&conn->starve_link));
    ks_conn_close(conn, "test");
    ks_budget_release(&shared.input, 24u << 20);
    tear_down();
    set_up();
    ks_budget_force(&shared.input, 24u << 20);
    frame_make(frame, 1000000);
    push(frame, 1000004);
    ck_assert_uint_eq(frames, 1);
    ks_budget_release(&shared.input, 24u << 20);
    ks_free(frame);
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

START_TEST(frames_held_back_by_the_number_of_calls_go_on_when_calls_end)
{
    enum { MORE = 10 };
    uint8_t *bytes = ks_malloc((KS_CONN_CALLS_MAX + MORE) * 5);
    size_t total = 0;
    set_up();
    is_holding = true;
    for (uint32_t i = 0; i < KS_CONN_CALLS_MAX + MORE; i++)
        total += frame_make(bytes + total, 1);
    /* One read takes them all; nothing more will ever arrive to wake the connection. */
    push(bytes, total);
    ck_assert_uint_eq(frames, KS_CONN_CALLS_MAX);
    for (uint32_t i = 0; i < MORE; i++) {
        ks_conn_call_end(conn, 1);
        turn();
        ck_assert_uint_eq(frames, KS_CONN_CALLS_MAX + i + 1);
    }
    while (conn->calls > 0)
        ks_conn_call_end(conn, 1);
    ck_assert_ptr_null(conn->in.bytes);
    ks_free(bytes);
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
    KS_TEST(half_a_frame_lives_as_long_as_it_comes_at_the_rate);
    KS_TEST(peer_that_reads_too_slowly_is_cut_off);
    KS_TEST(peer_that_reads_slowly_but_enough_is_not);
    KS_TEST(peer_that_does_not_read_goes_first_when_memory_is_short);
    KS_TEST(idle_connections_go_and_busy_ones_stay);
    KS_TEST(a_flood_of_small_requests_takes_turns_with_others);
    KS_TEST(room_for_answers_is_given_in_order_as_it_comes_free);
    KS_TEST(room_waits_for_others_to_give_up_theirs);
    KS_TEST(busy_connections_share_the_memory_of_requests);
    KS_TEST(large_frames_leave_a_quarter_of_the_memory_alone);
    KS_TEST(peer_that_never_reads_is_read_no_further);
    KS_TEST(unanswered_requests_hold_back_the_next_until_they_end);
    KS_TEST(frames_held_back_by_the_number_of_calls_go_on_when_calls_end);
    KS_TEST(without_input_memory_a_large_frame_waits_and_others_go_on);
    KS_TEST(closing_under_way_keeps_the_memory_of_calls);
    KS_TEST(half_closed_peer_gets_its_answers);
}
