#include "base/alloc.h"
#include "client/conn_priv.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define READS_PER_TURN 16
#define PIECES_FIRST 16u
#define WRITE_PIECES_MAX 64 /* of one sendmsg */

/* ---- out ---- */

void client_conn_drop_output(struct client_conn *conn)
{
    conn->out.bytes = 0;
    conn->out_position = 0;
    conn->piece_count = 0;
    conn->piece_position = 0;
    conn->backlog_bytes = 0;
}

/* What has been written makes room when it is the larger part: each byte moves once on average. */
static void conn_compact(struct client_conn *conn)
{
    if (conn->out_position > conn->out.bytes - conn->out_position) {
        conn->out.bytes -= conn->out_position;
        memmove(conn->out.data, conn->out.data + conn->out_position, conn->out.bytes);
        conn->out_position = 0;
    }
    size_t left = conn->piece_count - conn->piece_position;
    if (conn->piece_position > left) {
        memmove(conn->pieces, conn->pieces + conn->piece_position, left * sizeof *conn->pieces);
        conn->piece_count = left;
        conn->piece_position = 0;
    }
}

bool client_conn_reserve_output(struct client_conn *conn, size_t copied_bytes, size_t pieces)
{
    conn_compact(conn);
    size_t needed = conn->piece_count + pieces;
    if (needed > conn->piece_capacity) {
        size_t capacity = KS_MAX(KS_MAX(needed, conn->piece_capacity * 2), PIECES_FIRST);
        struct client_piece *grown = ks_realloc(conn->pieces, capacity * sizeof *grown);
        if (!grown)
            return false;
        conn->pieces = grown;
        conn->piece_capacity = capacity;
    }
    return ks_buf_reserve(&conn->out, copied_bytes);
}

static void conn_add_piece(struct client_conn *conn, const uint8_t *borrowed, size_t bytes)
{
    struct client_piece *last =
        conn->piece_count > conn->piece_position ? &conn->pieces[conn->piece_count - 1] : NULL;
    conn->backlog_bytes += bytes;
    if (!borrowed && last && !last->borrowed) {
        last->bytes += bytes;
        return;
    }
    KS_ASSERT(conn->piece_count < conn->piece_capacity);
    conn->pieces[conn->piece_count++] = (struct client_piece){.borrowed = borrowed, .bytes = bytes};
}

void client_conn_note_copied(struct client_conn *conn, size_t bytes)
{
    conn_add_piece(conn, NULL, bytes);
}

void client_conn_append(struct client_conn *conn, const void *data, size_t bytes)
{
    KS_ASSERT(conn->out.capacity - conn->out.bytes >= bytes);
    memcpy(conn->out.data + conn->out.bytes, data, bytes);
    conn->out.bytes += bytes;
    client_conn_note_copied(conn, bytes);
}

void client_conn_append_borrowed(struct client_conn *conn, const void *data, size_t bytes)
{
    conn_add_piece(conn, data, bytes);
}

/* The next pieces as the system wants them; returns their number. */
static size_t conn_gather(const struct client_conn *conn, struct iovec *parts)
{
    size_t count = 0;
    uint8_t *own = conn->out.data + conn->out_position;
    for (size_t i = conn->piece_position; i < conn->piece_count && count < WRITE_PIECES_MAX; i++) {
        const struct client_piece *piece = &conn->pieces[i];
        void *base = piece->borrowed ? (void *)(uintptr_t)piece->borrowed : own;
        parts[count++] = (struct iovec){.iov_base = base, .iov_len = piece->bytes};
        if (!piece->borrowed)
            own += piece->bytes;
    }
    return count;
}

static void conn_written(struct client_conn *conn, size_t bytes)
{
    conn->written_position += bytes;
    conn->backlog_bytes -= bytes;
    while (bytes > 0) {
        struct client_piece *piece = &conn->pieces[conn->piece_position];
        size_t part = KS_MIN(bytes, piece->bytes);
        if (piece->borrowed)
            piece->borrowed += part;
        else
            conn->out_position += part;
        piece->bytes -= part;
        bytes -= part;
        if (piece->bytes == 0)
            conn->piece_position++;
    }
    if (conn->backlog_bytes == 0)
        client_conn_drop_output(conn);
}

void client_conn_write(struct client_conn *conn)
{
    while (conn->backlog_bytes > 0) {
        struct iovec parts[WRITE_PIECES_MAX];
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = conn_gather(conn, parts)};
        ssize_t n = sendmsg(conn->fd, &message, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        if (n < 0) {
            /* Answers that came before the reset are still worth reading; reading then tells the
             * end. As far as the calls know, all of it has left. */
            conn->written_position += conn->backlog_bytes;
            client_conn_drop_output(conn);
            return;
        }
        conn_written(conn, (size_t)n);
    }
}

/* ---- in ---- */

static void conn_log_answer(const struct client_conn *conn, const struct client_call *call,
    const struct ks_response_view *response, size_t frame_bytes)
{
    const struct ks_operation *operation = ks_operation_by_number((uint32_t)call->op);
    char text[160];
    KS_IGNORE(snprintf(text, sizeof text, "request.answered op=%s request=%llu us=%llu bytes=%zu%s",
                  operation ? operation->name : "?", (unsigned long long)call->request_id,
                  (unsigned long long)(client_now_ns() - call->linked_ns) / 1000, frame_bytes,
                  response->op == KS_OP_ERROR ? " error=1" : ""),
        "a long line is cut");
    conn->options.log(KSTREAM_LOG_DEBUG, text, conn->options.log_arg);
}

/* Takes the frame (with its length bytes). False: the connection has ended. */
static bool conn_take_frame(struct client_conn *conn, uint8_t *frame, size_t frame_bytes)
{
    struct ks_error err = KS_ERROR_INIT;
    struct ks_response_view response;
    struct ks_view body =
        ks_view_of(frame + KS_FRAME_LENGTH_BYTES, frame_bytes - KS_FRAME_LENGTH_BYTES);
    if (ks_response_peek(body, &response, &err) != KS_OK) {
        ks_free(frame);
        client_conn_close(conn, KS_PROTOCOL, "the broker sent a malformed answer");
        return false;
    }
    uint64_t round = conn->opened_count;
    conn->put_credit_bytes = response.put_credit_bytes;
    struct client_call *call = client_conn_take_call(conn, response.request_id);
    if (!call) {
        ks_free(frame); /* the answer to a call that has timed out */
        return true;
    }
    bool is_early = call->end_position > conn->written_position;
    if (is_early || (response.op != (uint32_t)call->op && response.op != KS_OP_ERROR)) {
        ks_free(frame);
        KS_IGNORE(
            ks_fail(&err, KS_PROTOCOL, 0, "the broker answered something else than was asked"),
            "only fills err");
        client_conn_close(conn, err.status, err.text);
        call->on_done(call, err.status, NULL, NULL, &err);
        return false;
    }
    conn->trouble_since_ns = 0;
    conn->backoff_ms = 0;
    if (conn->options.log_requests && conn->options.log)
        conn_log_answer(conn, call, &response, frame_bytes);
    call->on_done(call, KS_OK, frame, &response, NULL);
    return conn->state == CLIENT_CONN_OPEN && conn->opened_count == round;
}

/* Starts the frame whose beginning lies at data. False: the connection has ended. */
static bool conn_start_frame(struct client_conn *conn, struct ks_view data, size_t *out_taken)
{
    struct ks_frame frame;
    struct ks_error err = KS_ERROR_INIT;
    *out_taken = 0;
    if (ks_frame_parse(data, &frame, &err) != KS_OK) {
        bool is_http = data.bytes >= 4 && memcmp(data.data, "HTTP", 4) == 0;
        client_conn_close(conn, KS_PROTOCOL,
            is_http ? "the peer speaks HTTP, not the native protocol of kstream"
                    : "the peer does not speak the protocol of kstream");
        return false;
    }
    if (frame.frame_bytes == 0)
        return true;
    conn->frame = ks_malloc(frame.frame_bytes);
    if (!conn->frame) {
        client_conn_close(conn, KS_NO_MEMORY, "no memory here for an answer of the broker");
        return false;
    }
    conn->frame_bytes = frame.frame_bytes;
    conn->frame_filled = KS_MIN(frame.frame_bytes, data.bytes);
    memcpy(conn->frame, data.data, conn->frame_filled);
    *out_taken = conn->frame_filled;
    return true;
}

/* Gives away the frame in progress once it is whole. False: the connection has ended. */
static bool conn_finish_frame(struct client_conn *conn)
{
    if (!conn->frame || conn->frame_filled < conn->frame_bytes)
        return true;
    uint8_t *frame = KS_TAKE(conn->frame);
    return conn_take_frame(conn, frame, conn->frame_bytes);
}

/* Cuts frames out of conn->in. False: the connection has ended. */
static bool conn_cut_frames(struct client_conn *conn)
{
    size_t position = 0;
    while (position < conn->in_bytes && !conn->frame) {
        size_t taken = 0;
        if (!conn_start_frame(
                conn, ks_view_of(conn->in + position, conn->in_bytes - position), &taken))
            return false;
        if (taken == 0)
            break;
        position += taken;
        if (!conn_finish_frame(conn))
            return false;
    }
    conn->in_bytes -= position;
    memmove(conn->in, conn->in + position, conn->in_bytes);
    return true;
}

void client_conn_read(struct client_conn *conn)
{
    for (int turn = 0; turn < READS_PER_TURN; turn++) {
        bool is_direct = conn->frame != NULL;
        uint8_t *to = is_direct ? conn->frame + conn->frame_filled : conn->in + conn->in_bytes;
        size_t room = is_direct ? conn->frame_bytes - conn->frame_filled
                                : CLIENT_CONN_IN_BYTES - conn->in_bytes;
        ssize_t n = recv(conn->fd, to, room, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        if (n <= 0) {
            client_conn_lost(conn, n < 0 ? errno : 0);
            return;
        }
        if (is_direct)
            conn->frame_filled += (size_t)n;
        else
            conn->in_bytes += (size_t)n;
        if (!(is_direct ? conn_finish_frame(conn) : conn_cut_frames(conn)))
            return;
        if ((size_t)n < room)
            return; /* the socket is empty: poll says when there is more */
    }
}
