/* A connection's life and its way in: bytes to frames, within budgets and in turns. */
#include "daemon/conn.h"

#include "base/alloc.h"
#include "daemon/conn_priv.h"
#include "proto/frame.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define LOOK_AGAIN_MS 20
/* One connection's turn: then others have theirs, however much more it has sent. */
#define TURN_FRAMES 256u
#define TURN_BYTES (64u * 1024)
#define READ_BYTES_MAX (512u * 1024)
/* A frame this large must leave a quarter of the memory to smaller ones. */
#define LARGE_FRAME_BYTES (1u << 20)
#define INPUT_SHARE_BYTES_MIN (256u * 1024)
/* Of a request as large as this only the beginning comes through the slab, the rest is received
 * where it stays: copying it costs more than another read. */
#define DIRECT_FRAME_BYTES (64u * 1024)
#define FRAME_BEGIN_BYTES 4096u

/* All busy connections together get half of the memory; the other half is for what is on its way
 * in. */
uint64_t ks_conn_in_flight_max(const struct ks_conn *conn)
{
    const struct ks_loop_shared *shared = conn->loop->shared;
    uint64_t busy = ks_max_u64(1, atomic_load_explicit(&shared->busy, memory_order_relaxed));
    uint64_t share =
        atomic_load_explicit(&shared->input.bytes_max, memory_order_relaxed) / 2 / busy;
    return ks_min_u64(ks_max_u64(share, INPUT_SHARE_BYTES_MIN), shared->live->limits_in_flight);
}

static bool conn_is_within_share(const struct ks_conn *conn)
{
    return conn->in_flight_bytes == 0 || (conn->in_flight_bytes < ks_conn_in_flight_max(conn) &&
                                             !ks_budget_is_over(&conn->loop->shared->input));
}

static bool conn_may_consume(const struct ks_conn *conn)
{
    return !conn->is_closed && !conn->is_input_over && conn->calls < KS_CONN_CALLS_MAX &&
           conn->out_bytes < conn->loop->shared->live->limits_output &&
           !ks_put_flow_is_full(&conn->puts) && conn_is_within_share(conn);
}

static void conn_free_if_over(struct ks_conn *conn)
{
    if (conn->is_closed && conn->calls == 0 && conn->holds == 0 && !conn->is_consuming)
        ks_free(conn);
}

static void conn_drop_input(struct ks_conn *conn)
{
    ks_budget_release(&conn->loop->shared->input, conn->in.reserved);
    ks_free(conn->in.bytes);
    conn->in = (struct ks_conn_input){.bytes = NULL};
    event_del(&conn->frame_timer);
    if (ks_list_is_linked(&conn->turn_link))
        ks_list_remove(&conn->turn_link);
}

bool ks_conn_let_go(struct ks_conn *conn)
{
    conn->holds--;
    if (!conn->is_closed)
        return true;
    conn_free_if_over(conn);
    return false;
}

static void conn_end_waits(struct ks_conn *conn)
{
    ks_conn_hold(conn);
    if (conn->protocol->on_end)
        conn->protocol->on_end(conn);
    KS_IGNORE(ks_conn_let_go(conn), "the caller does nothing more with it");
}

void ks_conn_close(struct ks_conn *conn, const char *why)
{
    if (conn->is_closed)
        return;
    struct ks_loop *loop = conn->loop;
    ks_emit(loop->shared->events, KS_LEVEL_DEBUG, "connection.closed", "peer=%s why=\"%s\"",
        conn->peer, why);
    conn->is_closed = true;
    event_del(&conn->read_event);
    conn_drop_input(conn);
    ks_conn_output_drop(conn);
    if (ks_list_is_linked(&conn->starve_link))
        ks_list_remove(&conn->starve_link);
    ks_list_remove(&conn->link);
    close(conn->fd);
    conn->fd = -1;
    atomic_fetch_sub(&loop->shared->connections, 1);
    ks_loop_check_end(loop);
    conn_end_waits(conn);
}

bool ks_conn_close_if_done(struct ks_conn *conn)
{
    if (conn->is_closed || !conn->is_input_over || conn->calls > 0 || conn->holds > 0 ||
        !ks_list_is_empty(&conn->out) || conn->is_consuming)
        return false;
    ks_conn_close(conn, "done");
    return true;
}

static void conn_end_input(struct ks_conn *conn)
{
    conn->is_input_over = true;
    event_del(&conn->read_event);
    conn_drop_input(conn);
}

void ks_conn_drain(struct ks_conn *conn)
{
    conn_end_input(conn);
    ks_conn_close_if_done(conn);
}

/* ---- input ---- */

/* Hands whole frames to the protocol until the bytes, the credit, the turn or the connection end.
 * Returns the bytes taken. */
static size_t conn_consume(struct ks_conn *conn, const uint8_t *data, size_t bytes)
{
    size_t at = 0;
    conn->is_consuming = true;
    while (conn_may_consume(conn)) {
        struct ks_error error = KS_ERROR_INIT;
        struct ks_frame frame;
        enum ks_status st = ks_frame_parse(ks_view_of(data + at, bytes - at), &frame, &error);
        if (st) {
            conn_end_input(conn);
            conn->protocol->on_bad_input(conn, &error);
            break;
        }
        if (!frame.is_complete)
            break;
        if (conn->turn_frames_left == 0 || conn->turn_bytes_left == 0) {
            conn->is_turn_over = true;
            break;
        }
        conn->turn_frames_left--;
        conn->turn_bytes_left -= KS_MIN(conn->turn_bytes_left, frame.frame_bytes);
        at += frame.frame_bytes;
        event_del(&conn->frame_timer);
        st = conn->protocol->on_frame(conn, frame.body, &error);
        if (st && !conn->is_closed) {
            conn_end_input(conn);
            break;
        }
    }
    conn->is_consuming = false;
    return at;
}

static size_t kept_bytes(const struct ks_conn *conn)
{
    return conn->in.end - conn->in.begin;
}

/* How long the first frame of what is kept will be; its length alone while that is not known. */
static size_t kept_frame_bytes(const struct ks_conn *conn)
{
    struct ks_frame frame;
    struct ks_view kept = ks_view_of(conn->in.bytes + conn->in.begin, kept_bytes(conn));
    if (ks_frame_parse(kept, &frame, NULL) || frame.frame_bytes == 0)
        return KS_FRAME_LENGTH_BYTES;
    return frame.frame_bytes;
}

static bool has_kept_frame(const struct ks_conn *conn)
{
    return conn->in.bytes && kept_bytes(conn) >= kept_frame_bytes(conn);
}

/* The frame at the head of in must arrive within frame_timeout and the time of what has come of it:
 * who sends nothing is cut off soon, however much was announced. */
static uint64_t frame_deadline_ms(const struct ks_conn *conn)
{
    const struct ks_live *live = conn->loop->shared->live;
    return conn->frame_mono_ms + live->limits_frame_timeout +
           kept_bytes(conn) * 1000 / live->limits_frame_rate;
}

static void conn_arm_frame_timer(struct ks_conn *conn)
{
    if (event_pending(&conn->frame_timer, EV_TIMEOUT, NULL))
        return;
    conn->frame_mono_ms = ks_conn_now_ms(conn);
    struct timeval timeout = ks_timeval_of_ms(conn->loop->shared->live->limits_frame_timeout);
    event_add(&conn->frame_timer, &timeout);
}

void ks_conn_look_again(struct ks_conn *conn)
{
    struct ks_loop *loop = conn->loop;
    if (ks_list_is_linked(&conn->starve_link))
        return;
    ks_list_push(&loop->starved, &conn->starve_link);
    if (event_pending(&loop->starve_timer, EV_TIMEOUT, NULL))
        return;
    struct timeval retry = ks_timeval_of_ms(LOOK_AGAIN_MS);
    event_add(&loop->starve_timer, &retry);
}

static void conn_starve(struct ks_conn *conn)
{
    event_del(&conn->read_event);
    event_del(&conn->frame_timer); /* waiting for us is not the peer's fault */
    if (!conn->is_starving)
        ks_emit(conn->loop->shared->events, KS_LEVEL_NOTICE, "connection.waits_for_input_memory",
            "peer=%s", conn->peer);
    conn->is_starving = true;
    ks_conn_look_again(conn);
}

/* A large frame leaves room for others: hoarders of half frames cannot take it all. */
static bool conn_reserve_input(struct ks_conn *conn, size_t wanted)
{
    struct ks_budget *input = &conn->loop->shared->input;
    uint64_t max = atomic_load_explicit(&input->bytes_max, memory_order_relaxed);
    return ks_budget_reserve_below(
        input, wanted - conn->in.reserved, wanted > LARGE_FRAME_BYTES ? max / 4 * 3 : max);
}

/* What is kept moves to the front, with capacity for bytes. False: memory is out, it is closed. */
static bool conn_grow(struct ks_conn *conn, size_t bytes)
{
    struct ks_conn_input *in = &conn->in;
    if (in->begin > 0)
        memmove(in->bytes, in->bytes + in->begin, in->end - in->begin);
    in->end -= in->begin;
    in->begin = 0;
    if (bytes <= in->capacity)
        return true;
    uint8_t *larger = ks_realloc(in->bytes, bytes);
    if (!larger) {
        ks_conn_close(conn, "out of memory");
        return false;
    }
    in->bytes = larger;
    in->capacity = bytes;
    return true;
}

/*
 * Gives conn->in the room for its first frame, after the whole length has been reserved. False: the
 * budget has no room, the connection waits on the starved list; or memory is out and it is closed.
 */
static bool conn_make_room(struct ks_conn *conn)
{
    size_t wanted = KS_MAX(kept_frame_bytes(conn), kept_bytes(conn));
    if (wanted > conn->in.reserved) {
        if (!conn_reserve_input(conn, wanted)) {
            conn_starve(conn);
            return false;
        }
        conn->in.reserved = wanted;
        conn->is_starving = false;
    }
    conn->has_large_frames = wanted >= DIRECT_FRAME_BYTES;
    return conn->in.begin + wanted <= conn->in.capacity || conn_grow(conn, wanted);
}

/* Keeps what was received and not consumed. What is here already counts in any case. */
static void conn_keep(struct ks_conn *conn, const uint8_t *data, size_t bytes)
{
    struct ks_conn_input *in = &conn->in;
    if (bytes == 0 || conn->is_closed || conn->is_input_over)
        return;
    size_t total = kept_bytes(conn) + bytes;
    if (in->end + bytes > in->capacity && !conn_grow(conn, total))
        return;
    memcpy(in->bytes + in->end, data, bytes);
    in->end += bytes;
    if (total > in->reserved) {
        ks_budget_force(&conn->loop->shared->input, total - in->reserved);
        in->reserved = total;
    }
}

/* Consumes from conn->in; afterwards it is gone, or begins with a frame that cannot go on now. */
static void conn_consume_kept(struct ks_conn *conn)
{
    if (!conn->in.bytes)
        return;
    /* The buffer is the frame's memory while it is worked on: detached, so that nothing frees it
     * underneath. */
    struct ks_conn_input in = conn->in;
    conn->in = (struct ks_conn_input){.bytes = NULL};
    in.begin += conn_consume(conn, in.bytes + in.begin, in.end - in.begin);
    if (in.begin < in.end && !conn->is_closed && !conn->is_input_over) {
        conn->in = in;
        return;
    }
    ks_budget_release(&conn->loop->shared->input, in.reserved);
    ks_free(in.bytes);
}

/* Whole frames are here and wait for the next turn. */
static void conn_wait_turn(struct ks_conn *conn)
{
    struct ks_loop *loop = conn->loop;
    event_del(&conn->read_event);
    ks_loop_next_turn(loop);
    if (!ks_list_is_linked(&conn->turn_link))
        ks_list_push(&loop->turns, &conn->turn_link);
}

/* After consuming: read on, or wait for a reason. */
static void conn_settle(struct ks_conn *conn)
{
    if (conn->is_closed || ks_conn_close_if_done(conn) || conn->is_input_over)
        return;
    if (!conn_may_consume(conn)) {
        conn->is_paused = true;
        event_del(&conn->read_event);
        event_del(&conn->frame_timer);
        /* The end of one of its calls resumes it; but others may have to make room. */
        if (!conn_is_within_share(conn))
            ks_conn_look_again(conn);
        return;
    }
    conn->is_paused = false;
    if (conn->is_turn_over || has_kept_frame(conn)) {
        conn_wait_turn(conn);
        return;
    }
    if (conn->in.bytes) {
        if (!conn_make_room(conn))
            return;
        conn_arm_frame_timer(conn);
    }
    event_add(&conn->read_event, NULL);
}

static void conn_begin_turn(struct ks_conn *conn)
{
    conn->turn_frames_left = TURN_FRAMES;
    conn->turn_bytes_left = TURN_BYTES;
    conn->is_turn_over = false;
}

/* What is kept goes on. */
static void conn_go_on(struct ks_conn *conn)
{
    ks_conn_hold(conn);
    conn_begin_turn(conn);
    conn_consume_kept(conn);
    if (ks_conn_let_go(conn))
        conn_settle(conn);
}

static void conn_go_on_with_puts(struct ks_conn *conn)
{
    ks_conn_hold(conn);
    ks_put_flow_go(&conn->loop->puts, &conn->puts);
    if (ks_conn_let_go(conn) && !ks_conn_close_if_done(conn))
        ks_conn_resume(conn);
}

void ks_conn_take_turns(struct ks_loop *loop)
{
    struct ks_list waiting;
    struct ks_list *node;
    ks_list_init(&waiting);
    ks_list_splice(&waiting, &loop->turns);
    while ((node = ks_list_pop(&waiting)))
        conn_go_on(KS_CONTAINER_OF(node, struct ks_conn, turn_link));
    ks_put_lane_take(&loop->puts, &waiting);
    while ((node = ks_list_pop(&waiting)))
        conn_go_on_with_puts(KS_CONTAINER_OF(node, struct ks_conn, puts.link));
}

static void conn_readable(evutil_socket_t fd, short what, void *arg)
{
    struct ks_conn *conn = arg;
    struct ks_loop *loop = conn->loop;
    struct iovec iov[2];
    int count = 0;
    /* The rest of a begun frame goes where it belongs, what is behind it to the slab. */
    KS_ASSERT(!has_kept_frame(conn));
    size_t room = conn->in.bytes ? kept_frame_bytes(conn) - kept_bytes(conn) : 0;
    room = KS_MIN(room, (size_t)READ_BYTES_MAX);
    (void)what;
    if (room > 0)
        iov[count++] = (struct iovec){.iov_base = conn->in.bytes + conn->in.end, .iov_len = room};
    if (room < READ_BYTES_MAX)
        iov[count++] = (struct iovec){.iov_base = loop->slab,
            .iov_len = conn->has_large_frames ? FRAME_BEGIN_BYTES : KS_SLAB_BYTES};
    ssize_t n = readv(fd, iov, count);
    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR)
            ks_conn_close(conn, strerror(errno));
        return;
    }
    if (n == 0) {
        /* It may have shut down only its sending side: answers still go out. */
        conn_end_input(conn);
        if (!ks_conn_close_if_done(conn))
            conn_end_waits(conn);
        return;
    }
    size_t kept = KS_MIN((size_t)n, room);
    size_t fresh = (size_t)n - kept;
    conn->in.end += kept;
    conn->active_mono_ms = ks_conn_now_ms(conn);
    ks_conn_hold(conn);
    conn_begin_turn(conn);
    conn_consume_kept(conn);
    if (!conn->in.bytes && fresh > 0) {
        size_t taken = conn_consume(conn, loop->slab, fresh);
        conn->has_large_frames = conn->has_large_frames && taken == 0;
        conn_keep(conn, loop->slab + taken, fresh - taken);
    } else if (fresh > 0) {
        conn_keep(conn, loop->slab, fresh);
        conn_consume_kept(conn);
    }
    if (ks_conn_let_go(conn))
        conn_settle(conn);
}

static void conn_frame_late(evutil_socket_t fd, short what, void *arg)
{
    struct ks_conn *conn = arg;
    uint64_t now_ms = ks_conn_now_ms(conn);
    uint64_t deadline_ms = frame_deadline_ms(conn);
    (void)fd, (void)what;
    if (now_ms < deadline_ms) {
        struct timeval left = ks_timeval_of_ms(deadline_ms - now_ms);
        event_add(&conn->frame_timer, &left);
        return;
    }
    ks_emit(conn->loop->shared->events, KS_LEVEL_WARNING, "connection.frame_too_slow",
        "peer=%s received_bytes=%zu frame_bytes=%zu", conn->peer, kept_bytes(conn),
        kept_frame_bytes(conn));
    ks_conn_close(conn, "a request arrived too slowly");
}

void ks_conn_feed_starved(struct ks_loop *loop)
{
    struct ks_list waiting;
    struct ks_list *node;
    ks_list_init(&waiting);
    ks_list_splice(&waiting, &loop->starved);
    while ((node = ks_list_pop(&waiting))) {
        struct ks_conn *conn = KS_CONTAINER_OF(node, struct ks_conn, starve_link);
        ks_conn_hold(conn);
        ks_conn_feed_rooms(conn);
        if (!ks_conn_let_go(conn))
            continue;
        if (conn->is_paused)
            ks_conn_resume(conn);
        else
            conn_settle(conn);
    }
}

void ks_conn_resume(struct ks_conn *conn)
{
    if (!conn->is_paused || conn->is_consuming || conn->is_closed)
        return;
    if (!conn_may_consume(conn)) {
        if (!conn_is_within_share(conn))
            ks_conn_look_again(conn);
        return;
    }
    conn->is_paused = false;
    conn_go_on(conn);
}

void ks_conn_sweep_idle(struct ks_loop *loop, uint64_t idle_ms)
{
    uint64_t now_ms = ks_clock_mono_ns(loop->shared->clock) / 1000000;
    KS_LIST_FOR_EACH_SAFE(node, &loop->conns)
    {
        struct ks_conn *conn = KS_CONTAINER_OF(node, struct ks_conn, link);
        bool is_idle = conn->calls == 0 && !conn->in.bytes && ks_list_is_empty(&conn->out);
        if (is_idle && now_ms - conn->active_mono_ms >= idle_ms)
            ks_conn_close(conn, "idle");
    }
}

void ks_conn_call_begin(struct ks_conn *conn, uint64_t bytes)
{
    conn->calls++;
    if (conn->in_flight_bytes == 0 && bytes > 0)
        atomic_fetch_add_explicit(&conn->loop->shared->busy, 1, memory_order_relaxed);
    conn->in_flight_bytes += bytes;
    ks_budget_force(&conn->loop->shared->input, bytes);
}

void ks_conn_call_end(struct ks_conn *conn, uint64_t bytes)
{
    KS_ASSERT(conn->calls > 0);
    KS_ASSERT(conn->in_flight_bytes >= bytes);
    conn->calls--;
    conn->in_flight_bytes -= bytes;
    if (conn->in_flight_bytes == 0 && bytes > 0)
        atomic_fetch_sub_explicit(&conn->loop->shared->busy, 1, memory_order_relaxed);
    ks_budget_release(&conn->loop->shared->input, bytes);
    if (conn->is_closed)
        conn_free_if_over(conn);
    else if (!ks_conn_close_if_done(conn))
        ks_conn_resume(conn);
}

/* ---- life ---- */

enum ks_status ks_conn_open(struct ks_loop *loop, int fd, const struct ks_conn_protocol *protocol,
    const char *peer, struct ks_conn **out_conn, struct ks_error *err)
{
    struct ks_conn *conn = ks_zalloc(sizeof(*conn));
    if (!conn) {
        close(fd);
        atomic_fetch_sub(&loop->shared->connections, 1);
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot take a connection");
    }
    conn->loop = loop;
    conn->protocol = protocol;
    conn->fd = fd;
    strncpy(conn->peer, peer, sizeof(conn->peer) - 1);
    conn->active_mono_ms = ks_conn_now_ms(conn);
    ks_list_init(&conn->requests);
    ks_list_init(&conn->queued_puts);
    ks_put_flow_init(&conn->puts);
    ks_conn_output_init(conn);
    event_assign(&conn->read_event, loop->base, fd, EV_READ | EV_PERSIST, conn_readable, conn);
    event_assign(&conn->frame_timer, loop->base, -1, 0, conn_frame_late, conn);
    ks_list_push(&loop->conns, &conn->link);
    if (event_add(&conn->read_event, NULL) < 0) {
        ks_conn_close(conn, "cannot be watched");
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot watch a connection");
    }
    *out_conn = conn;
    return KS_OK;
}
