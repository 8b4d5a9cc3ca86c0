/* The way out of a connection: answers by reference, room for those to come, peers that do not
 * read. */
#include "daemon/conn_priv.h"

#include <errno.h>
#include <string.h>

#define WRITE_PARTS_MAX 64
#define WRITE_TURN_BYTES (256u * 1024)
#define WRITE_TICK_MS 1000u
/* While memory is short, who takes nothing for so long is cut off: what it holds others wait for.
 */
#define PRESSED_TICKS 5u

/* ---- room ---- */

bool ks_conn_is_output_short(const struct ks_conn *conn)
{
    return ks_budget_is_over(&conn->loop->shared->output);
}

static bool room_is_there(struct ks_conn *conn, uint64_t bytes)
{
    struct ks_loop_shared *shared = conn->loop->shared;
    bool is_mine_free = conn->out_bytes < shared->live->limits_output &&
                        conn->room_bytes < shared->live->limits_in_flight;
    if (!is_mine_free || !ks_budget_reserve(&shared->output, bytes))
        return false;
    conn->room_bytes += bytes;
    return true;
}

bool ks_conn_room_take(struct ks_conn *conn, struct ks_conn_room *room, uint64_t bytes)
{
    KS_ASSERT(room->bytes == 0 && !ks_list_is_linked(&room->link));
    room->bytes = bytes;
    if (ks_list_is_empty(&conn->wanting) && room_is_there(conn, bytes))
        return true;
    ks_list_push(&conn->wanting, &room->link);
    ks_conn_look_again(conn); /* others may be those who hold it all */
    return false;
}

void ks_conn_room_end(struct ks_conn *conn, struct ks_conn_room *room)
{
    uint64_t bytes = room->bytes;
    room->bytes = 0;
    if (ks_list_is_linked(&room->link)) {
        ks_list_remove(&room->link);
        return;
    }
    KS_ASSERT(conn->room_bytes >= bytes);
    conn->room_bytes -= bytes;
    ks_budget_release(&conn->loop->shared->output, bytes);
}

void ks_conn_feed_rooms(struct ks_conn *conn)
{
    while (!conn->is_closed && !ks_list_is_empty(&conn->wanting)) {
        struct ks_conn_room *room = KS_CONTAINER_OF(conn->wanting.next, struct ks_conn_room, link);
        if (!room_is_there(conn, room->bytes)) {
            ks_conn_look_again(conn);
            return;
        }
        ks_list_remove(&room->link);
        room->granted(room);
    }
}

/* ---- the queue ---- */

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
            if (count == WRITE_PARTS_MAX || bytes >= WRITE_TURN_BYTES)
                return count;
            iov[count] = output->parts[i];
            iov[count].iov_len = KS_MIN(iov[count].iov_len, WRITE_TURN_BYTES - bytes);
            bytes += iov[count++].iov_len;
        }
    }
    return count;
}

static void output_advance(struct ks_conn *conn, size_t bytes)
{
    conn->out_bytes -= bytes;
    conn->write_taken_bytes += bytes;
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

/* What did not leave waits for the peer, under a clock. */
static void output_wait(struct ks_conn *conn, bool has_moved)
{
    bool is_waiting = event_pending(&conn->write_timer, EV_TIMEOUT, NULL);
    event_add(&conn->write_event, NULL);
    if (is_waiting && !has_moved)
        return;
    conn->write_taken_mono_ms = ks_conn_now_ms(conn);
    if (is_waiting)
        return;
    conn->write_begun_mono_ms = conn->write_taken_mono_ms;
    conn->write_taken_bytes = 0;
    struct timeval tick =
        ks_timeval_of_ms(ks_min_u64(WRITE_TICK_MS, conn->loop->shared->live->limits_write_timeout));
    event_add(&conn->write_timer, &tick);
}

/* One turn: at most WRITE_TURN_BYTES, so that a fast reader of a large answer does not keep others
 * waiting. */
void ks_conn_flush(struct ks_conn *conn)
{
    struct iovec iov[WRITE_PARTS_MAX];
    if (conn->is_closed)
        return;
    int count = output_gather(conn, iov);
    ssize_t n = count > 0 ? writev(conn->fd, iov, count) : 0;
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        /* EFAULT: a mapped segment could not be read. The answer has begun, so it can only be
         * broken off. */
        if (errno == EFAULT)
            ks_emit(conn->loop->shared->events, KS_LEVEL_ERROR, "connection.segment_unreadable",
                "peer=%s", conn->peer);
        ks_conn_close(conn, strerror(errno));
        return;
    }
    if (n > 0)
        output_advance(conn, (size_t)n);
    if (ks_list_is_empty(&conn->out)) {
        event_del(&conn->write_event);
        event_del(&conn->write_timer);
    } else {
        output_wait(conn, n > 0);
    }
    if (ks_conn_close_if_done(conn))
        return;
    if (n > 0 && !ks_list_is_empty(&conn->wanting)) {
        ks_conn_hold(conn);
        ks_conn_feed_rooms(conn);
        if (!ks_conn_let_go(conn))
            return;
    }
    ks_conn_resume(conn);
}

static void conn_writable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    ks_conn_flush(arg);
}

/* ---- peers that do not read ---- */

static const struct ks_events *conn_events(const struct ks_conn *conn)
{
    return conn->loop->shared->events;
}

static void conn_write_tick(evutil_socket_t fd, short what, void *arg)
{
    struct ks_conn *conn = arg;
    struct ks_loop_shared *shared = conn->loop->shared;
    uint64_t now_ms = ks_conn_now_ms(conn);
    uint64_t timeout_ms = shared->live->limits_write_timeout;
    uint64_t tick_ms = ks_min_u64(WRITE_TICK_MS, timeout_ms);
    uint64_t stands_ms = now_ms - conn->write_taken_mono_ms;
    uint64_t runs_ms = now_ms - conn->write_begun_mono_ms;
    bool is_short = atomic_load(&shared->is_memory_short) || ks_conn_is_output_short(conn);
    (void)fd, (void)what;
    if (stands_ms >= timeout_ms) {
        ks_emit(conn_events(conn), KS_LEVEL_WARNING, "connection.never_reads",
            "peer=%s unread_bytes=%zu", conn->peer, conn->out_bytes);
        ks_conn_close(conn, "answers were not read");
        return;
    }
    if (is_short && stands_ms >= PRESSED_TICKS * tick_ms) {
        ks_emit(conn_events(conn), KS_LEVEL_WARNING, "connection.holds_memory",
            "peer=%s unread_bytes=%zu waited_ms=%llu", conn->peer, conn->out_bytes,
            (unsigned long long)stands_ms);
        ks_conn_close(conn, "answers were not read while memory was short");
        return;
    }
    if (runs_ms >= timeout_ms) {
        if (conn->write_taken_bytes < shared->live->limits_write_rate * runs_ms / 1000) {
            ks_emit(conn_events(conn), KS_LEVEL_WARNING, "connection.reads_too_slowly",
                "peer=%s unread_bytes=%zu taken_bytes=%zu in_ms=%llu", conn->peer, conn->out_bytes,
                conn->write_taken_bytes, (unsigned long long)runs_ms);
            ks_conn_close(conn, "answers were read too slowly");
            return;
        }
        conn->write_begun_mono_ms = now_ms;
        conn->write_taken_bytes = 0;
    }
    struct timeval tick = ks_timeval_of_ms(tick_ms);
    event_add(&conn->write_timer, &tick);
}

/* ---- life ---- */

void ks_conn_output_init(struct ks_conn *conn)
{
    struct event_base *base = conn->loop->base;
    ks_list_init(&conn->out);
    ks_list_init(&conn->wanting);
    event_assign(&conn->write_event, base, conn->fd, EV_WRITE | EV_PERSIST, conn_writable, conn);
    event_assign(&conn->write_timer, base, -1, 0, conn_write_tick, conn);
}

void ks_conn_output_drop(struct ks_conn *conn)
{
    struct ks_list *node;
    event_del(&conn->write_event);
    event_del(&conn->write_timer);
    while ((node = ks_list_pop(&conn->out))) {
        struct ks_output *output = KS_CONTAINER_OF(node, struct ks_output, link);
        output->release(output);
    }
    ks_budget_release(&conn->loop->shared->output, conn->out_bytes);
    conn->out_bytes = 0;
    if (ks_list_is_linked(&conn->dirty_link))
        ks_list_remove(&conn->dirty_link);
}
