#include "daemon/conn.h"

#include "base/alloc.h"
#include "daemon/config.h"
#include "daemon/loop.h"
#include "proto/frame.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define WRITE_PARTS_MAX 64
#define STARVE_RETRY_MS 20

static struct timeval timeval_of_ms(uint64_t ms)
{
    return (struct timeval){
        .tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000 * 1000)};
}

static bool conn_may_consume(const struct ks_conn *conn)
{
    const struct ks_loop_shared *shared = conn->loop->shared;
    return !conn->is_closed && !conn->is_input_over && conn->calls < KS_CONN_CALLS_MAX &&
           conn->in_flight_bytes < shared->live->limits_in_flight &&
           conn->out_bytes < shared->live->limits_output;
}

static void conn_free_if_over(struct ks_conn *conn)
{
    if (conn->is_closed && conn->calls == 0 && !conn->is_consuming)
        ks_free(conn);
}

static void conn_drop_input(struct ks_conn *conn)
{
    ks_budget_release(&conn->loop->shared->input, conn->in_reserved);
    ks_free(conn->in);
    conn->in = NULL;
    conn->in_bytes = 0;
    conn->in_capacity = 0;
    conn->in_reserved = 0;
    event_del(&conn->frame_timer);
    if (ks_list_is_linked(&conn->starve_link))
        ks_list_remove(&conn->starve_link);
}

static void conn_end_waits(struct ks_conn *conn)
{
    conn->calls++; /* keeps the connection's memory while its calls end */
    if (conn->protocol->on_end)
        conn->protocol->on_end(conn);
    conn->calls--;
    conn_free_if_over(conn);
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
    event_del(&conn->write_event);
    event_del(&conn->write_timer);
    conn_drop_input(conn);
    struct ks_list *node;
    while ((node = ks_list_pop(&conn->out))) {
        struct ks_output *output = KS_CONTAINER_OF(node, struct ks_output, link);
        output->release(output);
    }
    ks_budget_release(&loop->shared->output, conn->out_bytes);
    conn->out_bytes = 0;
    if (ks_list_is_linked(&conn->dirty_link))
        ks_list_remove(&conn->dirty_link);
    ks_list_remove(&conn->link);
    close(conn->fd);
    conn->fd = -1;
    atomic_fetch_sub(&loop->shared->connections, 1);
    ks_loop_check_end(loop);
    conn_end_waits(conn);
}

/* After the last frame: closes once nothing is owed any more. True when it closed. */
static bool conn_close_if_done(struct ks_conn *conn)
{
    if (conn->is_closed || !conn->is_input_over || conn->calls > 0 ||
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
    conn_close_if_done(conn);
}

/* ---- input ---- */

/* Hands whole frames to the protocol until the bytes, the credit or the connection end. Returns the
 * bytes taken. */
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

/* How long the first frame of data will be; its length alone while that is not known. */
static size_t frame_bytes_of(const uint8_t *data, size_t bytes)
{
    struct ks_frame frame;
    if (ks_frame_parse(ks_view_of(data, bytes), &frame, NULL) || frame.frame_bytes == 0)
        return KS_FRAME_LENGTH_BYTES;
    return frame.frame_bytes;
}

static void conn_arm_frame_timer(struct ks_conn *conn, size_t frame_bytes)
{
    const struct ks_loop_shared *shared = conn->loop->shared;
    if (event_pending(&conn->frame_timer, EV_TIMEOUT, NULL))
        return;
    uint64_t ms =
        shared->live->limits_frame_timeout + frame_bytes * 1000 / shared->live->limits_frame_rate;
    struct timeval timeout = timeval_of_ms(ms);
    event_add(&conn->frame_timer, &timeout);
}

static void conn_starve(struct ks_conn *conn)
{
    struct ks_loop *loop = conn->loop;
    event_del(&conn->read_event);
    event_del(&conn->frame_timer); /* waiting for us is not the peer's fault */
    if (ks_list_is_linked(&conn->starve_link))
        return;
    if (!conn->is_starving)
        ks_emit(loop->shared->events, KS_LEVEL_NOTICE, "connection.waits_for_input_memory",
            "peer=%s", conn->peer);
    conn->is_starving = true;
    ks_list_push(&loop->starved, &conn->starve_link);
    struct timeval retry = timeval_of_ms(STARVE_RETRY_MS);
    event_add(&loop->starve_timer, &retry);
}

/*
 * Gives conn->in the room for its first frame, after the whole length has been reserved. False: the
 * budget has no room, the connection waits on the starved list; or memory is out and it is closed.
 */
static bool conn_make_room(struct ks_conn *conn)
{
    size_t wanted = KS_MAX(frame_bytes_of(conn->in, conn->in_bytes), conn->in_bytes);
    if (wanted > conn->in_reserved) {
        if (!ks_budget_reserve(&conn->loop->shared->input, wanted - conn->in_reserved)) {
            conn_starve(conn);
            return false;
        }
        conn->in_reserved = wanted;
        conn->is_starving = false;
    }
    if (wanted <= conn->in_capacity)
        return true;
    uint8_t *larger = ks_realloc(conn->in, wanted);
    if (!larger) {
        ks_conn_close(conn, "out of memory");
        return false;
    }
    conn->in = larger;
    conn->in_capacity = wanted;
    return true;
}

/* Keeps what was received and not consumed. What is here already counts in any case. */
static void conn_keep(struct ks_conn *conn, const uint8_t *data, size_t bytes)
{
    if (bytes == 0 || conn->is_closed || conn->is_input_over)
        return;
    size_t total = conn->in_bytes + bytes;
    if (total > conn->in_capacity) {
        uint8_t *larger = ks_realloc(conn->in, total);
        if (!larger) {
            ks_conn_close(conn, "out of memory");
            return;
        }
        conn->in = larger;
        conn->in_capacity = total;
    }
    memcpy(conn->in + conn->in_bytes, data, bytes);
    conn->in_bytes = total;
    if (total > conn->in_reserved) {
        ks_budget_force(&conn->loop->shared->input, total - conn->in_reserved);
        conn->in_reserved = total;
    }
}

/* Consumes from conn->in; afterwards it is gone, or begins with a frame that cannot go on now. */
static void conn_consume_kept(struct ks_conn *conn)
{
    if (!conn->in)
        return;
    /* The buffer is the frame's memory while it is worked on: detached, so that nothing frees it
     * underneath. */
    uint8_t *data = conn->in;
    size_t bytes = conn->in_bytes;
    size_t reserved = conn->in_reserved;
    size_t capacity = conn->in_capacity;
    conn->in = NULL;
    conn->in_bytes = 0;
    conn->in_capacity = 0;
    conn->in_reserved = 0;
    size_t taken = conn_consume(conn, data, bytes);
    struct ks_budget *input = &conn->loop->shared->input;
    if (taken == bytes || conn->is_closed || conn->is_input_over) {
        ks_budget_release(input, reserved);
        ks_free(data);
        return;
    }
    if (taken > 0)
        memmove(data, data + taken, bytes - taken);
    conn->in = data;
    conn->in_bytes = bytes - taken;
    conn->in_capacity = capacity;
    conn->in_reserved = reserved;
}

/* After consuming: read on, or wait for a reason. */
static void conn_settle(struct ks_conn *conn)
{
    if (conn->is_closed || conn_close_if_done(conn) || conn->is_input_over)
        return;
    if (!conn_may_consume(conn)) {
        conn->is_paused = true;
        event_del(&conn->read_event);
        event_del(&conn->frame_timer);
        return;
    }
    conn->is_paused = false;
    if (conn->in) {
        if (!conn_make_room(conn))
            return;
        conn_arm_frame_timer(conn, conn->in_capacity);
    }
    event_add(&conn->read_event, NULL);
}

static void conn_readable(evutil_socket_t fd, short what, void *arg)
{
    struct ks_conn *conn = arg;
    struct ks_loop *loop = conn->loop;
    struct iovec iov[2];
    int count = 0;
    size_t room = conn->in_capacity - conn->in_bytes;
    (void)what;
    if (room > 0)
        iov[count++] = (struct iovec){.iov_base = conn->in + conn->in_bytes, .iov_len = room};
    iov[count++] = (struct iovec){.iov_base = loop->slab, .iov_len = KS_SLAB_BYTES};
    ssize_t n = readv(fd, iov, count);
    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR)
            ks_conn_close(conn, strerror(errno));
        return;
    }
    if (n == 0) {
        /* It may have shut down only its sending side: answers still go out. */
        conn_end_input(conn);
        if (!conn_close_if_done(conn))
            conn_end_waits(conn);
        return;
    }
    size_t kept = KS_MIN((size_t)n, room);
    size_t fresh = (size_t)n - kept;
    conn->in_bytes += kept;
    conn->calls++; /* keeps the connection's memory until we are done here */
    conn_consume_kept(conn);
    if (!conn->in && fresh > 0) {
        size_t taken = conn_consume(conn, loop->slab, fresh);
        conn_keep(conn, loop->slab + taken, fresh - taken);
    } else if (fresh > 0) {
        conn_keep(conn, loop->slab, fresh);
        conn_consume_kept(conn);
    }
    conn->calls--;
    if (conn->is_closed)
        conn_free_if_over(conn);
    else
        conn_settle(conn);
}

static void conn_frame_late(evutil_socket_t fd, short what, void *arg)
{
    struct ks_conn *conn = arg;
    (void)fd, (void)what;
    ks_emit(conn->loop->shared->events, KS_LEVEL_WARNING, "connection.frame_too_slow",
        "peer=%s received_bytes=%zu frame_bytes=%zu", conn->peer, conn->in_bytes,
        conn->in_capacity);
    ks_conn_close(conn, "a request arrived too slowly");
}

void ks_conn_feed_starved(struct ks_loop *loop)
{
    struct ks_list waiting;
    struct ks_list *node;
    ks_list_init(&waiting);
    ks_list_splice(&waiting, &loop->starved);
    while ((node = ks_list_pop(&waiting)))
        conn_settle(KS_CONTAINER_OF(node, struct ks_conn, starve_link));
}

/* Credit came back: what was held back goes on, then reading does. */
static void conn_resume(struct ks_conn *conn)
{
    if (!conn->is_paused || conn->is_consuming || conn->is_closed || !conn_may_consume(conn))
        return;
    conn->is_paused = false;
    conn->calls++;
    conn_consume_kept(conn);
    conn->calls--;
    if (conn->is_closed)
        conn_free_if_over(conn);
    else
        conn_settle(conn);
}

void ks_conn_call_begin(struct ks_conn *conn, uint64_t bytes)
{
    conn->calls++;
    conn->in_flight_bytes += bytes;
    ks_budget_force(&conn->loop->shared->input, bytes);
}

void ks_conn_call_end(struct ks_conn *conn, uint64_t bytes)
{
    KS_ASSERT(conn->calls > 0);
    KS_ASSERT(conn->in_flight_bytes >= bytes);
    conn->calls--;
    conn->in_flight_bytes -= bytes;
    ks_budget_release(&conn->loop->shared->input, bytes);
    if (conn->is_closed)
        conn_free_if_over(conn);
    else if (!conn_close_if_done(conn))
        conn_resume(conn);
}

/* ---- output ---- */

bool ks_conn_promise(struct ks_conn *conn, uint64_t bytes)
{
    struct ks_loop_shared *shared = conn->loop->shared;
    if (conn->is_closed || conn->out_bytes >= shared->live->limits_output ||
        conn->promised_bytes >= shared->live->limits_in_flight ||
        !ks_budget_reserve(&shared->output, bytes))
        return false;
    conn->promised_bytes += bytes;
    return true;
}

void ks_conn_promise_end(struct ks_conn *conn, uint64_t bytes)
{
    KS_ASSERT(conn->promised_bytes >= bytes);
    conn->promised_bytes -= bytes;
    ks_budget_release(&conn->loop->shared->output, bytes);
}

void ks_conn_take_output(struct ks_conn *conn, struct ks_output *output)
{
    if (conn->is_closed) {
        output->release(output);
        return;
    }
    ks_list_push(&conn->out, &output->link);
    conn->out_bytes += output->bytes;
    ks_budget_force(&conn->loop->shared->output, output->bytes);
    if (ks_list_is_linked(&conn->dirty_link))
        return;
    /* Written at the end of this turn of the loop: the answers of one group commit leave in one
     * call. */
    if (ks_list_is_empty(&conn->loop->dirty))
        event_active(&conn->loop->flush_event, EV_TIMEOUT, 0);
    ks_list_push(&conn->loop->dirty, &conn->dirty_link);
}

static int output_gather(const struct ks_conn *conn, struct iovec iov[WRITE_PARTS_MAX])
{
    int count = 0;
    size_t bytes = 0;
    KS_LIST_FOR_EACH(node, &conn->out)
    {
        const struct ks_output *output = KS_CONTAINER_OF(node, struct ks_output, link);
        for (unsigned i = output->part; i < output->part_count; i++) {
            if (count == WRITE_PARTS_MAX || bytes >= KS_SLAB_BYTES)
                return count;
            iov[count] = output->parts[i];
            iov[count].iov_len = KS_MIN(iov[count].iov_len, KS_SLAB_BYTES - bytes);
            bytes += iov[count++].iov_len;
        }
    }
    return count;
}

static void output_advance(struct ks_conn *conn, size_t bytes)
{
    conn->out_bytes -= bytes;
    ks_budget_release(&conn->loop->shared->output, bytes);
    while (!ks_list_is_empty(&conn->out)) {
        struct ks_output *output = KS_CONTAINER_OF(conn->out.next, struct ks_output, link);
        while (output->part < output->part_count) {
            struct iovec *part = &output->parts[output->part];
            size_t step = KS_MIN(bytes, part->iov_len);
            part->iov_base = (char *)part->iov_base + step;
            part->iov_len -= step;
            output->bytes -= step;
            bytes -= step;
            if (part->iov_len > 0)
                return;
            output->part++;
        }
        ks_list_remove(&output->link);
        output->release(output);
    }
    KS_ASSERT(bytes == 0);
}

/* One turn: at most KS_SLAB_BYTES, so that a fast reader of a large answer does not keep others
 * waiting. */
void ks_conn_flush(struct ks_conn *conn)
{
    struct iovec iov[WRITE_PARTS_MAX];
    if (conn->is_closed)
        return;
    int count = output_gather(conn, iov);
    if (count > 0) {
        ssize_t n = writev(conn->fd, iov, count);
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            /* EFAULT: a mapped segment could not be read. The answer has begun, so it can only be
             * broken off. */
            if (errno == EFAULT)
                ks_emit(conn->loop->shared->events, KS_LEVEL_ERROR, "connection.segment_unreadable",
                    "peer=%s", conn->peer);
            ks_conn_close(conn, strerror(errno));
            return;
        }
        if (n > 0) {
            output_advance(conn, (size_t)n);
            event_del(&conn->write_timer);
        }
    }
    if (ks_list_is_empty(&conn->out)) {
        event_del(&conn->write_event);
        event_del(&conn->write_timer);
    } else {
        event_add(&conn->write_event, NULL);
        if (!event_pending(&conn->write_timer, EV_TIMEOUT, NULL)) {
            struct timeval timeout = timeval_of_ms(conn->loop->shared->live->limits_write_timeout);
            event_add(&conn->write_timer, &timeout);
        }
    }
    if (!conn_close_if_done(conn))
        conn_resume(conn);
}

static void conn_writable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    ks_conn_flush(arg);
}

static void conn_write_late(evutil_socket_t fd, short what, void *arg)
{
    struct ks_conn *conn = arg;
    (void)fd, (void)what;
    ks_emit(conn->loop->shared->events, KS_LEVEL_WARNING, "connection.never_reads",
        "peer=%s unread_bytes=%zu", conn->peer, conn->out_bytes);
    ks_conn_close(conn, "answers were not read");
}

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
    ks_list_init(&conn->out);
    ks_list_init(&conn->requests);
    event_assign(&conn->read_event, loop->base, fd, EV_READ | EV_PERSIST, conn_readable, conn);
    event_assign(&conn->write_event, loop->base, fd, EV_WRITE | EV_PERSIST, conn_writable, conn);
    event_assign(&conn->frame_timer, loop->base, -1, 0, conn_frame_late, conn);
    event_assign(&conn->write_timer, loop->base, -1, 0, conn_write_late, conn);
    ks_list_push(&loop->conns, &conn->link);
    if (event_add(&conn->read_event, NULL) < 0) {
        ks_conn_close(conn, "cannot be watched");
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot watch a connection");
    }
    *out_conn = conn;
    return KS_OK;
}
